"""Four schedulers on two rooms, the leader stopped in the middle and killed: exact all the while."""

import itertools
import multiprocessing
import os
import random
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from jobs import usher
from jobs.usher import RoomsFailed
from tests.builders import make_sale
from tests.conftest import config_for
from webapp import create_app
from webapp.db import Busy, Database, OutcomeUnknown, Tx, new_id
from webapp.domain import admission, leases
from webapp.domain.leases import LeaseLost
from webapp.domain.model import QueueEntry, table_of

pytestmark = [pytest.mark.race, pytest.mark.slow, pytest.mark.timeout(240)]

USHERS = 4
TICK_SECONDS = 0.05
CAPACITY, RATE = 30, 90
PEOPLE = 4_000
STOPPED_SECONDS = leases.LIFETIME_SECONDS + 3


def ush(url: str, index: int, fences: Any) -> None:
    """Work as the scheduler does, only more often; tell which fence we have."""
    db: Database = create_app(config_for(url)).extensions["jari"].db
    fence: int | None = None
    while True:
        try:
            fence = fence or db.transact(leases.acquire, "usher")
            fences[index] = fence or 0
            if fence:
                usher.run(db, fence)
        except LeaseLost:
            fence = None
        except (Busy, OutcomeUnknown, RoomsFailed):
            pass  # the next tick tries again
        time.sleep(TICK_SECONDS)


class Ushers:
    """Real processes that compete for one lease."""

    def __init__(self, url: str) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.fences = spawn.Array("q", USHERS)
        self.processes = [
            spawn.Process(target=ush, args=(url, index, self.fences), daemon=True)
            for index in range(USHERS)
        ]

    def __enter__(self) -> "Ushers":
        for process in self.processes:
            process.start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
            process.join(60)

    def wait_for_leader(self, after: int = 0, seconds: float = 40.0) -> int:
        """Return the index of whoever has the highest fence, once it is above `after`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            best = max(range(USHERS), key=lambda index: self.fences[index])
            if self.fences[best] > after:
                return best
            time.sleep(0.05)
        raise TimeoutError("nobody took over")

    def stop(self, index: int, db: Database) -> None:
        """Stop a process between two transactions: stopped inside one, it keeps SQLite's only lock."""
        for _ in range(20):
            self.send(index, signal.SIGSTOP)
            try:
                db.transact(_nothing)
            except Busy:
                self.send(index, signal.SIGCONT)
                time.sleep(TICK_SECONDS * random.random())
            else:
                return
        raise TimeoutError("always inside a transaction")

    def send(self, index: int, number: int) -> None:
        pid = self.processes[index].pid
        assert pid is not None
        os.kill(pid, number)


def _nothing(_tx: Tx) -> None:
    """Write for a moment."""


@dataclass
class Sampled:
    """The most that was ever seen: active in the full room, admitted within 60 s in the slow one."""

    active: list[int] = field(default_factory=list)
    lately: list[int] = field(default_factory=list)


@contextmanager
def sampling(db: Database, full: int, slow: int) -> Iterator[Sampled]:
    sampled, stop = Sampled(), threading.Event()

    def look(tx: Tx) -> tuple[int, int]:
        return admission.count_active(tx, full), admission.count_admitted_lately(tx, slow)

    def sample() -> None:
        while not stop.is_set():
            active, lately = db.read(look)
            sampled.active.append(active)
            sampled.lately.append(lately)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield sampled
    finally:
        stop.set()
        thread.join(20)


def fill(db: Database, sale: int) -> None:
    rows = [
        {"id": new_id(), "performance_id": sale, "account_id": uuid.uuid4(), "joined_at": None}
        for _ in range(PEOPLE)
    ]

    def work(tx: Tx) -> None:
        for place, row in enumerate(rows):
            row["joined_at"] = tx.now + timedelta(microseconds=place)
        tx.execute(insert(table_of(QueueEntry)), rows)

    db.transact(work)


def turns(db: Database, sale: int) -> list[tuple[datetime, datetime]]:
    """From when to when each admitted stay was active, by its row."""
    query = select(QueueEntry.admitted_at, QueueEntry.access_expires_at, QueueEntry.ended_at).where(
        QueueEntry.performance_id == sale, QueueEntry.admitted_at.is_not(None)
    )
    rows = db.read(lambda tx: tx.execute(query).all())
    return sorted(
        (row.admitted_at, min(row.access_expires_at, row.ended_at or row.access_expires_at))
        for row in rows
    )


def most_at_once(intervals: list[tuple[datetime, datetime]]) -> int:
    steps = sorted([(start, 1) for start, _ in intervals] + [(end, -1) for _, end in intervals])
    most = now = 0
    for _, step in steps:  # an end sorts before a beginning of the same instant
        now += step
        most = max(most, now)
    return most


@pytest.mark.failure("F20")
def test_stopped_and_killed_leaders_never_admit_too_many(db: Database, database_url: str) -> None:
    full = make_sale(db, capacity=CAPACITY, rate_per_minute=100_000, session_seconds=1)
    slow = make_sale(db, capacity=100_000, rate_per_minute=RATE, session_seconds=600)
    for sale in (full, slow):
        fill(db, sale)
    with sampling(db, full, slow) as sampled, Ushers(database_url) as ushers:
        first = ushers.wait_for_leader()
        time.sleep(2)
        ushers.stop(first, db)
        second = ushers.wait_for_leader(after=ushers.fences[first])
        time.sleep(STOPPED_SECONDS / 4)
        ushers.send(first, signal.SIGCONT)  # wakes up beside its successor
        time.sleep(2)
        ushers.send(second, signal.SIGKILL)
        ushers.wait_for_leader(after=ushers.fences[second])
        time.sleep(3)
    assert len(sampled.active) > 100
    assert max(sampled.active) == CAPACITY
    assert max(sampled.lately) <= RATE
    inside = turns(db, full)
    assert most_at_once(inside) <= CAPACITY
    assert len(inside) > 3 * CAPACITY  # they did work, before, between and after
    minute = timedelta(seconds=admission.RATE_WINDOW_SECONDS)
    assert most_at_once([(start, start + minute) for start, _ in turns(db, slow)]) <= RATE
    pauses = [later - start for (start, _), (later, _) in itertools.pairwise(inside)]
    assert max(pauses) < timedelta(seconds=leases.LIFETIME_SECONDS + 8)
