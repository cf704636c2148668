"""SQLite's one writer: served in the order of arrival, and no reader stands in its way or it in theirs."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.exc import TimeoutError

from tests.conftest import config_for, dispose
from tests.faults import Faults
from tests.kernel.counted import Rise
from webapp import create_app, engines
from webapp.db import Busy, Database, Tx
from webapp.domain.model import Venue
from webapp.engines import Turnstile
from webapp.troubles import RETRIES


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@contextmanager
def thread(work: Callable[[], None]) -> Iterator[None]:
    running = threading.Thread(target=work)
    running.start()
    yield
    running.join(20)
    assert not running.is_alive()


# -- the turnstile ----------------------------------------------------------------------------------


def test_turns_come_in_the_order_of_arrival() -> None:
    turnstile, order = Turnstile(), []
    threads = []

    def pass_through(number: int) -> None:
        with turnstile.turn(10):
            order.append(number)

    with turnstile.turn(10):
        for number in range(20):
            threads.append(threading.Thread(target=pass_through, args=(number,)))
            threads[-1].start()
            until(lambda: len(turnstile._waiting) == len(threads))
    for waiting in threads:
        waiting.join(60)
    assert order == list(range(20))
    with turnstile.turn(0):
        pass  # free again


def test_one_is_inside_at_a_time_although_many_push() -> None:
    turnstile, inside, most = Turnstile(), [], []

    def push() -> None:
        for _ in range(200):
            with turnstile.turn(10):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=push) for _ in range(8)]
    for pusher in threads:
        pusher.start()
    for pusher in threads:
        pusher.join(30)
    assert len(most) == 1_600
    assert max(most) == 1


def test_who_gives_up_waiting_does_not_stop_those_behind() -> None:
    turnstile, order = Turnstile(), []

    def give_up() -> None:
        with pytest.raises(TimeoutError), turnstile.turn(0.05):
            order.append("never")

    def wait() -> None:
        with turnstile.turn(10):
            order.append("behind")

    with turnstile.turn(0):
        with thread(give_up):
            until(lambda: len(turnstile._waiting) == 1)
            behind = threading.Thread(target=wait)
            behind.start()
            until(lambda: len(turnstile._waiting) == 2)
    behind.join(60)
    assert order == ["behind"]


def test_an_error_inside_passes_the_turn_on() -> None:
    turnstile = Turnstile()
    with pytest.raises(KeyError), turnstile.turn(0):
        raise KeyError
    with turnstile.turn(0):
        pass


# -- other processes ------------------------------------------------------------------------------------


def test_a_writer_waits_at_begin_for_another_process(db: Database) -> None:
    faults = Faults(db)
    faults.at_begin("SQLITE_BUSY", times=5)
    with Rise(RETRIES) as retries:
        db.transact(add_venue)
    assert faults.fired == 5
    assert retries.by == {}  # waiting for one's turn is no lost race
    assert db.read(count) == 1


def test_but_not_for_ever(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "BEGIN_WAIT_SECONDS", 0.02)
    monkeypatch.setattr("webapp.db.JITTER_MAX_SECONDS", 0.001)
    faults = Faults(db)
    faults.at_begin("SQLITE_BUSY", times=1_000_000)
    with pytest.raises(Busy):
        db.transact(add_venue)
    assert faults.statements == []


# -- readers and the writer -------------------------------------------------------------------------


@pytest.fixture
def db(sqlite_url: str) -> Iterator[Database]:
    app = create_app(config_for(sqlite_url))
    yield app.extensions["jari"].db
    dispose(app)


def add_venue(tx: Tx, name: str = "A hall") -> None:
    tx.execute(insert(Venue), {"name": name, "address": ""})


def count(tx: Tx) -> int:
    return int(tx.execute(select(func.count(Venue.id))).scalar_one())


def test_readers_read_while_somebody_writes(db: Database) -> None:
    written, seen = threading.Event(), threading.Event()

    def write_slowly(tx: Tx) -> None:
        add_venue(tx)
        written.set()
        assert seen.wait(60)

    with thread(lambda: db.transact(write_slowly)):
        assert written.wait(60)
        assert (db.read(count), db.lookup(count)) == (0, 0)  # a reader waits for nobody
        seen.set()
    assert db.read(count) == 1


def test_a_writer_commits_while_somebody_reads_and_the_reader_keeps_its_snapshot(
    db: Database,
) -> None:
    def read_twice(tx: Tx) -> tuple[int, int]:
        before = count(tx)
        with thread(lambda: db.transact(add_venue)):
            pass
        return before, count(tx)

    assert db.read(read_twice) == (0, 0)
    assert db.read(count) == 1


def test_writers_commit_in_the_order_in_which_they_came(db: Database) -> None:
    assert db._turnstile is not None
    line, go_on, writers = db._turnstile._waiting, threading.Event(), []

    def hold_up(tx: Tx) -> None:
        assert go_on.wait(60)
        add_venue(tx, "0")

    for number in range(8):
        work = hold_up if number == 0 else partial(add_venue, name=str(number))
        writers.append(threading.Thread(target=db.transact, args=(work,)))
        writers[-1].start()
        until(lambda: db._turnstile._taken and len(line) == len(writers) - 1)
    go_on.set()
    for writer in writers:
        writer.join(60)
    names = db.read(lambda tx: tx.execute(select(Venue.name).order_by(Venue.id)).scalars().all())
    assert names == [str(number) for number in range(8)]
