"""The sweeper: frees exactly what has expired and is still the dead hold's, in small fenced batches."""

import time
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import func, select

from jobs import sweeper
from tests.builders import Customer, enter, make_accounts, make_sale, pay, place
from tests.conftest import AdvancingClock
from tests.faults import Faults
from webapp.db import Database, new_id
from webapp.domain import accounts, holds, idempotency, leases, retries, seatmap, wallet
from webapp.domain.idempotency import KEPT_SECONDS, Answer, Request
from webapp.domain.leases import LeaseLost
from webapp.domain.model import (
    Allowance,
    Hold,
    IdempotencyKey,
    JournalEntry,
    RateLimit,
    Seat,
)


def lead(db: Database) -> int:
    fence = db.transact(leases.acquire, "sweeper")
    assert fence is not None
    return fence


def hold(db: Database, sale: int, customer: Customer, seats: list[int]) -> holds.Held:
    return place(db, enter(db, customer, sale), seats)


def facts(db: Database, kind: str) -> list[dict[str, Any]]:
    query = select(JournalEntry.facts).where(JournalEntry.kind == kind).order_by(JournalEntry.id)
    return db.read(lambda tx: list(tx.execute(query).scalars()))


def reasons(db: Database) -> dict[str, int]:
    query = select(Hold.end_reason, func.count(Hold.id)).group_by(Hold.end_reason)
    return {str(reason): n for reason, n in db.read(lambda tx: tx.execute(query).all())}


def test_expired_holds_are_closed_and_their_seats_freed(
    db: Database, clock: AdvancingClock
) -> None:
    sale = make_sale(db, seats=6, hold_seconds=60)
    first, second = make_accounts(db, 2)
    dead = hold(db, sale, first, [0, 1])
    clock.advance(61)
    hold(db, sale, second, [4])
    assert sweeper.run(db, lead(db)) == 1
    assert reasons(db) == {"expired": 1, "None": 1}
    left = select(Seat.seat_no).where(Seat.hold_id.is_not(None))
    assert db.read(lambda tx: tx.execute(left).scalars().all()) == [4]
    [entry] = facts(db, "holds_expired")
    assert entry["holds"] == [str(dead.id)]
    assert entry["freed"] == {str(sale): [0, 1]}


@pytest.mark.failure("F13")
def test_of_a_mixed_crowd_exactly_the_expired_are_swept(
    db: Database, clock: AdvancingClock
) -> None:
    """Paid, released, replaced, taken over, alive: each looks a little like an expired hold."""
    sale = make_sale(db, seats=20, hold_seconds=60)
    paid, released, replaced, robbed, robber, dead, alive = make_accounts(db, 7)
    inside = enter(db, paid, sale)
    pay(db, inside, place(db, inside, [0]))
    db.transact(holds.release, hold(db, sale, released, [1]).id, released.id)
    again = enter(db, replaced, sale)
    place(db, again, [2])
    place(db, again, [3])
    hold(db, sale, robbed, [4, 5])
    hold(db, sale, dead, [6, 7])
    clock.advance(61)
    hold(db, sale, robber, [5])  # one of the dead hold's two seats
    hold(db, sale, alive, [8])
    fence = lead(db)
    assert sweeper.run(db, fence) == 3  # replaced's second, robbed's, dead's
    assert sweeper.run(db, fence) == 0
    assert reasons(db) == {"paid": 1, "released": 1, "replaced": 1, "expired": 3, "None": 2}
    assert db.lookup(seatmap.states, sale) == "sffffhffhfffffffffff"
    [entry] = facts(db, "holds_expired")
    assert entry["freed"] == {str(sale): [3, 4, 6, 7]}  # not the seat that is the robber's


def test_what_the_sweeper_frees_costs_its_owner_nothing(
    db: Database, clock: AdvancingClock
) -> None:
    sale = make_sale(db, seats_max=2, hold_seconds=60)
    [customer] = make_accounts(db)
    hold(db, sale, customer, [1, 2])
    clock.advance(61)
    sweeper.run(db, lead(db))
    bought = select(Allowance.seats_bought)
    assert db.read(lambda tx: tx.execute(bought).scalars().all()) == [0]
    hold(db, sale, customer, [3, 4])


def test_more_than_a_batch_and_more_than_a_round(
    db: Database, clock: AdvancingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "FOUND_MAX", 8)
    monkeypatch.setattr(sweeper, "BATCH", 3)
    sale = make_sale(db, seats=60, hold_seconds=60)
    for place_no, customer in enumerate(make_accounts(db, 20)):
        hold(db, sale, customer, [3 * place_no, 3 * place_no + 1])
    clock.advance(61)
    fence = lead(db)
    assert [sweeper.run(db, fence) for _ in range(4)] == [8, 8, 4, 0]
    assert db.lookup(seatmap.states, sale) == "f" * 60
    assert all(len(entry["holds"]) <= 3 for entry in facts(db, "holds_expired"))


@pytest.mark.failure("F5")
def test_between_two_batches_it_rests_longer_than_one_takes(
    db: Database, clock: AdvancingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "BATCH", 1)
    sale = make_sale(db, seats=3, hold_seconds=60)
    for seat, customer in enumerate(make_accounts(db, 3)):
        hold(db, sale, customer, [seat])
    clock.advance(61)
    fence, at_work, swept = lead(db), [], sweeper._expire

    def expire(*given: Any) -> int:
        at_work.append(time.monotonic())
        time.sleep(0.1)
        return swept(*given)

    monkeypatch.setattr(sweeper, "_expire", expire)
    assert sweeper.run(db, fence) == 3
    assert all(later - earlier >= 0.3 for earlier, later in pairwise(at_work))


def test_holds_of_several_performances_are_swept_together(
    db: Database, clock: AdvancingClock
) -> None:
    sales = [make_sale(db, seats=3, hold_seconds=60) for _ in range(3)]
    for sale, customer in zip(sales, make_accounts(db, 3), strict=True):
        hold(db, sale, customer, [1])
    clock.advance(61)
    assert sweeper.run(db, lead(db)) == 3
    [entry] = facts(db, "holds_expired")
    assert entry["freed"] == {str(sale): [1] for sale in sales}


def test_with_nothing_to_do_no_seat_is_touched(db: Database) -> None:
    sale = make_sale(db)
    [customer] = make_accounts(db)
    hold(db, sale, customer, [1])
    fence, faults = lead(db), Faults(db)
    assert sweeper.run(db, fence) == 0
    assert not [s for s in faults.statements if "UPDATE seat" in s.text or "hold" in s.words]


def test_a_sweeper_that_was_replaced_frees_nothing(db: Database, clock: AdvancingClock) -> None:
    sale = make_sale(db, seats=3, hold_seconds=60)
    [customer] = make_accounts(db)
    stale = lead(db)
    hold(db, sale, customer, [1])
    clock.advance(61)
    lead(db)
    with pytest.raises(LeaseLost):
        sweeper.run(db, stale)
    assert reasons(db) == {"None": 1}
    assert facts(db, "holds_expired") == []


def test_answers_past_their_day_are_forgotten(db: Database, clock: AdvancingClock) -> None:
    [customer] = make_accounts(db)

    def keep(key: str) -> None:
        request = Request(customer.id, "POST", "/wallet/top-ups", key, b"")

        def work(tx: Any) -> Answer:
            wallet.top_up(tx, customer.id, new_id(), 5)
            return Answer(201, {})

        db.transact(idempotency.keyed(request, work))

    keep("old")
    clock.advance(KEPT_SECONDS - 100)
    keep("new")
    clock.advance(101)
    sweeper.run(db, lead(db))
    kept = select(IdempotencyKey.key)
    assert db.read(lambda tx: tx.execute(kept).scalars().all()) == ["new"]


def test_a_hold_that_lives_is_not_swept_whoever_says_so(db: Database) -> None:
    """What was found in a read may have been somebody's clock: the transaction asks again."""
    sale = make_sale(db, hold_seconds=60)
    [customer] = make_accounts(db)
    held = hold(db, sale, customer, [1])
    assert db.transact(holds.expire, [held.id]) == 0
    assert db.lookup(seatmap.states, sale)[:3] == "fhf"


def test_attempts_of_long_ago_are_forgotten_and_no_others(
    db: Database, clock: AdvancingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "TIDY_SHARE", 1.0)
    for key in ("old", "again"):
        db.transact(accounts.count_attempt, key, 5, 300)
    clock.advance(25 * 3600)
    for key in ("again", "new"):
        db.transact(accounts.count_attempt, key, 5, 300)
    sweeper.run(db, lead(db))
    keys = select(RateLimit.key).order_by(RateLimit.key)
    assert db.read(lambda tx: tx.execute(keys).scalars().all()) == ["again", "new"]


def test_retries_of_long_ago_are_forgotten_and_no_others(
    db: Database, clock: AdvancingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "TIDY_SHARE", 1.0)
    cause = ("40001", "place", 1)
    db.transact(retries.tell, new_id(), clock.now(), {cause: 3})
    clock.advance(retries.KEPT_SECONDS + 1)
    db.transact(retries.tell, new_id(), clock.now(), {cause: 5})
    sweeper.run(db, lead(db))
    assert [one.times for one in db.read(retries.lately, 10 * retries.KEPT_SECONDS)] == [5]
