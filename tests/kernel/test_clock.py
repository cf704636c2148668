"""The one clock: the database's, whatever this machine thinks the time is."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.dialects import sqlite

from tests.builders import enter, make_accounts, make_sale, place
from webapp import clock as clocks
from webapp.clock import Clock
from webapp.db import Database
from webapp.domain import holds
from webapp.domain.model import Instant

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Server:
    """A database's clock, as far ahead or behind as a test likes, and as slow to answer."""

    def __init__(self) -> None:
        self.ahead = timedelta()
        self.slow_seconds = 0.0
        self.asked = 0
        self.down = False
        self._started = time.monotonic()

    def __call__(self) -> datetime:
        self.asked += 1
        if self.down:
            raise ConnectionError
        answer = NOON + self.ahead + timedelta(seconds=time.monotonic() - self._started)
        time.sleep(self.slow_seconds)
        return answer


def near(value: datetime, expected: datetime) -> bool:
    return abs(value - expected) < timedelta(seconds=20)


@pytest.fixture
def always_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "MEASURE_EVERY_SECONDS", -1.0)


def test_it_is_the_servers_time_and_asks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    clock = Clock(server)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    times = [clock.now() for _ in range(1_000)]
    assert times == sorted(times)
    assert near(times[0], NOON)
    assert times[0].tzinfo is UTC
    assert server.asked == 1


def test_it_is_measured_again_and_follows_the_server(always_measuring: None) -> None:
    server = Server()
    clock = Clock(server)
    clock.now()
    server.ahead = timedelta(hours=1)
    assert near(clock.now(), NOON + timedelta(hours=1))
    assert server.asked == 2


def test_a_slow_reading_is_thrown_away(always_measuring: None) -> None:
    server = Server()
    clock = Clock(server)
    clock.now()
    server.ahead, server.slow_seconds = timedelta(hours=1), clocks.ROUND_TRIP_MAX_SECONDS + 0.01
    assert near(clock.now(), NOON)


def test_the_first_reading_is_taken_even_when_all_are_slow() -> None:
    server = Server()
    server.slow_seconds = clocks.ROUND_TRIP_MAX_SECONDS + 0.01
    assert near(Clock(server).now(), NOON)


def test_a_failing_measurement_keeps_the_offset(
    always_measuring: None, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server()
    clock = Clock(server)
    clock.now()
    server.down = True
    assert near(clock.now(), NOON)
    assert "kept its old offset: ConnectionError" in caplog.text


def test_the_first_measurement_says_when_nobody_answers() -> None:
    server = Server()
    server.down = True
    clock = Clock(server)
    with pytest.raises(ConnectionError):
        clock.now()
    server.down = False
    assert near(clock.now(), NOON)


def test_nobody_waits_for_a_measurement_that_somebody_else_makes(always_measuring: None) -> None:
    server = Server()
    clock = Clock(server)
    clock.now()
    started, go_on = threading.Event(), threading.Event()

    def answer_late() -> datetime:
        started.set()
        assert go_on.wait(60)
        return NOON

    clock._ask = answer_late
    measuring = threading.Thread(target=clock.now)
    measuring.start()
    assert started.wait(60)
    assert near(clock.now(), NOON)  # with the old offset, at once
    go_on.set()
    measuring.join()


@pytest.mark.failure("F46")
@pytest.mark.parametrize("skew_seconds", [-3_600.0, 3_600.0])
def test_this_machines_wall_clock_plays_no_part(
    db: Database, monkeypatch: pytest.MonkeyPatch, skew_seconds: float
) -> None:
    original: Callable[[], float] = time.time
    before = db.clock.now()
    monkeypatch.setattr(time, "time", lambda: original() + skew_seconds)
    sale = make_sale(db, hold_seconds=300)
    [customer] = make_accounts(db)
    held = place(db, enter(db, customer, sale), [1])
    assert before < held.placed_at < before + timedelta(seconds=60)
    assert db.read(holds.find_live, sale, customer.id) == held
    assert db.read(holds.find_expired, 10) == []


def test_the_clock_agrees_with_the_database_that_is_asked(db: Database) -> None:
    asked = db._ask_time()
    assert asked.tzinfo is UTC
    assert abs(db.clock.now() - asked) < timedelta(seconds=1)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        Instant().process_bind_param(datetime(2026, 1, 1), sqlite.dialect())  # noqa: DTZ001 - a naive time is what must be refused
