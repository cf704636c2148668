"""A sale under pressure: as many as the house was found to take, a multiple of them, and the first again.

A small machine among others goes up and down by a fifth within a minute, whatever it serves. So what the house
takes is found out in slices, with slices of a bare Flask "hello" under the same gunicorn between them, and parts
of the run are compared in bookings for each hello: where machine and hello swing together, the ratio stays.

A scenario has so many people and no more. A faster house would use them up: then it is pressed for less than
the whole time, which is gated, and the note says so.
"""

import asyncio
import statistics
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from tests.builders import Customer
from tests.rush.crowd import Crowd
from tests.rush.lines import Line, compose
from tests.rush.load import PATIENCE_SECONDS
from tests.rush.scenarios import Pressure

HELLO = compose("GET", "/hello", {})
KEPT_FOR_LATER = 1.2  # times as many people as it took to find out what the house takes


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
    load, people = crowd.load, deque(crowd.stage.customers)
    before = await _find_out(crowd, people, pressure)
    usual = mean(before)
    rate = usual.bookings * pressure.multiple
    coming = _how_many(rate * pressure.overload_seconds, people, len(crowd.stage.customers))
    began = load.now
    for number in range(coming):
        await asyncio.sleep(max(0.0, began + number / rate - load.now))
        crowd.start(people.popleft())
    ended = load.now
    await crowd.finish()
    drained_after = load.now - ended
    after = await _find_out(crowd, people, pressure)
    during = _booked_between(crowd, began, ended) / (ended - began)
    later = mean(after)
    note = (
        f"The house was found to take {usual.bookings:.1f} bookings/s; under pressure it made {during:.1f} for"
        f" {ended - began:.0f} s, was through with them {drained_after:.0f} s after the last had come, and took"
        f" {later.bookings:.1f} afterwards. Beside it a bare Flask answered {usual.hellos:,.0f} hellos/s before"
        f" and {later.hellos:,.0f} afterwards. `kept` compares bookings for each of these with the best slice"
        " before, `recovered` with the mean of all."
    )
    if coming < round(rate * pressure.overload_seconds):
        note += (
            f" IT WAS PRESSED FOR LESS THAN {pressure.overload_seconds:.0f} s: this scenario has no more people,"
            " and so fast a house wants a larger --scale."
        )
    pressed = (ended - began) / pressure.overload_seconds
    return judge(before, during, after) | {"pressed": pressed, "drained_after": drained_after}, note


def mean(turns: Sequence[Taken]) -> Taken:
    """Return what was taken on average."""
    return Taken(
        statistics.fmean(turn.bookings for turn in turns),
        statistics.fmean(turn.hellos for turn in turns),
    )


def judge(before: Sequence[Taken], during: float, after: Sequence[Taken]) -> dict[str, float]:
    """Compare with what was taken before: `during` bookings a second with the peak, what came `after` on average.

    While the house is pressed nothing is asked of the bare Flask: it counts as it answered around that.
    """
    usual, later = mean(before), mean(after)
    pressed = Taken(during, (usual.hellos + later.hellos) / 2)
    peak = max(turn.share for turn in before)
    return {"kept": pressed.share / peak, "recovered": later.share / usual.share}


def _how_many(wanted: float, people: Sequence[Customer], came: int) -> int:
    """Return how many can come at once, if enough are to be left for the end; raise RuntimeError if nobody can."""
    used = came - len(people)
    coming = min(round(wanted), len(people) - round(used * KEPT_FOR_LATER))
    if coming <= 0:
        raise _too_few()
    return coming


def _too_few() -> RuntimeError:
    return RuntimeError("The house takes more people than this scenario has: --scale 3 has more")


async def _find_out(crowd: Crowd, people: deque[Customer], pressure: Pressure) -> list[Taken]:
    """Let `at_once` buy at any time, and as many say hello, in turns; the first turn only warms up."""
    lines = [Line(crowd.stage.bare_port, PATIENCE_SECONDS) for _ in range(pressure.at_once)]
    turns = []
    for _ in range(pressure.slices + 1):
        bookings = await _book(crowd, people, pressure.at_once, pressure.slice_seconds)
        if not people:
            break  # while there were none left nobody bought
        turns.append(Taken(bookings, await _greet(lines, pressure.hello_seconds)))
    for line in lines:
        line.hang_up()
    if len(turns) < 2:
        raise _too_few()
    if not any(turn.bookings for turn in turns[1:]):
        raise RuntimeError("Nobody booked while it was found out what the house takes")
    return turns[1:]


async def _book(crowd: Crowd, people: deque[Customer], at_once: int, seconds: float) -> float:
    """Let people buy one after the other; return bookings per second until the last was through."""
    load = crowd.load
    began = load.now

    async def one_after_the_other() -> None:
        while people and load.now < began + seconds:
            await crowd.person(people.popleft()).come()

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
