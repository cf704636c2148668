"""What two tables say of the same seats: lists in JSON, which no portable SQL takes apart."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from webapp.db import Tx
from webapp.domain.audit.facts import Fact, Lens, Sink, Tally, Wording, frozen, hex_of, stream
from webapp.domain.audit.findings import Findings, Result
from webapp.domain.model import Booking, Hold, Seat, Ticket


def check_matches(tx: Tx, instant: datetime, shown: int) -> Iterator[Result]:
    """Compare live holds with the seats they have, and bookings with the holds they charged."""
    for match in MATCHES:
        tally, findings = Tally(), Findings(shown)
        match.feed(tx, instant, tally)
        suspects = tally.suspects(shown)
        if suspects:
            lens = Lens(suspects)
            match.feed(tx, instant, lens)
            match.wording.tell(lens, findings)
        yield findings.result(match.name, "seats", tally.count)


def _listed(seats: Any) -> Fact:
    """Read a hold's list; what is no list of pairs is one seat that nothing matches."""
    pairs: Any = frozen(seats)
    if isinstance(pairs, tuple) and all(
        isinstance(pair, tuple) and len(pair) == 2 for pair in pairs
    ):
        return pairs
    return ((repr(seats), None),)


def _placed(tx: Tx, instant: datetime) -> Iterator[Fact]:
    live = select(hex_of(Hold.id), Hold.performance_id, Hold.seats, Hold.expires_at).where(
        Hold.ended_at.is_(None), Hold.expires_at > instant
    )
    for hold, performance_id, seats, expires_at in stream(tx, live):
        for seat_no, _ in _listed(seats):
            yield hold, "has", performance_id, seat_no, expires_at


def _had(tx: Tx, instant: datetime) -> Iterator[Fact]:
    held = select(hex_of(Seat.hold_id), Seat.performance_id, Seat.seat_no, Seat.held_until).where(
        Seat.held_until > instant
    )
    for hold, performance_id, seat_no, held_until in stream(tx, held):
        yield hold, "has", performance_id, seat_no, held_until


def _charged(tx: Tx, _instant: datetime) -> Iterator[Fact]:
    paid = select(hex_of(Booking.id), Hold.performance_id, Hold.seats).join(
        Hold, Hold.id == Booking.hold_id
    )
    for booking, performance_id, seats in stream(tx, paid):
        for seat_no, price_minor in _listed(seats):
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
        _placed,
        _had,
        Wording("hold", {"has": ("performance_id", "seat_no", "until")}, "the hold", "the seats"),
    ),
    # A booking's tickets are exactly the seats and prices that its hold showed.
    Match(
        "bookings_as_held",
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
