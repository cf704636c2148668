"""The usher: numbers and admits where a room needs it, one process at a time, and wakes for nobody."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import delete, func, select, update

from jobs import JOBS, usher
from jobs.__main__ import Runner
from jobs.usher import RoomsFailed
from tests.builders import Customer, enter, make_accounts, make_sale, pay, place
from tests.conftest import AdvancingClock
from tests.faults import CONFLICTS, Faults
from webapp.db import ATTEMPTS_MAX, Database, Tx, new_id
from webapp.domain import admission, bookings, leases, waiting_room
from webapp.domain.leases import LeaseLost
from webapp.domain.model import Performance, QueueEntry, RoomProgress
from webapp.domain.waiting_room import Arrival, Stay


def join(db: Database, sale: int, count: int = 1) -> list[Stay]:
    people: list[Customer] = make_accounts(db, count)
    return [
        db.transact(waiting_room.join, Arrival(new_id(), sale, person.id))[0] for person in people
    ]


def lead(db: Database) -> int:
    fence = db.transact(leases.acquire, "usher")
    assert fence is not None
    return fence


def count(db: Database, *conditions: Any) -> int:
    query = select(func.count(QueueEntry.id)).where(*conditions)
    return db.read(lambda tx: int(tx.execute(query).scalar_one()))


def numbered(db: Database) -> int:
    return count(db, QueueEntry.number.is_not(None))


def admitted(db: Database) -> int:
    return count(db, QueueEntry.admitted_at.is_not(None))


def test_newcomers_are_numbered_and_admitted_in_one_round(db: Database) -> None:
    sale = make_sale(db, capacity=2)
    join(db, sale, 3)
    assert usher.run(db, lead(db)) == 2
    assert (numbered(db), admitted(db)) == (3, 2)


def test_more_newcomers_than_a_batch_are_all_numbered(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "NUMBERED_PER_BATCH", 4)
    join(db, make_sale(db, capacity=0), 10)
    usher.run(db, lead(db))
    assert numbered(db) == 10


def test_every_room_is_tended(db: Database) -> None:
    sales = [make_sale(db, capacity=1) for _ in range(3)]
    for sale in sales:
        join(db, sale, 2)
    assert usher.run(db, lead(db)) == 3


def test_a_room_that_fails_stops_no_other_and_the_round_has_failed(
    db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    sales = [make_sale(db, capacity=1) for _ in range(3)]
    for sale in sales:
        join(db, sale)
    broken = delete(RoomProgress).where(RoomProgress.performance_id == sales[0])
    db.transact(lambda tx: tx.execute(broken))
    with pytest.raises(RoomsFailed):
        usher.run(db, lead(db))
    assert admitted(db) == 2
    assert f"room {sales[0]} failed" in caplog.text
    assert "NoResultFound" in caplog.text  # the traceback


def test_a_busy_room_stops_no_other(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        join(db, make_sale(db, capacity=1))
    fence, faults = lead(db), Faults(db)
    faults.at_statement(1, CONFLICTS[db.writer.dialect.name][0], times=ATTEMPTS_MAX)
    with pytest.raises(RoomsFailed):
        usher.run(db, fence)
    assert admitted(db) == 2
    assert "Busy, trying again" in caplog.text
    assert "Traceback" not in caplog.text
    assert usher.run(db, fence) == 1


def test_a_round_with_a_failed_room_counts_as_failed(db: Database) -> None:
    def metric(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, {"job": "usher", **labels}) or 0.0

    join(db, make_sale(db, capacity=1))
    db.transact(lambda tx: tx.execute(delete(RoomProgress)))
    failed = metric("jari_job_runs_total", outcome="failed")
    finished = metric("jari_job_finished_at_seconds")
    Runner(db, JOBS[0]).run()
    assert metric("jari_job_runs_total", outcome="failed") == failed + 1
    assert metric("jari_job_finished_at_seconds") == finished


@pytest.mark.failure("F19")
def test_after_many_idle_rounds_a_newcomer_is_admitted_at_once(
    db: Database, clock: AdvancingClock
) -> None:
    sale = make_sale(db, capacity=1)
    fence = lead(db)
    for _ in range(50):
        assert usher.run(db, fence) == 0
        clock.advance(60)
    join(db, sale)
    assert usher.run(db, fence) == 1


def test_an_idle_round_writes_nothing(db: Database) -> None:
    sale = make_sale(db, capacity=1)
    fence = lead(db)
    join(db, sale, 1)
    usher.run(db, fence)
    faults = Faults(db)
    usher.run(db, fence)
    assert faults.statements == []
    assert faults.begins == []


@pytest.mark.parametrize(
    ("status", "expected"),
    [("scheduled", 0), ("prequeue", 0), ("open", 1), ("paused", 0), ("nearly sold out", 1)],
)
def test_only_an_open_sale_admits_and_nobody_has_a_number_before(
    db: Database, clock: AdvancingClock, status: str, expected: int
) -> None:
    rules: dict[str, dict[str, Any]] = {
        "scheduled": {"opens_in": 60.0},  # whoever came early, waits
        "prequeue": {
            "opens_in": 60.0,
            "prequeue_opens_at": clock.now() - timedelta(seconds=60),
        },
        "open": {},
        "paused": {"paused_at": clock.now()},
        "nearly sold out": {"blocked": range(1, 10)},
    }
    sale = make_sale(db, seats=10, capacity=5, **rules[status])
    join(db, sale)
    assert usher.run(db, lead(db)) == expected
    assert numbered(db) == (0 if status in ("scheduled", "prequeue") else 1)


def test_when_the_sale_opens_those_who_waited_are_admitted(
    db: Database, clock: AdvancingClock
) -> None:
    join(db, make_sale(db, capacity=5, opens_in=60.0), 3)
    fence = lead(db)
    assert usher.run(db, fence) == 0
    clock.advance(61)
    assert usher.run(db, fence) == 3


def test_a_closed_sale_is_left_alone(db: Database, clock: AdvancingClock) -> None:
    join(db, make_sale(db, capacity=5, closes_in=60.0))
    clock.advance(61)
    assert usher.run(db, lead(db)) == 0
    assert numbered(db) == 0


def test_a_sold_out_sale_admits_nobody_until_a_seat_comes_back(db: Database) -> None:
    sale = make_sale(db, seats=2, capacity=5)
    [buyer] = make_accounts(db)
    inside = enter(db, buyer, sale)
    booked = pay(db, inside, place(db, inside, [0, 1]))
    join(db, sale)
    fence = lead(db)
    assert usher.run(db, fence) == 0
    db.transact(bookings.cancel, booked, new_id())
    assert usher.run(db, fence) == 1


def test_with_the_room_off_there_is_nothing_to_do_but_to_retire(
    db: Database, clock: AdvancingClock
) -> None:
    sale = make_sale(db, capacity=None, session_seconds=60)
    [customer] = make_accounts(db)
    enter(db, customer, sale, session_seconds=60)
    fence = lead(db)
    assert usher.run(db, fence) == 0
    clock.advance(61)
    usher.run(db, fence)
    assert count(db, QueueEntry.end_reason == "expired") == 1


def test_places_come_back_as_stays_end(db: Database, clock: AdvancingClock) -> None:
    join(db, make_sale(db, capacity=2, session_seconds=60), 6)
    fence = lead(db)
    rounds = []
    for _ in range(5):
        rounds.append(usher.run(db, fence))
        clock.advance(61)
    assert rounds == [2, 2, 2, 0, 0]
    usher.run(db, fence)
    assert count(db, QueueEntry.end_reason == "expired") == 6


# -- one at a time --------------------------------------------------------------------------------------


def test_a_lease_is_had_by_one_until_it_runs_out(db: Database, clock: AdvancingClock) -> None:
    first = lead(db)
    most_of_it = 0.6 * leases.LIFETIME_SECONDS
    assert db.transact(leases.acquire, "usher") is None
    clock.advance(most_of_it)
    db.transact(leases.confirm, "usher", first)  # work lengthens it
    clock.advance(most_of_it)
    assert db.transact(leases.acquire, "usher") is None
    clock.advance(most_of_it)
    second = lead(db)
    assert second > first
    with pytest.raises(LeaseLost):
        db.transact(leases.confirm, "usher", first)


def test_a_lease_given_up_is_free_at_once_and_not_by_a_stranger(db: Database) -> None:
    first = lead(db)
    db.transact(leases.release, "usher", first + 5)
    assert db.transact(leases.acquire, "usher") is None
    db.transact(leases.release, "usher", first)
    assert lead(db) > first


def test_jobs_have_leases_of_their_own(db: Database) -> None:
    lead(db)
    assert db.transact(leases.acquire, "sweeper") is not None


@pytest.mark.failure("F20")
def test_a_leader_that_was_replaced_does_nothing(db: Database, clock: AdvancingClock) -> None:
    sale = make_sale(db, capacity=5, session_seconds=5)
    join(db, sale, 3)
    stale = lead(db)
    clock.advance(leases.LIFETIME_SECONDS + 1)
    new = lead(db)
    with pytest.raises(LeaseLost):
        usher.run(db, stale)
    assert (numbered(db), admitted(db)) == (0, 0)
    assert usher.run(db, new) == 3
    clock.advance(6)
    with pytest.raises(LeaseLost):
        usher.run(db, stale)  # not even to retire
    assert count(db, QueueEntry.ended_at.is_not(None)) == 0


@pytest.mark.race
@pytest.mark.failure("F20")
def test_a_leader_that_wakes_up_beside_its_successor_admits_nobody_too_many(
    db: Database, clock: AdvancingClock
) -> None:
    """The old leader stops in the middle of its transaction; the new one takes over and admits."""
    sale = make_sale(db, capacity=3)
    join(db, sale, 10)
    stale = lead(db)
    db.transact(usher._fenced, stale, admission.number_newcomers, sale)
    asleep, woken = threading.Event(), threading.Event()
    outcome: list[Any] = []

    def sleep_after_confirming(tx: Tx) -> int:
        if not asleep.is_set():
            asleep.set()
            woken.wait(1.0)
        leases.confirm(tx, "usher", stale)
        return admission.admit(tx, sale)

    def old_leader() -> None:
        try:
            outcome.append(db.transact(sleep_after_confirming))
        except LeaseLost:
            outcome.append("lost")

    thread = threading.Thread(target=old_leader)
    thread.start()
    assert asleep.wait(60)
    clock.advance(leases.LIFETIME_SECONDS + 1)
    usher.run(db, lead(db))
    woken.set()
    thread.join(20)
    assert admitted(db) == 3
    assert outcome in (["lost"], [3])


@pytest.mark.race
@pytest.mark.failure("F20")
def test_four_at_once_never_admit_beyond_capacity_or_rate(
    db: Database, clock: AdvancingClock
) -> None:
    """Each takes the lease whenever it can get it; the clock runs fast, so that it changes hands."""
    full = make_sale(db, capacity=7, rate_per_minute=1_000, session_seconds=30)
    slow = make_sale(db, capacity=1_000, rate_per_minute=10, session_seconds=30)
    join(db, full, 60)
    join(db, slow, 60)
    stop, rounds, samples = threading.Event(), threading.Semaphore(0), []

    def ush() -> None:
        fence: int | None = None
        while not stop.is_set():
            try:
                fence = fence or db.transact(leases.acquire, "usher")
                if fence:
                    usher.run(db, fence)
            except LeaseLost:
                fence = None
            rounds.release()

    def active(tx: Tx) -> tuple[int, int]:
        inside = select(func.count(QueueEntry.id)).where(
            QueueEntry.performance_id == full,
            QueueEntry.ended_at.is_(None),
            QueueEntry.access_expires_at > tx.now,
        )
        return int(tx.execute(inside).scalar_one()), admission.count_admitted_lately(tx, slow)

    threads = [threading.Thread(target=ush) for _ in range(4)]
    for thread in threads:
        thread.start()
    while admitted(db) <= 70:
        assert rounds.acquire(timeout=60)
        samples.append(db.read(active))
        clock.advance(leases.LIFETIME_SECONDS + 1 if len(samples) % 8 == 0 else 5)
    stop.set()
    for thread in threads:
        thread.join(20)
    assert max(inside for inside, _ in samples) == 7
    assert max(lately for _, lately in samples) == 10


def test_a_change_of_capacity_counts_from_the_next_round(db: Database) -> None:
    sale = make_sale(db, capacity=1)
    join(db, sale, 3)
    fence = lead(db)
    usher.run(db, fence)
    db.transact(lambda tx: tx.execute(update(Performance).values(capacity=3)))
    assert usher.run(db, fence) == 2
