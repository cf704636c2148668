"""Holds: all or nothing, one per customer, over when the clock says so."""

import pytest

from tests.builders import enter, make_accounts, make_sale, pay, place
from tests.conftest import AdvancingClock
from webapp.db import Database
from webapp.domain import holds, seatmap, wallet
from webapp.domain.errors import HoldExpired, SeatsTaken, TooManySeats


def test_a_held_seat_is_nobody_elses(db: Database) -> None:
    sale = make_sale(db)
    first, second = make_accounts(db, 2)
    place(db, enter(db, first, sale), [1, 2])
    with pytest.raises(SeatsTaken) as refusal:
        place(db, enter(db, second, sale), [2, 3])
    assert refusal.value.facts == {"seats": ["seat-2"]}
    assert db.lookup(seatmap.states, sale)[:5] == "fhhff"


@pytest.mark.failure("F2")
def test_an_expired_hold_is_no_hold(db: Database, clock: AdvancingClock) -> None:
    sale = make_sale(db, hold_seconds=300, session_seconds=900)
    first, second = make_accounts(db, 2)
    late = enter(db, first, sale)
    held = place(db, late, [7])
    clock.advance(301)
    other = enter(db, second, sale)
    place(db, other, [7])
    with pytest.raises(HoldExpired):
        pay(db, late, held)


def test_paying_makes_the_seats_the_customers(db: Database) -> None:
    sale = make_sale(db)
    [customer] = make_accounts(db)
    admitted = enter(db, customer, sale)
    booked = pay(db, admitted, place(db, admitted, [4, 5]))
    assert [ticket.seat_no for ticket in booked.tickets] == [4, 5]
    assert db.lookup(wallet.get, customer.id).balance_minor == 1_000_000 - 2_000
    assert db.lookup(seatmap.states, sale)[3:7] == "fssf"


def test_asking_again_replaces_the_hold(db: Database) -> None:
    sale = make_sale(db)
    [customer] = make_accounts(db)
    admitted = enter(db, customer, sale)
    first = place(db, admitted, [1, 2])
    second = place(db, admitted, [2, 3])
    assert db.lookup(seatmap.states, sale)[:5] == "ffhhf"
    assert db.read(holds.find_live, sale, customer.id) == second
    assert first.id != second.id


@pytest.mark.failure("F51")
def test_bought_seats_count_for_ever(db: Database) -> None:
    sale = make_sale(db, seats_max=4)
    [customer] = make_accounts(db)
    admitted = enter(db, customer, sale)
    pay(db, admitted, place(db, admitted, [1, 2, 3]))
    again = enter(db, customer, sale)
    with pytest.raises(TooManySeats):
        place(db, again, [10, 11])
    place(db, again, [10])


def test_all_the_seats_or_none(db: Database) -> None:
    sale = make_sale(db)
    first, second = make_accounts(db, 2)
    place(db, enter(db, first, sale), [1])
    with pytest.raises(SeatsTaken):
        place(db, enter(db, second, sale), [1, 2, 3])
    assert db.lookup(seatmap.states, sale)[:5] == "fhfff"


def test_a_sold_or_blocked_seat_is_taken(db: Database) -> None:
    sale = make_sale(db, blocked=[0])
    owner, other = make_accounts(db, 2)
    inside = enter(db, owner, sale)
    pay(db, inside, place(db, inside, [1]))
    admitted = enter(db, other, sale)
    for seat in (0, 1):
        with pytest.raises(SeatsTaken):
            place(db, admitted, [seat])
    assert db.lookup(seatmap.states, sale)[:3] == "bsf"


def test_nobody_holds_more_than_the_limit_at_once(db: Database) -> None:
    sale = make_sale(db, seats_max=2)
    [customer] = make_accounts(db)
    with pytest.raises(TooManySeats):
        place(db, enter(db, customer, sale), [1, 2, 3])
    assert "h" not in db.lookup(seatmap.states, sale)


def test_a_swap_takes_no_seat_of_a_third(db: Database) -> None:
    sale = make_sale(db)
    customer, third = make_accounts(db, 2)
    admitted = enter(db, customer, sale)
    place(db, admitted, [1, 2])
    place(db, enter(db, third, sale), [3])
    with pytest.raises(SeatsTaken):
        place(db, admitted, [2, 3])
    assert db.lookup(seatmap.states, sale)[:5] == "fhhhf"
