"""A crowd that waits for another sale, in a process of its own.

Ten thousand who ask where they stand keep the load's process busy: beside the buyers they would delay the
moment at which an answer to a buyer is noticed, and that would be told as the service's slowness.
"""

import asyncio
import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection

import uvloop

from tests.builders import Customer
from tests.rush.load import KEPT_SECONDS, Load, collect_seldom
from tests.rush.people import Habits, Hall, Person

_processes = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Waiting:
    """Who waits where, between which seconds of the run they come, and when those in line give up, if they do."""

    port: int
    hall: Hall
    customers: list[Customer]
    habits: Habits
    come: tuple[float, float]
    go: float | None
    seed: str


@contextlib.contextmanager
def waiting(load: Load, crowd: Waiting | None) -> Iterator[Callable[[], None]]:
    """Make them ready to come and wait until the body ends; what they asked then counts as `load`'s.

    The body calls what it is given when the run has begun.
    """
    if crowd is None:
        yield lambda: None
        return
    here, there = _processes.Pipe()
    process = _processes.Process(target=_wait, args=(crowd, there), daemon=True)
    process.start()
    there.close()
    try:
        here.recv()
        yield lambda: here.send(load.began)
        here.send("enough")
        load.add(*here.recv())
    finally:
        process.join(10)
        process.kill()


def _wait(crowd: Waiting, told: Connection) -> None:
    os.nice(
        19
    )  # they are ten thousand telephones: what these compute takes nothing from the service
    collect_seldom()
    told.send("ready")
    load = uvloop.run(_come(crowd, told.recv(), told))
    told.send((load.calls, load.events))


async def _come(crowd: Waiting, began: float, told: Connection) -> Load:
    """Let everybody come at their moment; return what was asked until it is enough, or they give up."""
    first, last = crowd.come
    tasks = []
    enough = asyncio.create_task(asyncio.to_thread(told.recv))
    load = Load(crowd.port, KEPT_SECONDS)
    load.restart(began)
    for number, customer in enumerate(crowd.customers):
        moment = first + (last - first) * number / len(crowd.customers)
        await asyncio.sleep(max(0.0, moment - load.now))
        if enough.done():
            break
        person = Person(load, crowd.hall, customer, crowd.habits, f"{crowd.seed} {number}")
        tasks.append(asyncio.create_task(person.wait_for_ever()))
    giving_up = None if crowd.go is None else max(0.0, crowd.go - load.now)
    await asyncio.wait([enough], timeout=giving_up)
    for task in tasks:
        task.cancel()
    for end in await asyncio.gather(*tasks, return_exceptions=True):
        # A mistake of the harness must not pass for somebody who waits.
        if isinstance(end, Exception):
            raise end
    await enough
    return load
