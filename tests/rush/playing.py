"""Play a scenario: the crowd comes, the watch looks, and what only this kind of rush measures is told."""

import asyncio
import time
from dataclasses import dataclass, field

from tests.rush import gate
from tests.rush.crowd import Crowd, stop
from tests.rush.load import KEPT_SECONDS, Load
from tests.rush.pressed import press
from tests.rush.stage import Stage
from tests.rush.watch import Watch

BOOKING = ("place_hold", "pay")
KEPT_UNDER_PRESSURE = 5.0
LAST_LOOK_SECONDS = 1.5  # so that the watch sees the last booking


@dataclass
class Outcome:
    """What a rush left behind. Times in seconds from when the first may come."""

    load: Load
    watch: Watch
    seconds: float = 0.0
    values: dict[str, float] = field(default_factory=dict)  # what only this kind of rush measures
    notes: list[str] = field(default_factory=list)


async def rush(stage: Stage, seed: str) -> Outcome:
    """Let everybody come; return what happened."""
    processes = {"web": stage.web.pid, "jobs": stage.jobs.pid, "postgres": stage.server.pid}
    watch = Watch(stage.url, stage.sale, stage.web.port, processes)
    # Those who press on do not pause, and there are more of them than this machine has ports.
    kept_seconds = KEPT_UNDER_PRESSURE if stage.scenario.pressure else KEPT_SECONDS
    load = Load(stage.web.port, kept_seconds)
    crowd = Crowd(stage, load, seed)
    await asyncio.sleep(max(0.0, stage.begins_at - time.monotonic()))
    outcome = Outcome(load, watch)
    load.restart()
    watching = asyncio.create_task(watch.look())
    if stage.scenario.pressure:
        values, note = await press(crowd, stage.scenario.pressure)
        outcome.values |= values
        outcome.notes.append(note)
    else:
        await crowd.come()
    outcome.seconds = load.now
    await asyncio.sleep(LAST_LOOK_SECONDS)
    await end(watching)
    if stage.scenario.compared:
        _compare(outcome, stage.scenario.compared)
    return outcome


async def end(work: asyncio.Task[None]) -> None:
    """Stop what goes on for ever; if it has ended by itself, raise the mistake that it ended with."""
    if work.done():
        work.result()
    await stop([work])


def _compare(outcome: Outcome, compared: tuple[tuple[float, float], tuple[float, float]]) -> None:
    """Compare bookings without what disturbs them and with it."""
    without, disturbed = (_booking_p95(outcome.load, *span) for span in compared)
    outcome.values["slower"] = disturbed / without if without else 0.0
    outcome.notes.append(
        f"Holds and payments: p95 {without:,.0f} ms undisturbed (seconds {compared[0][0]:.0f} to"
        f" {compared[0][1]:.0f}), {disturbed:,.0f} ms disturbed ({compared[1][0]:.0f} to"
        f" {compared[1][1]:.0f})."
    )


def _booking_p95(load: Load, start: float, end: float) -> float:
    values = [
        value
        for name in BOOKING
        for began, value in zip(load.calls[name].began, load.calls[name].milliseconds, strict=True)
        if start <= began < end
    ]
    return gate.percentile(values, 95)
