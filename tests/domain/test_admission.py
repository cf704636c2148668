"""Admission: guests, no-shows and idle turns; each place is given back exactly once."""

import uuid
from collections import Counter

import pytest
from sqlalchemy import select

from jobs import usher
from tests.builders import Customer, make_accounts, make_sale, pay, place, retire
from tests.conftest import AdvancingClock
from webapp.db import Database, Tx, new_id
from webapp.domain import admission, leases, outlook, pace, rooms, staying, waiting_room
from webapp.domain.errors import TurnOver
from webapp.domain.model import QueueEntry
from webapp.domain.waiting_room import Arrival, Pass, Stay


def join(db: Database, sale: int, customer: Customer) -> Stay:
    arrival = Arrival(new_id(), sale, customer.id)
    return db.transact(
        waiting_room.join, arrival, instead={"uq_queue_entry_stay": waiting_room.rejoin}
    )[0]


def lead(db: Database) -> int:
    fence = db.transact(leases.acquire, "usher")
    assert fence is not None
    return fence


def come(db: Database, stay: Stay) -> None:
    """Hear that it is one's turn."""
    db.transact(staying.see, stay.entry_id, stay.account_id, 0.0)


def inside(db: Database, sale: int) -> set[uuid.UUID]:
    """Who is active, by account."""

    def query(tx: Tx) -> set[uuid.UUID]:
        active = select(QueueEntry.account_id).where(
            QueueEntry.performance_id == sale,
            QueueEntry.ended_at.is_(None),
            QueueEntry.access_expires_at > tx.now,
        )
        return set(tx.execute(active).scalars())

    return db.read(query)


def reason(db: Database, stay: Stay) -> str:
    with pytest.raises(TurnOver) as over:
        db.read(waiting_room.get_stay, stay.entry_id)
    return str(over.value.facts["reason"])


@pytest.mark.failure("F21")
def test_whoever_does_not_come_loses_the_turn_and_may_come_back(
    db: Database, clock: AdvancingClock
) -> None:
    sale = make_sale(db, capacity=2, session_seconds=900, room={"arrival_seconds": 60})
    absent, present, third = make_accounts(db, 3)
    stays = [join(db, sale, person) for person in (absent, present, third)]
    fence = lead(db)
    assert usher.run(db, fence) == 2
    come(db, stays[1])
    clock.advance(40)
    assert usher.run(db, fence) == 0
    clock.advance(21)
    assert usher.run(db, fence) == 1
    assert inside(db, sale) == {present.id, third.id}
    assert reason(db, stays[0]) == "no_show"
    again = join(db, sale, absent)
    usher.run(db, fence)
    assert db.read(waiting_room.get_stay, again.entry_id).number == 4


@pytest.mark.failure("F21")
def test_with_half_absent_the_queue_drains_as_predicted(
    db: Database, clock: AdvancingClock
) -> None:
    """20 places; who comes stays 60 s and leaves, who does not loses the turn after 60 s: 20 a minute."""
    sale = make_sale(
        db, capacity=20, rate_per_minute=1_000, session_seconds=900, room={"arrival_seconds": 60}
    )
    stays = [join(db, sale, person) for person in make_accounts(db, 120)]
    fence, admitted = lead(db), 0
    for minute in range(1, 7):
        for _ in range(4):
            admitted += usher.run(db, fence)
            here = inside(db, sale)
            assert len(here) == 20
            for stay in stays[::2]:
                if stay.account_id in here:
                    come(db, stay)
            clock.advance(15.01)
        assert admitted == 20 * minute
        for stay in stays[::2]:
            if stay.account_id in here:
                assert db.transact(waiting_room.end, stay.entry_id, stay.account_id, "left")
    usher.run(db, fence)
    ended = select(QueueEntry.end_reason).where(QueueEntry.performance_id == sale)
    reasons = Counter(db.read(lambda tx: list(tx.execute(ended).scalars())))
    assert reasons == {"no_show": 60, "left": 60}


def test_whoever_does_nothing_makes_room(db: Database, clock: AdvancingClock) -> None:
    sale = make_sale(db, capacity=2, session_seconds=900, room={"idle_seconds": 60})
    idle, busy, third = make_accounts(db, 3)
    stays = [join(db, sale, person) for person in (idle, busy, third)]
    fence = lead(db)
    usher.run(db, fence)
    for stay in stays[:2]:
        come(db, stay)
    clock.advance(40)
    come(db, stays[1])
    clock.advance(21)
    assert usher.run(db, fence) == 1
    assert inside(db, sale) == {busy.id, third.id}
    assert reason(db, stays[0]) == "idle"


def inside_where_idling_ends(db: Database) -> tuple[Stay, int]:
    """One customer inside a room whose turns end after a minute of idleness; the usher's fence, too."""
    sale = make_sale(
        db, capacity=1, session_seconds=900, hold_seconds=300, room={"idle_seconds": 60}
    )
    [customer] = make_accounts(db)
    stay = join(db, sale, customer)
    fence = lead(db)
    usher.run(db, fence)
    return stay, fence


def test_whoever_may_be_paying_is_not_idle(db: Database, clock: AdvancingClock) -> None:
    stay, fence = inside_where_idling_ends(db)
    admitted = Pass(stay.entry_id, stay.performance_id, stay.account_id)
    held = place(db, admitted, [1])
    clock.advance(290)
    usher.run(db, fence)
    pay(db, admitted, held)
    assert reason(db, stay) == "paid"


def test_after_the_holds_time_idleness_counts_again(db: Database, clock: AdvancingClock) -> None:
    stay, fence = inside_where_idling_ends(db)
    place(db, Pass(stay.entry_id, stay.performance_id, stay.account_id), [1])
    clock.advance(301)
    usher.run(db, fence)
    assert reason(db, stay) == "idle"


def test_a_payment_under_way_when_the_session_ends_may_finish_within_its_hold(
    db: Database, clock: AdvancingClock
) -> None:
    sale = make_sale(db, capacity=1, session_seconds=60, hold_seconds=120)
    customer, other = make_accounts(db, 2)
    stay, waiting = join(db, sale, customer), join(db, sale, other)
    fence = lead(db)
    usher.run(db, fence)
    admitted = Pass(stay.entry_id, sale, customer.id)
    held = place(db, admitted, [1])
    clock.advance(61)
    assert usher.run(db, fence) == 1  # the place is the next one's already
    assert inside(db, sale) == {waiting.account_id}
    pay(db, admitted, held)


def test_whoever_pays_or_leaves_makes_room_at_once(db: Database) -> None:
    sale = make_sale(db, capacity=1)
    payer, leaver, last = make_accounts(db, 3)
    stays = [join(db, sale, person) for person in (payer, leaver, last)]
    fence = lead(db)
    usher.run(db, fence)
    admitted = Pass(stays[0].entry_id, sale, payer.id)
    pay(db, admitted, place(db, admitted, [1]))
    assert usher.run(db, fence) == 1
    db.transact(waiting_room.end, stays[1].entry_id, leaver.id, "left")
    assert usher.run(db, fence) == 1
    assert inside(db, sale) == {last.id}


# -- guests -------------------------------------------------------------------------------------------


def test_a_guest_passes_the_line_and_the_rate_but_not_the_capacity(db: Database) -> None:
    sale = make_sale(db, capacity=3, rate_per_minute=1)
    first, second, guest, another = make_accounts(db, 4)
    for person in (first, second, guest, another):
        join(db, sale, person)
    for person in (guest, another):
        db.transact(rooms.invite, sale, None, person.email)
    fence = lead(db)
    assert usher.run(db, fence) == 3
    assert inside(db, sale) == {guest.id, another.id, first.id}
    db.transact(rooms.invite, sale, None, second.email)
    assert usher.run(db, fence) == 0
    db.transact(rooms.revoke, sale, None, first.email)
    assert usher.run(db, fence) == 1
    assert inside(db, sale) == {guest.id, another.id, second.id}
    assert db.read(rooms.list_guests, sale) == []


def test_a_guest_is_let_in_on_coming_and_only_once(db: Database) -> None:
    sale = make_sale(db, capacity=5, rate_per_minute=0)
    [guest] = make_accounts(db)
    db.transact(rooms.invite, sale, None, guest.email)
    fence = lead(db)
    assert usher.run(db, fence) == 0
    stay = join(db, sale, guest)
    assert usher.run(db, fence) == 1
    db.transact(waiting_room.end, stay.entry_id, guest.id, "left")
    join(db, sale, guest)
    assert usher.run(db, fence) == 0


def test_a_guest_of_one_room_is_none_in_another(db: Database) -> None:
    here, there = (make_sale(db, capacity=5, rate_per_minute=0) for _ in range(2))
    [guest] = make_accounts(db)
    db.transact(rooms.invite, here, None, guest.email)
    join(db, there, guest)
    assert usher.run(db, lead(db)) == 0


# -- limits -------------------------------------------------------------------------------------------


def test_lower_limits_count_at_once_and_send_nobody_away(
    db: Database, clock: AdvancingClock
) -> None:
    sale = make_sale(db, capacity=4, session_seconds=600)
    for person in make_accounts(db, 8):
        join(db, sale, person)
    fence = lead(db)
    assert usher.run(db, fence) == 4
    db.transact(rooms.change, sale, None, {"capacity": 2})
    assert usher.run(db, fence) == 0
    assert len(inside(db, sale)) == 4
    clock.advance(601)
    assert usher.run(db, fence) == 2


def test_the_houses_pace_is_a_share_of_the_rate(db: Database, clock: AdvancingClock) -> None:
    sale = make_sale(db, capacity=100, rate_per_minute=20)
    for person in make_accounts(db, 40):
        join(db, sale, person)
    clock.advance(10)
    process = uuid.uuid4()
    db.transact(pace.report, process, pace.Health(100, 10, 0, 50))
    fence = lead(db)
    assert usher.run(db, fence) == 16
    assert db.read(pace.get).percent == 80
    clock.advance(61)
    db.transact(pace.report, process, pace.Health(100, 60, 0, 50))
    assert usher.run(db, fence) == 0
    room = db.read(outlook.look, sale)
    assert (room.pace_percent, room.pace_reason) == (0, "errors")


def test_what_ended_a_turn_is_told_for_each_reason_apart(
    db: Database, clock: AdvancingClock
) -> None:
    sale = make_sale(db, capacity=5, session_seconds=90, room={"arrival_seconds": 60})
    for person in make_accounts(db, 3):
        join(db, sale, person)
    db.transact(admission.number_newcomers, sale)
    db.transact(admission.admit, sale)
    clock.advance(61)
    assert (retire(db, sale, "expired"), retire(db, sale, "no_show")) == (0, 3)
    clock.advance(60)
    assert (retire(db, sale, "expired"), retire(db, sale, "no_show")) == (0, 0)
