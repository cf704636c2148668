"""How people come: at their moments, or as many as the house was found to take, or more."""

import asyncio
import random
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.builders import Customer
from tests.rush import elsewhere, gate
from tests.rush.elsewhere import Waiting
from tests.rush.load import KEPT_SECONDS, Load
from tests.rush.people import Person, forge
from tests.rush.scenarios import Pressure, Scenario
from tests.rush.stage import Stage
from tests.rush.watch import Watch

BOOKING = ("place_hold", "pay")
KEPT_UNDER_PRESSURE = 5.0
LAST_LOOK_SECONDS = 1.5  # so that the watch sees the last booking
WARM_UP_SHARE = 0.25  # of the time in which it is found out what the house takes


@dataclass
class Outcome:
    """What a rush left behind. Times in seconds from when the first may come."""

    load: Load
    watch: Watch
    seconds: float = 0.0
    values: dict[str, float] = field(default_factory=dict)  # what only this kind of rush measures
    notes: list[str] = field(default_factory=list)


class Crowd:
    """Everybody who comes to one sale."""

    def __init__(self, stage: Stage, load: Load, seed: str) -> None:
        self.stage, self.load, self.seed = stage, load, seed
        self.scenario = stage.scenario
        self.hall = stage.hall()
        self.tasks: list[asyncio.Task[None]] = []

    def _person(self, customer: Customer) -> Person:
        seed = f"{self.seed} {customer.email}"
        return Person(self.load, self.hall, customer, self.scenario.habits, seed)

    def _start(self, customer: Customer) -> None:
        self.tasks.append(asyncio.create_task(self._person(customer).come()))

    async def come(self) -> None:
        """Let everybody come at their moment."""
        began, rng = self.load.now, random.Random(self.seed)
        self.tasks.append(asyncio.create_task(self._forge()))
        with elsewhere.waiting(self.load, self._waiting()):
            for customer, moment in zip(
                self.stage.customers, _arrivals(self.scenario, rng), strict=True
            ):
                await asyncio.sleep(max(0.0, began + moment - self.load.now))
                self._start(customer)
            await self.finish()

    def _waiting(self) -> Waiting | None:
        """Return those who wait in a room in which nobody is admitted, if there are any."""
        stage, scenario = self.stage, self.scenario
        if not stage.waiting:
            return None
        hall, port = stage.hall(stage.other_sale), stage.web.port
        come, habits = scenario.waiting_come, scenario.habits
        return Waiting(port, hall, stage.waiting, habits, come, self.seed)

    async def finish(self) -> None:
        """Wait until everybody is done, as long as the scenario has patience."""
        if not self.tasks:
            return
        _, late = await asyncio.wait(self.tasks, timeout=self.scenario.patience_seconds)
        for _ in late:
            self.load.note("never finished")
        await _stop(late)
        for task in self.tasks:
            if not task.cancelled():
                task.result()  # a mistake of the harness must not pass for a quiet customer

    async def _forge(self) -> None:
        """Send what is forged, evenly, while people arrive."""
        scenario = self.scenario
        count = round(scenario.forged_per_second * sum(seconds for seconds, _ in scenario.arrivals))
        began, sent = self.load.now, []
        for number in range(count):
            await asyncio.sleep(
                max(0.0, began + number / scenario.forged_per_second - self.load.now)
            )
            customer = self.stage.customers[number % len(self.stage.customers)]
            seed = f"{self.seed} forged {number}"
            sent.append(asyncio.create_task(forge(self.load, self.hall, customer, seed)))
        await asyncio.gather(*sent)

    # -- as many as the house takes, and more

    async def press(self, pressure: Pressure) -> dict[str, float]:
        """Find out what the house takes, send a multiple for a while, find out again."""
        people = iter(self.stage.customers)
        before = await self._take_turns(people, pressure)
        if not before:
            raise RuntimeError("Nobody booked while it was found out what the house takes")
        began = self.load.now
        count = round(before * pressure.multiple * pressure.overload_seconds)
        for number in range(count):
            moment = began + number / (before * pressure.multiple)
            await asyncio.sleep(max(0.0, moment - self.load.now))
            self._start(_next(people))
        ended = self.load.now
        await self.finish()
        drained = self.load.now
        after = await self._take_turns(people, pressure)
        during = self._booked_between(began, ended)
        return {
            "found": before,
            "overloaded": during,
            "kept": during / before,
            "drained_after": drained - ended,
            "recovered": after / before,
        }

    async def _take_turns(self, people: Iterator[Customer], pressure: Pressure) -> float:
        """Let `at_once` people buy at any time, one after the other; return bookings per second."""
        began = self.load.now
        end = began + pressure.find_seconds

        async def one_after_the_other() -> None:
            while self.load.now < end:
                await self._person(_next(people)).come()

        async with asyncio.TaskGroup() as group:
            for _ in range(pressure.at_once):
                group.create_task(one_after_the_other())
        return self._booked_between(began + WARM_UP_SHARE * pressure.find_seconds, end)

    def _booked_between(self, start: float, end: float) -> float:
        moments = self.load.events.get("booked", ())
        return (bisect_left(moments, end) - bisect_left(moments, start)) / (end - start)


def _next(people: Iterator[Customer]) -> Customer:
    customer = next(people, None)
    if customer is None:
        raise RuntimeError("The house takes more people than this scenario has")
    return customer


async def end(work: asyncio.Task[None]) -> None:
    """Stop what goes on for ever; if it has ended by itself, raise the mistake that it ended with."""
    if work.done():
        work.result()
    await _stop([work])


async def _stop(tasks: "Sequence[asyncio.Task[None]] | set[asyncio.Task[None]]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _arrivals(scenario: Scenario, rng: random.Random) -> list[float]:
    """Return the seconds at which people arrive: evenly within each part, at random moments."""
    moments: list[float] = []
    start, people = 0.0, 0.0
    for seconds, share in scenario.arrivals:
        people += share * scenario.people
        while len(moments) < round(people):
            moments.append(start + rng.random() * seconds)
        start += seconds
    return sorted(moments)


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
    pressure = stage.scenario.pressure
    if pressure:
        outcome.values |= await crowd.press(pressure)
    else:
        await crowd.come()
    outcome.seconds = load.now
    await asyncio.sleep(LAST_LOOK_SECONDS)
    await end(watching)
    if stage.scenario.compared:
        _compare(outcome, stage.scenario.compared)
    _tell_pressure(outcome)
    return outcome


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


def _tell_pressure(outcome: Outcome) -> None:
    values = outcome.values
    if "found" in values:
        outcome.notes.append(
            f"The house was found to take {values['found']:.1f} bookings/s; under pressure"
            f" it made {values['overloaded']:.1f}, was through with them"
            f" {values['drained_after']:.0f} s after the last had come, and took"
            f" {values['found'] * values['recovered']:.1f} afterwards."
        )
