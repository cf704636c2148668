"""Play a scenario: the crowd comes, the watch looks, and what only this kind of rush measures is told."""

import asyncio
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.rush import elsewhere, gate
from tests.rush.crowd import Crowd, stop
from tests.rush.load import KEPT_SECONDS, Load
from tests.rush.pressed import press
from tests.rush.scenarios import Scenario
from tests.rush.stage import Stage
from tests.rush.watch import Watch
from webapp.web.queue import POLL_MAX_MS

BOOKING = ("place_hold", "pay")
# While nothing is answered nobody comes as far as a hold; but people go on coming.
STANDING = ("join_queue", *BOOKING)
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
    sales = {
        "sale": stage.sale,
        "other_sale": stage.other_sale,
        "wanted": stage.scenario.wanted_seats,
    }
    watch = Watch(stage.url, sales, stage.web.port, processes)
    # Those who press on do not pause, and there are more of them than this machine has ports.
    kept_seconds = KEPT_UNDER_PRESSURE if stage.scenario.pressure else KEPT_SECONDS
    load = Load(stage.web.port, kept_seconds)
    crowd = Crowd(stage, load, seed)
    outcome = Outcome(load, watch)
    with elsewhere.waiting(load, crowd.waiting()) as let_them_come:
        await asyncio.sleep(max(0.0, stage.begins_at - time.monotonic()))
        load.restart()
        let_them_come()
        watching = asyncio.create_task(watch.look())
        closing = asyncio.create_task(_let_nobody_in(stage))
        if stage.scenario.pressure:
            values, note = await press(crowd, stage.scenario.pressure)
            outcome.values |= values
            outcome.notes.append(note)
        else:
            await crowd.come()
    outcome.seconds = load.now
    await asyncio.sleep(LAST_LOOK_SECONDS)
    await end(watching)
    await closing
    if stage.scenario.compared:
        _compare(outcome, stage.scenario)
    return outcome


async def _let_nobody_in(stage: Stage) -> None:
    """Let nobody in any more where everybody has given up: who is called and does not come costs, too."""
    if stage.scenario.waiting_go is not None:
        await asyncio.sleep(stage.scenario.waiting_go)
        await asyncio.to_thread(stage.let_nobody_in)


async def end(work: asyncio.Task[None]) -> None:
    """Stop what goes on for ever; if it has ended by itself, raise the mistake that it ended with."""
    if work.done():
        work.result()
    await stop([work])


def _compare(outcome: Outcome, scenario: Scenario) -> None:
    """Compare bookings without what disturbs them and with it."""
    told, medians, slowest = [], [], 0.0
    for spans in scenario.compared or ():
        p95s: list[float] = []
        seconds = scenario.slice_seconds or spans[0][1] - spans[0][0]
        for start, end in spans:
            p95s += slice_p95s(outcome.load, BOOKING, start, end, seconds)
            slowest = max(slowest, *slice_p95s(outcome.load, STANDING, start, end, seconds))
        medians.append(statistics.median(p95s))
        each = ", ".join(f"{p95:,.0f}" for p95 in p95s)
        between = " and ".join(f"{start:.0f} to {end:.0f}" for start, end in spans)
        told.append(f"{each} ms in seconds {between}")
    without, disturbed = medians
    # Where nothing was booked there is nothing to compare, and that is no good sign.
    outcome.values["slower"] = disturbed / without if without and disturbed else math.inf
    outcome.values["slowest_slice"] = slowest
    outcome.notes.append(f"Holds and payments, p95: {told[0]}, undisturbed; {told[1]}, disturbed.")
    if scenario.waiting:
        began = outcome.load.calls["poll_queue"].began
        polls = sum(start <= moment < end for start, end in spans for moment in began)
        a_second = polls / sum(end - start for start, end in spans)
        outcome.values["polled"] = a_second * POLL_MAX_MS / 1000 / scenario.waiting
        outcome.notes.append(f"Meanwhile {a_second:,.0f} polls a second were answered.")


def slice_p95s(
    load: Load, names: Sequence[str], start: float, end: float, slice_seconds: float
) -> list[float]:
    """Return the p95 of these calls, in milliseconds, that began in each slice of a time."""
    slices: list[list[float]] = [[] for _ in range(math.ceil((end - start) / slice_seconds))]
    for name in names:
        calls = load.calls[name]
        for began, value in zip(calls.began, calls.milliseconds, strict=True):
            if start <= began < end:
                slices[int((began - start) / slice_seconds)].append(value)
    return [gate.percentile(values, 95) for values in slices if values] or [0.0]
