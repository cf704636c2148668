"""The tables' side of what the journal tells: rows as facts, one check per table.

A ticket's code is not among them: it opens a door, so the journal does not have it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlalchemy import select

from webapp.db import Tx
from webapp.domain import lottery
from webapp.domain.audit.facts import Fact, Wording, hex_of, pairs, parsed, stream, text_of
from webapp.domain.model import (
    Booking,
    Hold,
    LedgerEntry,
    Lottery,
    Performance,
    QueueEntry,
    Seatmap,
    Ticket,
    Wallet,
)


@dataclass(frozen=True, slots=True)
class Subject:
    """One check: a table's rows as facts, and how to speak of them."""

    name: str
    rows: Callable[[Tx], Iterator[Fact]]
    wording: Wording


def _subject(
    name: str, rows: Callable[[Tx], Iterator[Fact]], noun: str, **values: tuple[str, ...]
) -> Subject:
    return Subject(name, rows, Wording(noun, values, "the journal", "the table"))


# -- rows as facts ------------------------------------------------------------------------------


def _performances(tx: Tx) -> Iterator[Fact]:
    rows = stream(tx, select(Performance.id, Seatmap.seat_count).join(Seatmap))
    for performance_id, seat_count in rows:
        yield performance_id, "opened", seat_count


def _wallets(tx: Tx) -> Iterator[Fact]:
    for account, currency in stream(tx, select(hex_of(Wallet.account_id), Wallet.currency)):
        yield account, "opened", currency


def _ledger(tx: Tx) -> Iterator[Fact]:
    rows = stream(
        tx,
        select(
            hex_of(LedgerEntry.id),
            hex_of(LedgerEntry.account_id),
            LedgerEntry.kind,
            LedgerEntry.amount_minor,
            hex_of(LedgerEntry.booking_id),
            LedgerEntry.at,
        ),
    )
    for ledger, account, kind, amount_minor, booking, at in rows:
        yield ledger, "moved", account, kind, str(amount_minor), booking, at


def _lotteries(tx: Tx) -> Iterator[Fact]:
    rows = tx.execute(
        select(
            Lottery.performance_id,
            Lottery.seed,
            Lottery.beacon_source,
            Lottery.sealed_at,
            Lottery.closed_at,
            Lottery.participants,
            Lottery.participants_digest,
            Lottery.beacon,
            Lottery.drawn_at,
            Lottery.first_number,
        )
    )
    for row in rows:
        where, seed_hash = row.performance_id, lottery.hash_of(row.seed)
        yield where, "sealed", seed_hash, row.beacon_source, row.sealed_at
        if row.closed_at is not None:
            count = len(row.participants) // lottery.ID_BYTES
            yield where, "closed", count, row.participants_digest.hex(), row.closed_at
        if row.beacon is not None:
            yield where, "lit", row.beacon
        if row.drawn_at is not None:
            yield where, "drawn", row.seed.hex(), row.first_number, row.drawn_at


def _stays(tx: Tx) -> Iterator[Fact]:
    rows = stream(
        tx,
        select(
            hex_of(QueueEntry.id),
            QueueEntry.performance_id,
            hex_of(QueueEntry.account_id),
            QueueEntry.joined_at,
            QueueEntry.number,
            QueueEntry.admitted_at,
            QueueEntry.access_expires_at,
            QueueEntry.end_reason,
            QueueEntry.ended_at,
        ),
    )
    for entry, performance_id, account, joined_at, number, admitted_at, access, reason, at in rows:
        yield entry, "joined", performance_id, account, joined_at
        if number is not None:
            yield entry, "numbered", number
        if admitted_at is not None:
            yield entry, "admitted", admitted_at, access
        if at is not None:
            yield entry, "ended", reason, at


def _holds(tx: Tx) -> Iterator[Fact]:
    rows = stream(
        tx,
        select(
            hex_of(Hold.id),
            Hold.performance_id,
            hex_of(Hold.account_id),
            hex_of(Hold.entry_id),
            text_of(Hold.seats),
            Hold.total_minor,
            Hold.currency,
            Hold.placed_at,
            Hold.expires_at,
            QueueEntry.holds_end_at,
            Hold.end_reason,
            Hold.ended_at,
            hex_of(Hold.replaced_by),
        ).outerjoin(QueueEntry, QueueEntry.id == Hold.entry_id),
    )
    for hold, performance_id, account, entry, seats, *rest, reason, at, successor in rows:
        yield hold, "placed", performance_id, account, entry, pairs(parsed(seats)), *rest
        if at is not None:
            yield hold, "ended", reason, at, successor


def _bookings(tx: Tx) -> Iterator[Fact]:
    rows = stream(
        tx,
        select(
            hex_of(Booking.id),
            Booking.reference,
            Booking.performance_id,
            hex_of(Booking.account_id),
            hex_of(Booking.hold_id),
            Booking.total_minor,
            Booking.currency,
            Booking.paid_at,
            Booking.cancelled_at,
        ),
    )
    for booking, *paid, cancelled_at in rows:
        yield booking, "paid", *paid
        if cancelled_at is not None:
            yield booking, "cancelled", cancelled_at


def _tickets(tx: Tx) -> Iterator[Fact]:
    rows = stream(
        tx,
        select(
            hex_of(Ticket.id),
            hex_of(Ticket.booking_id),
            Ticket.performance_id,
            Ticket.seat_no,
            Ticket.price_minor,
            Ticket.scanned_at,
            Ticket.voided_at,
        ),
    )
    for ticket, booking, performance_id, seat_no, price_minor, scanned_at, voided_at in rows:
        yield ticket, "issued", booking, performance_id, seat_no, price_minor
        if scanned_at is not None:
            yield ticket, "scanned", scanned_at
        if voided_at is not None:
            yield ticket, "voided", voided_at


# -- the checks ---------------------------------------------------------------------------------

SUBJECTS = (
    _subject("journal_performances", _performances, "performance", opened=("seat_count",)),
    _subject(
        "journal_lotteries",
        _lotteries,
        "the lottery of performance",
        sealed=("seed_hash", "beacon_source", "sealed_at"),
        closed=("participants", "participants_digest", "closed_at"),
        lit=("beacon",),
        drawn=("seed", "first_number", "drawn_at"),
    ),
    _subject(
        "journal_stays",
        _stays,
        "queue entry",
        joined=("performance_id", "account_id", "joined_at"),
        numbered=("number",),
        admitted=("admitted_at", "access_expires_at"),
        ended=("end_reason", "ended_at"),
    ),
    _subject(
        "journal_holds",
        _holds,
        "hold",
        placed=(
            "performance_id",
            "account_id",
            "entry_id",
            "seats",
            "total_minor",
            "currency",
            "placed_at",
            "expires_at",
            "holds_end_at",
        ),
        ended=("end_reason", "ended_at", "replaced_by"),
    ),
    _subject(
        "journal_bookings",
        _bookings,
        "booking",
        paid=(
            "reference",
            "performance_id",
            "account_id",
            "hold_id",
            "total_minor",
            "currency",
            "paid_at",
        ),
        cancelled=("cancelled_at",),
    ),
    _subject(
        "journal_tickets",
        _tickets,
        "ticket",
        issued=("booking_id", "performance_id", "seat_no", "price_minor"),
        scanned=("scanned_at",),
        voided=("voided_at",),
    ),
    _subject("journal_wallets", _wallets, "wallet", opened=("currency",)),
    _subject(
        "journal_ledger",
        _ledger,
        "ledger entry",
        moved=("account_id", "kind", "amount_minor", "booking_id", "at"),
    ),
)
