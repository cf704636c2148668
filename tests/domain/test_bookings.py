"""Bookings: a hold that was paid, all of it or nothing, and its undoing, once."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from tests.builders import Customer, enter, make_accounts, make_sale, pay, place
from tests.conftest import AdvancingClock
from webapp.db import Database, new_id
from webapp.domain import bookings, holds, seatmap, tickets, waiting_room, wallet
from webapp.domain.bookings import Booked, Payment
from webapp.domain.errors import (
    AlreadyBooked,
    AlreadyCancelled,
    AlreadyScanned,
    HoldExpired,
    HoldReplaced,
    InsufficientFunds,
    NotAdmitted,
    NotFound,
    TicketVoided,
    TooLate,
    WrongPerformance,
)
from webapp.domain.model import JournalEntry, LedgerEntry, Seat
from webapp.domain.waiting_room import Pass


def balance(db: Database, customer: Customer) -> int:
    """The wallet's balance, which the ledger must agree with."""
    total = select(func.sum(LedgerEntry.amount_minor)).where(LedgerEntry.account_id == customer.id)
    kept = db.lookup(wallet.get, customer.id).balance_minor
    assert kept == (db.lookup(lambda tx: tx.execute(total).scalar()) or 0)
    return kept


def book(db: Database, customer: Customer, sale: int, seats: list[int]) -> Booked:
    admitted = enter(db, customer, sale)
    return pay(db, admitted, place(db, admitted, seats))


def cancel(db: Database, booked: Booked, customer: Customer) -> int:
    """Cancel as the API does: what it is, a read says; whether it still may be, the transaction."""
    known = db.read(bookings.get_own, booked.reference, customer.id)
    return db.transact(bookings.cancel, known, new_id()).refund_minor


def last_fact(db: Database, kind: str) -> dict[str, object]:
    query = select(JournalEntry.facts).where(JournalEntry.kind == kind)
    return db.read(
        lambda tx: dict(tx.execute(query.order_by(JournalEntry.id.desc())).scalars().first())
    )


# -- paying -------------------------------------------------------------------------------------------


def test_what_was_shown_is_charged_and_the_seats_are_owned(db: Database) -> None:
    sale = make_sale(db, seats=10)
    [customer] = make_accounts(db, balance_minor=10_000)
    admitted = enter(db, customer, sale)
    held = place(db, admitted, [2, 3, 4], price_minor=1_500)
    booked = pay(db, admitted, held)
    assert (booked.total_minor, booked.currency) == (4_500, "KRW")
    assert [(t.seat_no, t.price_minor) for t in booked.tickets] == held.seats
    assert balance(db, customer) == 5_500
    assert db.lookup(seatmap.states, sale) == "ffsssfffff"
    assert db.read(bookings.get_own, booked.reference, customer.id) == booked
    assert last_fact(db, "booking_paid")["hold_id"] == str(held.id)


def test_references_and_codes_have_no_letters_that_look_alike(db: Database) -> None:
    sale = make_sale(db)
    [customer] = make_accounts(db)
    booked = book(db, customer, sale, [1, 2])
    assert re.fullmatch(r"[2-9A-HJKMNP-Z]{8}", booked.reference)
    codes = [ticket.code for ticket in booked.tickets]
    assert all(re.fullmatch(r"[2-9A-HJKMNP-Z]{26}", code) for code in codes)
    assert len(set(codes)) == 2


@pytest.mark.failure("F11")
def test_too_little_money_leaves_the_hold_intact(db: Database) -> None:
    sale = make_sale(db)
    [customer] = make_accounts(db, balance_minor=700)
    admitted = enter(db, customer, sale)
    held = place(db, admitted, [1, 2])
    with pytest.raises(InsufficientFunds) as refusal:
        pay(db, admitted, held)
    assert refusal.value.facts == {"short_minor": 1_300}
    assert db.read(holds.find_live, sale, customer.id) == held
    assert balance(db, customer) == 700
    db.transact(wallet.top_up, customer.id, new_id(), 1_300)
    pay(db, admitted, held)
    assert balance(db, customer) == 0


def test_a_free_booking_costs_nothing(db: Database) -> None:
    sale = make_sale(db)
    [customer] = make_accounts(db, balance_minor=0)
    admitted = enter(db, customer, sale)
    booked = pay(db, admitted, place(db, admitted, [1], price_minor=0))
    assert booked.total_minor == 0
    assert cancel(db, booked, customer) == 0
    assert balance(db, customer) == 0


def test_an_access_that_is_over_still_pays_while_its_hold_lives(
    db: Database, clock: AdvancingClock
) -> None:
    sale = make_sale(db, hold_seconds=300)
    [customer] = make_accounts(db)
    admitted = enter(db, customer, sale, session_seconds=60)
    held = place(db, admitted, [1])
    clock.advance(61)
    assert pay(db, admitted, held).total_minor == 1_000


def prepare_paid(db: Database, admitted: Pass, held: holds.Held, _: AdvancingClock) -> None:
    pay(db, admitted, held)


def prepare_replaced(db: Database, admitted: Pass, _held: holds.Held, _: AdvancingClock) -> None:
    place(db, admitted, [5])


def prepare_expired(_db: Database, _: Pass, _held: holds.Held, clock: AdvancingClock) -> None:
    clock.advance(301)


def prepare_released(db: Database, _: Pass, held: holds.Held, _clock: AdvancingClock) -> None:
    db.transact(holds.release, held.id, held.account_id)


@pytest.mark.parametrize(
    ("prepare", "refusal"),
    [
        (prepare_paid, AlreadyBooked),
        (prepare_replaced, HoldReplaced),
        (prepare_expired, HoldExpired),
        (prepare_released, HoldExpired),
    ],
)
def test_only_a_live_hold_is_paid_and_the_refusal_says_how_it_ended(
    db: Database,
    clock: AdvancingClock,
    prepare: Callable[..., None],
    refusal: type[Exception],
) -> None:
    sale = make_sale(db, hold_seconds=300)
    [customer] = make_accounts(db)
    admitted = enter(db, customer, sale, session_seconds=900)
    held = place(db, admitted, [1, 2])
    prepare(db, admitted, held, clock)
    before = balance(db, customer)
    with pytest.raises(refusal):
        pay(db, admitted, held)
    with pytest.raises(refusal):
        db.read(holds.get_own, held.id, customer.id)
    assert balance(db, customer) == before


@pytest.mark.failure("F47")
def test_nobody_pays_anothers_hold_or_with_anothers_stay(db: Database) -> None:
    sale = make_sale(db)
    owner, thief = make_accounts(db, 2)
    admitted, other = enter(db, owner, sale), enter(db, thief, sale)
    held = place(db, admitted, [1])
    with pytest.raises(NotFound):
        pay(db, other, held)
    with pytest.raises(NotAdmitted):
        pay(db, Pass(other.entry_id, sale, owner.id), held)
    pay(db, admitted, held)


def test_a_hold_is_paid_with_the_stay_that_placed_it(db: Database) -> None:
    sale = make_sale(db)
    [customer] = make_accounts(db)
    admitted = enter(db, customer, sale)
    held = place(db, admitted, [1])
    db.transact(waiting_room.end, admitted.entry_id, customer.id, "left")
    later = enter(db, customer, sale)
    assert later.entry_id != admitted.entry_id
    for stay in (admitted, later):
        with pytest.raises(NotAdmitted):
            pay(db, stay, held)
    assert balance(db, customer) == 1_000_000


def test_paying_ends_the_stay(db: Database) -> None:
    sale = make_sale(db)
    [customer] = make_accounts(db)
    admitted = enter(db, customer, sale)
    pay(db, admitted, place(db, admitted, [1]))
    with pytest.raises(NotAdmitted):
        place(db, admitted, [2])


# -- looking ------------------------------------------------------------------------------------------


@pytest.mark.failure("F47")
def test_somebody_elses_booking_is_not_there(db: Database) -> None:
    sale = make_sale(db)
    owner, thief = make_accounts(db, 2)
    booked = book(db, owner, sale, [1])
    with pytest.raises(NotFound):
        db.read(bookings.get_own, booked.reference, thief.id)
    with pytest.raises(NotFound):
        cancel(db, booked, thief)
    assert db.read(bookings.list_own, thief.id, None, 10) == []


def test_bookings_are_listed_newest_first_in_pages(db: Database) -> None:
    sale = make_sale(db)
    [customer] = make_accounts(db)
    made = [book(db, customer, sale, [seat]) for seat in range(5)]
    first = db.read(bookings.list_own, customer.id, None, 3)
    rest = db.read(bookings.list_own, customer.id, first[-1].id, 3)
    listed = [booked.reference for booked in first + rest]
    newest_first = sorted(made, key=lambda booked: booked.id, reverse=True)
    assert listed == [booked.reference for booked in newest_first]
    assert all(len(booked.tickets) == 1 for booked in first + rest)


# -- cancelling ---------------------------------------------------------------------------------------


def test_cancelling_gives_everything_back(db: Database) -> None:
    sale = make_sale(db, seats=6, seats_max=3)
    first, second = make_accounts(db, 2)
    booked = book(db, first, sale, [1, 2, 3])
    assert cancel(db, booked, first) == 3_000
    assert balance(db, first) == 1_000_000
    assert db.lookup(seatmap.states, sale) == "ffffff"
    shown = db.read(bookings.get_own, booked.reference, first.id)
    assert shown.cancelled_at is not None
    assert all(ticket.voided_at == shown.cancelled_at for ticket in shown.tickets)
    book(db, second, sale, [2])  # the seats are anybody's again
    book(db, first, sale, [0, 1, 3])  # and the allowance is whole again


def test_a_booking_is_cancelled_once(db: Database) -> None:
    sale = make_sale(db)
    [customer] = make_accounts(db)
    booked = book(db, customer, sale, [1])
    cancel(db, booked, customer)
    with pytest.raises(AlreadyCancelled):
        cancel(db, booked, customer)
    with pytest.raises(AlreadyCancelled):  # also for who read it before
        db.transact(bookings.cancel, booked, new_id())
    assert balance(db, customer) == 1_000_000


def test_seats_that_somebody_bought_since_are_not_freed_again(db: Database) -> None:
    sale = make_sale(db, seats=4)
    first, second = make_accounts(db, 2)
    booked = book(db, first, sale, [1])
    cancel(db, booked, first)
    book(db, second, sale, [1])
    with pytest.raises(AlreadyCancelled):
        cancel(db, booked, first)
    assert db.lookup(seatmap.states, sale) == "fsff"


@pytest.mark.parametrize("said", [False, True])
def test_too_late_is_too_late(db: Database, clock: AdvancingClock, said: bool) -> None:
    """After what the organiser said, else after the performance has begun."""
    until = clock.now() + timedelta(seconds=3_600)
    sale = make_sale(
        db, starts_in=90_000.0 if said else 3_600.0, cancel_until_at=until if said else None
    )
    [customer] = make_accounts(db)
    booked, other = book(db, customer, sale, [1]), book(db, customer, sale, [2])
    clock.advance(3_500)
    cancel(db, other, customer)
    clock.advance(101)
    with pytest.raises(TooLate):
        cancel(db, booked, customer)


def test_with_one_ticket_scanned_nothing_is_cancelled(db: Database) -> None:
    sale = make_sale(db, seats=5)
    [customer] = make_accounts(db)
    booked = book(db, customer, sale, [1, 2])
    db.transact(tickets.scan, sale, booked.tickets[0].code)
    with pytest.raises(AlreadyScanned):
        cancel(db, booked, customer)
    assert db.lookup(seatmap.states, sale) == "fssff"
    assert balance(db, customer) == 998_000
    db.transact(tickets.scan, sale, booked.tickets[1].code)  # the other is still good


# -- at the door --------------------------------------------------------------------------------------


def test_a_ticket_opens_the_door_once(db: Database) -> None:
    sale, other = make_sale(db), make_sale(db)
    [customer] = make_accounts(db)
    booked = book(db, customer, sale, [1])
    [ticket] = booked.tickets
    with pytest.raises(WrongPerformance):
        db.transact(tickets.scan, other, ticket.code)
    scan = db.transact(tickets.scan, sale, ticket.code)
    assert (scan.seat_no, scan.ticket_id) == (1, ticket.id)
    assert scan.name.startswith("Customer")
    with pytest.raises(AlreadyScanned) as refusal:
        db.transact(tickets.scan, sale, ticket.code)
    assert refusal.value.facts == {"scanned_at": scan.scanned_at}


def test_a_voided_ticket_opens_nothing(db: Database) -> None:
    sale = make_sale(db)
    [customer] = make_accounts(db)
    booked = book(db, customer, sale, [1])
    cancel(db, booked, customer)
    with pytest.raises(TicketVoided):
        db.transact(tickets.scan, sale, booked.tickets[0].code)


def test_a_payment_that_is_refused_writes_nothing_at_all(db: Database) -> None:
    sale = make_sale(db)
    [customer] = make_accounts(db, balance_minor=0)
    admitted = enter(db, customer, sale)
    held = place(db, admitted, [1])
    count = select(func.count(JournalEntry.id))
    before = db.read(lambda tx: tx.execute(count).scalar())
    with pytest.raises(InsufficientFunds):
        db.transact(bookings.pay, admitted, Payment(new_id(), new_id(), held.id))
    assert db.read(lambda tx: tx.execute(count).scalar()) == before


# -- the guards behind the guards ---------------------------------------------------------------------


def give_to_a_stranger(db: Database, sale: int, seat_no: int, **facts: object) -> None:
    """Let a seat be another's, which no transaction of ours would do."""
    change = update(Seat).where(Seat.performance_id == sale, Seat.seat_no == seat_no)
    db.transact(lambda tx: tx.execute(change.values(**facts)))


def test_a_seat_that_is_no_longer_held_is_not_sold(db: Database) -> None:
    sale = make_sale(db)
    [customer] = make_accounts(db)
    admitted = enter(db, customer, sale)
    held = place(db, admitted, [1, 2])
    give_to_a_stranger(db, sale, 2, hold_id=new_id())
    with pytest.raises(HoldExpired):
        pay(db, admitted, held)
    assert db.lookup(seatmap.states, sale)[:4] == "fhhf"
    assert balance(db, customer) == 1_000_000


def test_a_cancellation_frees_no_seat_that_is_anothers(db: Database) -> None:
    sale = make_sale(db)
    [customer] = make_accounts(db)
    booked = book(db, customer, sale, [1, 2])
    give_to_a_stranger(db, sale, 2, ticket_id=new_id())
    cancel(db, booked, customer)
    assert db.lookup(seatmap.states, sale)[:4] == "ffsf"


def test_an_ended_stay_pays_nothing(db: Database) -> None:
    sale = make_sale(db)
    [customer] = make_accounts(db)
    admitted = enter(db, customer, sale)
    held = place(db, admitted, [1])
    assert db.transact(waiting_room.end, admitted.entry_id, customer.id, "left")
    with pytest.raises(NotAdmitted):
        pay(db, admitted, held)
    assert balance(db, customer) == 1_000_000
