"""Bookings: a hold that was paid, and its undoing.

Paying is one transaction: the stay ends, the allowance counts the seats, the hold closes if it lives,
exactly its seats turn from held to sold, the wallet pays what the hold showed. All of it or nothing.
"""

import contextlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import bindparam, null, select

from webapp.db import Tx, make
from webapp.domain import catalogue, holds, seats, waiting_room, wallet
from webapp.domain.errors import (
    AlreadyCancelled,
    AlreadyScanned,
    HoldExpired,
    NotAdmitted,
    NotFound,
    TooLate,
)
from webapp.domain.holds import Held
from webapp.domain.model import Allowance, Booking, Ticket, table_of
from webapp.domain.rows import Change, given_of, inserting_many
from webapp.domain.waiting_room import Pass
from webapp.ids import random_bytes, random_id
from webapp.statements import Prepared, inserting

REFERENCE_ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"  # no 0/O, 1/I/L
REFERENCE_LENGTH = 8
CODE_LENGTH = 26  # of 31 letters: 128 bits
_EVEN = 256 // len(REFERENCE_ALPHABET) * len(REFERENCE_ALPHABET)
_UNEVEN = bytes(range(_EVEN, 256))  # the bytes that would make some letters likelier than others
_LETTERS = bytes(ord(REFERENCE_ALPHABET[byte % len(REFERENCE_ALPHABET)]) for byte in range(256))

_ALLOWANCE = table_of(Allowance)
_BOOKING = table_of(Booking)
_TICKET = table_of(Ticket)


@dataclass(frozen=True, slots=True)
class Payment:
    """What one payment will write, chosen before the first attempt."""

    booking_id: uuid.UUID
    ledger_id: uuid.UUID
    hold_id: uuid.UUID


@dataclass(frozen=True, slots=True)
class TicketFacts:
    """A ticket as its row says."""

    id: uuid.UUID
    seat_no: int
    price_minor: int
    code: str
    scanned_at: datetime | None = None
    voided_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Booked:
    """A booking with its tickets, in the order of seat_no."""

    id: uuid.UUID
    reference: str
    performance_id: int
    account_id: uuid.UUID
    total_minor: int
    currency: str
    paid_at: datetime
    cancelled_at: datetime | None
    tickets: tuple[TicketFacts, ...]


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What a cancellation gave back."""

    refund_minor: int
    cancelled_at: datetime


def random_code(length: int) -> str:
    """Return `length` letters that nobody mistakes for one another, each as likely as any other.

    All drawn at once: one draw for each letter took as long as a statement (measured).
    """
    letters = b""
    while len(letters) < length:
        letters += random_bytes(2 * length).translate(_LETTERS, _UNEVEN)
    return letters[:length].decode("ascii")


# -- paying -------------------------------------------------------------------------------------


def pay(tx: Tx, admitted: Pass, payment: Payment) -> Booked:
    """Turn a live hold into a booking.

    Raises NotFound, HoldExpired, HoldReplaced, AlreadyBooked, NotAdmitted (another stay's token),
    InsufficientFunds (the hold stays). An access token past its end still pays while its hold lives.
    """
    held = _close_hold(tx, admitted, payment.hold_id)
    booked = make_booked(tx, payment, held)
    tickets = {ticket.seat_no: ticket.id for ticket in booked.tickets}
    if seats.sell(tx, held.performance_id, held.id, tickets) != len(tickets):
        raise HoldExpired()  # one of them is another's by now
    wallet.spend(tx, held.account_id, payment.ledger_id, payment.booking_id, held.total_minor)
    _store(tx, booked, held.id)
    record_paid(tx, payment, held, booked)
    return booked


def make_booked(tx: Tx, payment: Payment, held: Held) -> Booked:
    """Say what a hold that is paid now becomes, with codes that nobody knows yet."""
    tickets = (
        TicketFacts(random_id(), seat_no, price_minor, random_code(CODE_LENGTH))
        for seat_no, price_minor in held.seats
    )
    return Booked(
        payment.booking_id,
        random_code(REFERENCE_LENGTH),
        held.performance_id,
        held.account_id,
        held.total_minor,
        held.currency,
        tx.now,
        None,
        tuple(tickets),
    )


def record_paid(tx: Tx, payment: Payment, held: Held, booked: Booked) -> None:
    """Write a payment into the journal."""
    tx.record(
        "booking_paid",
        performance_id=held.performance_id,
        booking_id=str(booked.id),
        hold_id=str(held.id),
        entry_id=str(held.entry_id),
        account_id=str(held.account_id),
        ledger_id=str(payment.ledger_id),
        reference=booked.reference,
        total_minor=held.total_minor,
        currency=held.currency,
        tickets=[[str(ticket.id), ticket.seat_no, ticket.price_minor] for ticket in booked.tickets],
    )


def _close_hold(tx: Tx, admitted: Pass, hold_id: uuid.UUID) -> Held:
    """End the stay and the hold, and return what the hold showed; or say why it cannot be paid.

    Each row is known by its key beforehand, so that paying searches no index.
    """
    # A row that is not there is that of a token for another room: the hold says what to answer.
    with contextlib.suppress(NotAdmitted):
        ended = waiting_room.end_paid(tx, admitted)
        if ended and _count_bought(tx, admitted, hold_id):
            held = holds.close_paid(tx, hold_id, admitted)
            if held is not None:
                return held
    holds.get_own(tx, hold_id, admitted.account_id)
    raise NotAdmitted()


def _count_bought(tx: Tx, admitted: Pass, hold_id: uuid.UUID) -> bool:
    """Raise what the customer has bought by what he holds, if that is `hold_id`; return whether it is.

    Only payment raises it, only cancellation lowers it.
    """
    counted = _COUNT_BOUGHT.run(
        tx,
        performance_id=admitted.performance_id,
        account_id=admitted.account_id,
        previous_hold_id=hold_id,
    )
    return counted is not None


def count_bought_together(tx: Tx, payers: Sequence[tuple[Pass, uuid.UUID]]) -> set[uuid.UUID]:
    """Do `_count_bought` for several customers and holds, on PostgreSQL; return whose hold it was."""
    ordered = sorted(payers, key=lambda payer: payer[0].account_id)
    rows = _COUNT_BOUGHT.run_together(
        tx,
        performance_id=[admitted.performance_id for admitted, _ in ordered],
        account_id=[admitted.account_id for admitted, _ in ordered],
        previous_hold_id=[hold_id for _, hold_id in ordered],
    )
    return {account_id for (account_id,) in rows}


# The hold is handed over in another column than its own: with that goes `seats_held`, says the schema.
_COUNT_BOUGHT = Change(
    _ALLOWANCE,
    {"seats_bought": _ALLOWANCE.c.seats_bought + _ALLOWANCE.c.seats_held, "hold_id": null()},
    _ALLOWANCE.c.hold_id == given_of(_ALLOWANCE.c.previous_hold_id),
    given=["previous_hold_id"],
    returning=["account_id"],
    missing=NotAdmitted,
)
_COUNT_RETURNED = Change(
    _ALLOWANCE, {"seats_bought": _ALLOWANCE.c.seats_bought - bindparam("quantity")}
)


_BOOKING_COLUMNS = (*(name for name in Booked.__slots__ if name != "tickets"), "hold_id")
_INSERT_BOOKING = Prepared(inserting(_BOOKING, {name: name for name in _BOOKING_COLUMNS}))
_TICKET_COLUMNS = ("id", "seat_no", "price_minor", "code")


def _store(tx: Tx, booked: Booked, hold_id: uuid.UUID) -> None:
    tx.fetch(
        _INSERT_BOOKING,
        **{name: getattr(booked, name, hold_id) for name in _BOOKING_COLUMNS},
    )
    parameters: dict[str, Any] = {"booking": booked.id, "performance": booked.performance_id}
    for place, ticket in enumerate(booked.tickets):
        parameters |= {f"{name}_{place}": getattr(ticket, name) for name in _TICKET_COLUMNS}
    tx.fetch(_insert_tickets(len(booked.tickets)), **parameters)


def store_together(tx: Tx, bookeds: Mapping[uuid.UUID, Booked]) -> None:
    """Store several bookings, each by its hold, and their tickets, on PostgreSQL."""
    columns = {
        name: [getattr(booked, name, hold_id) for hold_id, booked in bookeds.items()]
        for name in _BOOKING_COLUMNS
    }
    tx.fetch(_INSERT_BOOKINGS, **columns)
    sold = [(booked, ticket) for booked in bookeds.values() for ticket in booked.tickets]
    columns = {name: [getattr(ticket, name) for _, ticket in sold] for name in _TICKET_COLUMNS}
    columns["booking_id"] = [booked.id for booked, _ in sold]
    columns["performance_id"] = [booked.performance_id for booked, _ in sold]
    tx.fetch(_INSERT_TICKETS, **columns)


_INSERT_BOOKINGS = inserting_many(_BOOKING, _BOOKING_COLUMNS)
_INSERT_TICKETS = inserting_many(_TICKET, ("booking_id", "performance_id", *_TICKET_COLUMNS))


@cache
def _insert_tickets(quantity: int) -> Prepared:
    of_booking = {"booking_id": "booking", "performance_id": "performance"}
    rows = [
        of_booking | {name: f"{name}_{place}" for name in _TICKET_COLUMNS}
        for place in range(quantity)
    ]
    return Prepared(inserting(_TICKET, *rows))


# -- looking ------------------------------------------------------------------------------------

_BOOKED = select(*(_BOOKING.c[name] for name in Booked.__slots__ if name != "tickets"))


def get_own(tx: Tx, reference: str, account_id: uuid.UUID) -> Booked:
    """Return a customer's booking; raise NotFound, also for somebody else's."""
    rows = tx.execute(_BOOKED.where(Booking.reference == reference)).all()
    if not rows or rows[0].account_id != account_id:
        raise NotFound()
    return _with_tickets(tx, rows)[0]


def list_own(tx: Tx, account_id: uuid.UUID, before: uuid.UUID | None, limit: int) -> list[Booked]:
    """Return up to `limit` bookings older than `before`, newest first."""
    query = _BOOKED.where(Booking.account_id == account_id)
    if before is not None:
        query = query.where(Booking.id < before)
    return _with_tickets(tx, tx.execute(query.order_by(Booking.id.desc()).limit(limit)).all())


def _with_tickets(tx: Tx, rows: Sequence[Any]) -> list[Booked]:
    tickets = tx.execute(
        select(_TICKET.c.booking_id, *(_TICKET.c[name] for name in TicketFacts.__slots__))
        .where(Ticket.booking_id.in_([row.id for row in rows]))
        .order_by(Ticket.seat_no)
    ).all()
    return [
        make(Booked, (*row, tuple(make(TicketFacts, t[1:]) for t in tickets if t[0] == row.id)))
        for row in rows
    ]


# -- cancelling ---------------------------------------------------------------------------------


def cancel(tx: Tx, booked: Booked, ledger_id: uuid.UUID) -> Cancelled:
    """Undo a booking: tickets void, seats free, money back once.

    `booked` comes from `get_own` in a read: whose it is and which tickets it has never changes, and to
    look that up here would lock the index pages to which everybody's new bookings go. Raises
    AlreadyCancelled, TooLate, AlreadyScanned.
    """
    if booked.cancelled_at is not None:
        raise AlreadyCancelled(cancelled_at=booked.cancelled_at)
    if tx.now >= catalogue.get_rules(tx, booked.performance_id).cancellable_until:
        raise TooLate()
    # The booking before the allowance: nothing but a cancellation locks a booking, and the second of
    # two must not lower the allowance again.
    if _CANCEL.run(tx, id=booked.id, now=tx.now) is None:
        raise AlreadyCancelled()
    _COUNT_RETURNED.run(
        tx,
        performance_id=booked.performance_id,
        account_id=booked.account_id,
        quantity=len(booked.tickets),
    )
    voided, freed = _void(tx, booked)
    wallet.refund(tx, booked.account_id, ledger_id, booked.id, booked.total_minor)
    tx.record(
        "booking_cancelled",
        performance_id=booked.performance_id,
        booking_id=str(booked.id),
        account_id=str(booked.account_id),
        ledger_id=str(ledger_id),
        refund_minor=booked.total_minor,
        tickets=[str(ticket_id) for ticket_id in voided],
        seats=freed,
    )
    return Cancelled(booked.total_minor, tx.now)


_CANCEL = Change(_BOOKING, {"cancelled_at": bindparam("now")}, _BOOKING.c.cancelled_at.is_(None))
_VOID = Change(
    _TICKET,
    {"voided_at": bindparam("now")},
    _TICKET.c.scanned_at.is_(None),
    _TICKET.c.voided_at.is_(None),
)


def _void(tx: Tx, booked: Booked) -> tuple[list[uuid.UUID], list[int]]:
    """Void every ticket or refuse, and free exactly their seats; return both."""
    voided = [ticket.id for ticket in booked.tickets if _VOID.run(tx, id=ticket.id, now=tx.now)]
    if len(voided) != len(booked.tickets):
        raise AlreadyScanned()
    seat_nos = [ticket.seat_no for ticket in booked.tickets]
    return voided, seats.take_back(tx, booked.performance_id, seat_nos, voided)
