"""A sale under pressure: as many as the house was found to take, a multiple of them, and the first again.

A small machine among others goes up and down by a fifth within a minute, whatever it serves. So what the house
takes is found out in slices, with slices of a bare Flask "hello" under the same gunicorn between them, and parts
of the run are compared in bookings for each hello: where machine and hello swing together, the ratio stays.
"""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from tests.builders import Customer
from tests.rush.crowd import Crowd
from tests.rush.lines import Line, compose
from tests.rush.load import PATIENCE_SECONDS
from tests.rush.scenarios import Pressure

HELLO = compose("GET", "/hello", {})


@dataclass(frozen=True)
class Taken:
    """What was served in a second when there was as much of it as could be."""

    bookings: float
    hellos: float

    @property
    def share(self) -> float:
        """Bookings for each hello."""
        return self.bookings / self.hellos


async def press(crowd: Crowd, pressure: Pressure) -> tuple[dict[str, float], str]:
    """Find out what the house takes, send a multiple for a while, find out again; return values and a note."""
    load, people = crowd.load, iter(crowd.stage.customers)
    before = await _find_out(crowd, people, pressure)
    if not before.bookings:
        raise RuntimeError("Nobody booked while it was found out what the house takes")
    began = load.now
    rate = before.bookings * pressure.multiple
    for number in range(round(rate * pressure.overload_seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - load.now))
        crowd.start(_next(people))
    ended = load.now
    await crowd.finish()
    drained_after = load.now - ended
    after = await _find_out(crowd, people, pressure)
    during = _booked_between(crowd, began, ended) / (ended - began)
    note = (
        f"The house was found to take {before.bookings:.1f} bookings/s; under pressure it made {during:.1f},"
        f" was through with them {drained_after:.0f} s after the last had come, and took"
        f" {after.bookings:.1f} afterwards. Beside it a bare Flask answered {before.hellos:,.0f} hellos/s before"
        f" and {after.hellos:,.0f} afterwards; `kept` and `recovered` compare bookings for each of these."
    )
    return judge(before, during, after), note


def judge(before: Taken, during: float, after: Taken) -> dict[str, float]:
    """Compare with what was taken before: `during` bookings a second under pressure, and what came `after`.

    While the house is pressed nothing is asked of the bare Flask: it counts as it answered around that.
    """
    pressed = Taken(during, (before.hellos + after.hellos) / 2)
    return {"kept": pressed.share / before.share, "recovered": after.share / before.share}


async def _find_out(crowd: Crowd, people: Iterator[Customer], pressure: Pressure) -> Taken:
    """Let `at_once` buy at any time, and as many say hello, in turns; the first turn only warms up."""
    lines = [Line(crowd.stage.bare_port, PATIENCE_SECONDS) for _ in range(pressure.at_once)]
    turns = [
        Taken(
            await _book(crowd, people, pressure.at_once, pressure.slice_seconds),
            await _greet(lines, pressure.hello_seconds),
        )
        for _ in range(pressure.slices + 1)
    ][1:]
    for line in lines:
        line.hang_up()
    return Taken(
        sum(turn.bookings for turn in turns) / len(turns),
        sum(turn.hellos for turn in turns) / len(turns),
    )


async def _book(crowd: Crowd, people: Iterator[Customer], at_once: int, seconds: float) -> float:
    """Let people buy one after the other; return bookings per second until the last was through."""
    load = crowd.load
    began = load.now

    async def one_after_the_other() -> None:
        while load.now < began + seconds:
            await crowd.person(_next(people)).come()

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(one_after_the_other())
    ended = load.now
    return _booked_between(crowd, began, ended) / (ended - began)


async def _greet(lines: list[Line], seconds: float) -> float:
    """Ask the bare Flask over each line, one request after the other; return answers per second."""
    began, answers = time.perf_counter(), 0

    async def one_after_the_other(line: Line) -> None:
        nonlocal answers
        while time.perf_counter() < began + seconds:
            answer = await line.ask(HELLO, PATIENCE_SECONDS)
            assert answer.body == b"hello"
            answers += 1

    async with asyncio.TaskGroup() as group:
        for line in lines:
            group.create_task(one_after_the_other(line))
    return answers / (time.perf_counter() - began)


def _booked_between(crowd: Crowd, start: float, end: float) -> int:
    moments = crowd.load.events.get("booked", ())
    return bisect_left(moments, end) - bisect_left(moments, start)


def _next(people: Iterator[Customer]) -> Customer:
    customer = next(people, None)
    if customer is None:
        raise RuntimeError("The house takes more people than this scenario has")
    return customer
