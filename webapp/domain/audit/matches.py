"""What two tables say of the same seats: lists in JSON, which no portable SQL takes apart."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from webapp.db import Tx
from webapp.domain.audit.facts import (
    Fact,
    Lens,
    Sink,
    Tally,
    Wording,
    hex_of,
    pairs,
    parsed,
    stream,
    text_of,
)
from webapp.domain.audit.findings import Findings, Result
from webapp.domain.model import Allowance, Booking, Hold, Seat, Ticket


def check_matches(tx: Tx, instant: datetime, shown: int) -> Iterator[Result]:
    """Compare live holds with the seats they have and count, and bookings with the holds they charged."""
    for match in MATCHES:
        tally = Tally()
        match.feed(tx, instant, tally)
        suspects = tally.suspects()
        findings = Findings(shown, more=len(suspects) > shown)
        if suspects:
            lens = Lens(suspects[:shown])
            match.feed(tx, instant, lens)
            match.wording.tell(lens, findings)
        yield findings.result(match.name, match.things, tally.count)


def _placed(tx: Tx, instant: datetime) -> Iterator[Fact]:
    live = select(
        hex_of(Hold.id), Hold.performance_id, text_of(text_of(Hold.seats)), Hold.expires_at
    ).where(Hold.ended_at.is_(None), Hold.expires_at > instant)
    for hold, performance_id, seats, expires_at in stream(tx, live):
        for seat_no, _ in pairs(parsed(seats)):
            yield hold, "has", performance_id, seat_no, expires_at


def _had(tx: Tx, instant: datetime) -> Iterator[Fact]:
    held = select(hex_of(Seat.hold_id), Seat.performance_id, Seat.seat_no, Seat.held_until).where(
        Seat.held_until > instant
    )
    for hold, performance_id, seat_no, held_until in stream(tx, held):
        yield hold, "has", performance_id, seat_no, held_until


def _quantity(tx: Tx, instant: datetime) -> Iterator[Fact]:
    live = select(hex_of(Hold.id), text_of(Hold.seats)).where(
        Hold.ended_at.is_(None), Hold.expires_at > instant
    )
    for hold, seats in stream(tx, live):
        yield hold, "counts", len(pairs(parsed(seats)))


def _counted(tx: Tx, instant: datetime) -> Iterator[Fact]:
    counted = (
        select(hex_of(Hold.id), Allowance.seats_held)
        .join(Allowance, Allowance.hold_id == Hold.id)
        .where(Hold.ended_at.is_(None), Hold.expires_at > instant)
    )
    for hold, seats_held in stream(tx, counted):
        yield hold, "counts", seats_held


def _charged(tx: Tx, _instant: datetime) -> Iterator[Fact]:
    paid = select(hex_of(Booking.id), Hold.performance_id, text_of(Hold.seats)).join(
        Hold, Hold.id == Booking.hold_id
    )
    for booking, performance_id, seats in stream(tx, paid):
        for seat_no, price_minor in pairs(parsed(seats)):
            yield booking, "has", performance_id, seat_no, price_minor


def _issued(tx: Tx, _instant: datetime) -> Iterator[Fact]:
    issued = select(
        hex_of(Ticket.booking_id), Ticket.performance_id, Ticket.seat_no, Ticket.price_minor
    )
    for booking, performance_id, seat_no, price_minor in stream(tx, issued):
        yield booking, "has", performance_id, seat_no, price_minor


@dataclass(frozen=True, slots=True)
class Match:
    """Two sources that must give the same facts."""

    name: str
    things: str
    first: Callable[[Tx, datetime], Iterator[Fact]]
    second: Callable[[Tx, datetime], Iterator[Fact]]
    wording: Wording

    def feed(self, tx: Tx, instant: datetime, sink: Sink) -> None:
        """Read both sources into a sink."""
        for fact in self.first(tx, instant):
            sink.put(fact)
        for fact in self.second(tx, instant):
            sink.take(fact)


MATCHES = (
    # A live hold has exactly the seats it lists, until it ends; no two live holds have one seat.
    Match(
        "live_holds",
        "seats",
        _placed,
        _had,
        Wording("hold", {"has": ("performance_id", "seat_no", "until")}, "the hold", "the seats"),
    ),
    # What payment will count as bought is what the hold has.
    Match(
        "allowances_held",
        "live holds",
        _quantity,
        _counted,
        Wording("hold", {"counts": ("seats",)}, "the hold", "the allowance"),
    ),
    # A booking's tickets are exactly the seats and prices that its hold showed.
    Match(
        "bookings_as_held",
        "seats",
        _charged,
        _issued,
        Wording(
            "booking",
            {"has": ("performance_id", "seat_no", "price_minor")},
            "the hold",
            "the tickets",
        ),
    ),
)
