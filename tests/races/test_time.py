"""Time against customers: expiry against payment, one tab against another, deadlines that stay."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import pytest
from sqlalchemy import select

from jobs import sweeper
from tests.builders import enter, make_accounts, make_sale, pay, place
from tests.conftest import AdvancingClock
from tests.races import errands
from tests.races.crowd import Crowd
from tests.races.soundness import assert_sound
from webapp.db import Database, Tx
from webapp.domain import bookings, holds, leases, seatmap, wallet
from webapp.domain.catalogue import Price
from webapp.domain.errors import NotAdmitted, TooManySeats
from webapp.domain.model import Hold, QueueEntry
from webapp.domain.waiting_room import Pass

pytestmark = pytest.mark.race


@contextmanager
def sweeping(db: Database) -> Iterator[None]:
    """Sweep without a pause until the end of the block, and once more."""
    fence = db.transact(leases.acquire, "sweeper")
    assert fence is not None
    stop = threading.Event()

    def sweep() -> None:
        while not stop.wait(0.002):
            sweeper.run(db, fence)

    thread = threading.Thread(target=sweep)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    sweeper.run(db, fence)


@pytest.mark.failure("F1")
@pytest.mark.slow
def test_payment_at_the_moment_of_expiry_is_all_or_nothing(
    db: Database, database_url: str, crowd: Crowd
) -> None:
    """A thousand payments within 5 ms of expiry, and some a little earlier so that both ends happen."""
    rng = random.Random(1)
    offsets = [rng.uniform(-0.005, 0.005) for _ in range(1_000)]
    offsets += [rng.uniform(-0.05, -0.005) for _ in range(100)]
    customers = make_accounts(db, len(offsets), balance_minor=1_000)
    sale = make_sale(db, seats=len(offsets), hold_seconds=1)
    calls = [(customer.id, sale, n, offsets[n]) for n, customer in enumerate(customers)]
    rng.shuffle(calls)
    with sweeping(db):
        race = crowd.run(database_url, errands.pay_around_expiry, calls, threads=22)
    assert set(race.refused) == {"hold_expired"}
    assert race.values
    states = db.lookup(seatmap.states, sale)
    for (account_id, _, seat, _), outcome in zip(calls, race.outcomes, strict=True):
        paid = outcome.refused is None
        assert states[seat] == (seatmap.SOLD if paid else seatmap.FREE)
        assert db.lookup(wallet.get, account_id).balance_minor == (0 if paid else 1_000)
    assert_sound(db)


@pytest.mark.failure("F2")
def test_without_a_sweeper_the_late_are_refused_and_the_next_have_the_seats_at_once(
    db: Database, database_url: str, crowd: Crowd, clock: AdvancingClock
) -> None:
    sale = make_sale(db, hold_seconds=300, session_seconds=900)
    calls: list[tuple[object, ...]] = []
    for seat, customer in enumerate(make_accounts(db, 40)):
        admitted = enter(db, customer, sale, 900)
        held = place(db, admitted, [seat])
        calls.append(("pay", errands.Hold(held.id, admitted, (seat,), held.total_minor), "key"))
    rivals = [enter(db, customer, sale, 900) for customer in make_accounts(db, 40)]
    for seat, admitted in enumerate(rivals):
        nothing = errands.Hold(admitted.entry_id, admitted, (), 0)
        calls.insert(2 * seat + 1, ("replace", nothing, [seat]))
    clock.advance(301)
    ahead = clock.ahead_seconds
    race = crowd.run(database_url, errands.in_a_tab, calls, threads=20, ahead_seconds=ahead)
    assert [outcome.refused for outcome in race.outcomes] == ["hold_expired", None] * 40
    paid = crowd.run(
        database_url, errands.pay, [(h, "key") for h in race.values], ahead_seconds=ahead
    )
    assert paid.refused == {}
    assert db.lookup(seatmap.states, sale)[:40] == seatmap.SOLD * 40
    assert_sound(db)


@pytest.mark.failure("F42")
@pytest.mark.parametrize("between", ["replace", "release"])
def test_nothing_moves_the_last_deadline(db: Database, clock: AdvancingClock, between: str) -> None:
    [customer] = make_accounts(db)
    sale = make_sale(db, hold_seconds=300, session_seconds=600)
    admitted = enter(db, customer, sale, 600)
    clock.advance(590)
    first = place(db, admitted, [0])
    for seat in range(1, 5):
        clock.advance(1)
        if between == "release":
            live = db.read(holds.find_live, sale, customer.id)
            assert live is not None
            db.transact(holds.release, live.id, customer.id)
        assert place(db, admitted, [seat]).expires_at == first.expires_at
    clock.advance(10)
    with pytest.raises(NotAdmitted):
        place(db, admitted, [7])
    clock.advance(290)
    assert db.read(holds.find_live, sale, customer.id) is None
    assert_sound(db)


@pytest.mark.failure("F42")
def test_many_tabs_at_once_do_not_move_it_either(
    db: Database, database_url: str, crowd: Crowd, clock: AdvancingClock
) -> None:
    customers = make_accounts(db, 10)
    sale = make_sale(db, seats=400, hold_seconds=300, session_seconds=100)
    stays = [enter(db, customer, sale, 100) for customer in customers]
    deadlines: list[list[datetime]] = []
    for _ in range(3):
        calls = [
            ("replace", errands.Hold(stay.entry_id, stay, (), 0), [40 * n + tab])
            for tab in range(12)
            for n, stay in enumerate(stays)
        ]
        ahead = clock.ahead_seconds
        race = crowd.run(database_url, errands.in_a_tab, calls, threads=20, ahead_seconds=ahead)
        assert race.refused == {}
        deadlines.append([db.read(deadlines_of, stay)[1] for stay in stays])
        clock.advance(40)
    assert deadlines[0] == deadlines[1] == deadlines[2]
    for stay in stays:
        expiries, last_deadline = db.read(deadlines_of, stay)
        assert len(expiries) == 36
        assert max(expiries) <= last_deadline
        assert last_deadline in expiries  # a hold's own end, for access ends before it
    assert_sound(db)


def deadlines_of(tx: Tx, stay: Pass) -> tuple[list[datetime], datetime]:
    """Return when a stay's holds end, the first first, and the last moment that any may end."""
    placed = select(Hold.expires_at).where(Hold.entry_id == stay.entry_id).order_by(Hold.placed_at)
    last = select(QueueEntry.holds_end_at).where(QueueEntry.id == stay.entry_id)
    return list(tx.execute(placed).scalars()), tx.execute(last).scalar_one()


@pytest.mark.failure("F49")
def test_replacing_in_one_tab_while_paying_in_another(
    db: Database, database_url: str, crowd: Crowd
) -> None:
    customers = make_accounts(db, 200, balance_minor=10_000)
    sale = make_sale(db, seats=800, levels=[Price("a", "A", 1_000), Price("b", "B", 1_700)])
    calls: list[tuple[float, int, str, errands.Hold, object]] = []
    rng = random.Random(49)
    for number, customer in enumerate(customers):
        admitted = enter(db, customer, sale)
        mine, others = [2 * number, 2 * number + 1], [2 * number + 1, 400 + 2 * number]
        held = place(db, admitted, mine)
        tab = errands.Hold(held.id, admitted, tuple(held.seat_nos), held.total_minor)
        for kind, what in (("pay", "key"), ("replace", others)):
            # About the same moment: a payment has more to do before they meet, and would lose each time.
            calls.append((number + rng.uniform(-4, 4), number, kind, tab, what))
    calls.sort(key=lambda call: call[0])
    race = crowd.run(database_url, errands.in_a_tab, [call[2:] for call in calls], threads=10)
    outcomes = {call[1:3]: outcome for call, outcome in zip(calls, race.outcomes, strict=True)}
    won = dict.fromkeys(("pay", "replace"), 0)
    for number, customer in enumerate(customers):
        outcome = {kind: outcomes[number, kind] for kind in ("pay", "replace")}
        spent = 10_000 - db.lookup(wallet.get, customer.id).balance_minor
        if outcome["pay"].refused is None:
            assert outcome["replace"].refused == "not_admitted"
            assert spent == outcome["pay"].value["total_minor"] == 2_000
        else:
            assert outcome["pay"].refused == "hold_replaced"
            assert outcome["replace"].refused is None
            assert spent == 0
        won["pay" if spent else "replace"] += 1
    assert min(won.values()) > 0, won
    assert_sound(db)


@pytest.mark.failure("F51")
def test_the_limit_counts_what_was_bought_for_ever_and_dead_holds_never(
    db: Database, clock: AdvancingClock
) -> None:
    [customer] = make_accounts(db)
    sale = make_sale(db, seats_max=4, hold_seconds=60, session_seconds=3_600)
    admitted = enter(db, customer, sale, 3_600)
    place(db, admitted, [0, 1, 2, 3])
    clock.advance(61)  # nobody sweeps
    booked = pay(db, admitted, place(db, admitted, [4, 5, 6]))
    again = enter(db, customer, sale, 3_600)
    with pytest.raises(TooManySeats):
        place(db, again, [7, 8])
    pay(db, again, place(db, again, [7]))
    third = enter(db, customer, sale, 3_600)
    with pytest.raises(TooManySeats):
        place(db, third, [8])
    db.transact(bookings.cancel, booked, booked.id)
    place(db, third, [8, 9, 10])
    assert_sound(db)


@pytest.mark.failure("F51")
def test_coming_back_in_many_tabs_does_not_reset_the_limit(
    db: Database, database_url: str, crowd: Crowd
) -> None:
    [customer] = make_accounts(db)
    sale = make_sale(db, seats_max=4)
    calls = [(customer.id, sale, [[6 * tab + turn] for turn in range(6)]) for tab in range(16)]
    race = crowd.run(database_url, errands.come_and_go, calls, threads=4)
    assert race.refused == {}
    # Tabs leave each other's stays and replace each other's holds, so the crowd may stop short of the
    # limit. One tab alone then reaches it, and not a seat more.
    assert db.lookup(seatmap.states, sale).count(seatmap.SOLD) <= 4
    alone = [(customer.id, sale, [[number] for number in range(96, 100)])]
    crowd.run(database_url, errands.come_and_go, alone)
    assert db.lookup(seatmap.states, sale).count(seatmap.SOLD) == 4
    assert_sound(db)
