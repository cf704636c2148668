"""`python -m jobs` as it is run: a process of its own that works, stands by, takes over and stops."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from tests.builders import enter, make_accounts, make_sale, place
from tests.conftest import SECRET, config_for, dispose
from webapp import create_app
from webapp.db import Database, new_id
from webapp.domain import leases, waiting_room
from webapp.domain.model import Hold, JobLease, QueueEntry
from webapp.domain.waiting_room import Arrival

ROOT = Path(__file__).resolve().parent.parent.parent


@contextmanager
def scheduler(url: str, log: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a scheduler process; kill it at the end if it is still there."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "jobs", *words],
            cwd=ROOT,
            env=os.environ | {"DATABASE_URL": url, "SECRET_KEY": SECRET},
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def until(condition: Callable[[], bool], log: Path, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def count(db: Database, *conditions: Any) -> int:
    return db.read(lambda tx: int(tx.execute(select(func.count()).where(*conditions)).scalar_one()))


def join(db: Database, sale: int) -> None:
    [person] = make_accounts(db)
    db.transact(waiting_room.join, Arrival(new_id(), sale, person.id))


def admitted(db: Database) -> int:
    return count(db, QueueEntry.number.is_not(None), QueueEntry.admitted_at.is_not(None))


def fence_of(db: Database, job: str) -> int:
    query = select(JobLease.fence).where(JobLease.name == job)
    return db.read(lambda tx: int(tx.execute(query).scalar_one()))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "jobs.log"


def test_it_admits_sweeps_and_stops_when_asked(db: Database, database_url: str, log: Path) -> None:
    sale = make_sale(db, capacity=5, hold_seconds=1)
    [holder] = make_accounts(db)
    place(db, enter(db, holder, sale), [1])
    join(db, sale)
    with scheduler(database_url, log) as process:
        until(lambda: admitted(db) == 1, log)
        until(lambda: count(db, Hold.end_reason == "expired") == 1, log)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    free = db.transact(leases.acquire, "usher")
    assert free is not None  # given up, not run out
    assert "Traceback" not in log.read_text()
    assert SECRET not in log.read_text()


@pytest.mark.slow
@pytest.mark.failure("F20")
def test_a_second_one_stands_by_and_takes_over_when_the_first_is_killed(
    postgres_url: str, log: Path
) -> None:
    app = create_app(config_for(postgres_url))
    db: Database = app.extensions["jari"].db
    sale = make_sale(db, capacity=50)
    with scheduler(postgres_url, log) as first:
        join(db, sale)
        until(lambda: admitted(db) == 1, log)
        led = fence_of(db, "usher")
        with scheduler(postgres_url, log) as second:
            join(db, sale)
            until(lambda: admitted(db) == 2, log)
            assert fence_of(db, "usher") == led  # two run, one ushers
            first.send_signal(signal.SIGKILL)
            first.wait()
            join(db, sale)
            until(lambda: admitted(db) == 3, log, leases.LIFETIME_SECONDS + 20)
            assert fence_of(db, "usher") > led
            second.send_signal(signal.SIGINT)
            assert second.wait(60) == 0
    dispose(app)


def test_one_job_can_be_run_once(sqlite_url: str, log: Path) -> None:
    app = create_app(config_for(sqlite_url))
    db: Database = app.extensions["jari"].db
    join(db, make_sale(db, capacity=5))
    with scheduler(sqlite_url, log, "usher") as process:
        assert process.wait(60) == 0
    assert admitted(db) == 1
    with scheduler(sqlite_url, log, "juggler") as process:
        assert process.wait(60) == 2
    assert "no job juggler" in log.read_text()
    dispose(app)
