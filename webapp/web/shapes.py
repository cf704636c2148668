"""What the contract's JSON objects look like.

Each shape is a typed dictionary: mypy holds the functions below to it, and the OpenAPI document is
generated from it, so that neither can drift from what is answered.
"""

import json
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Generic, Literal, NotRequired, TypeVar, cast

from flask.json.provider import DefaultJSONProvider
from typing_extensions import TypedDict

from webapp.domain.bookings import Booked, TicketFacts
from webapp.domain.catalogue import Listing, Sale
from webapp.domain.holds import Held
from webapp.domain.seatmap import Place
from webapp.domain.seatmap import Seatmap as Hall
from webapp.domain.wallet import Balance, Movement
from webapp.web.failures import plain
from webapp.web.seat_shapes import PricedSeat, Seat, priced_seat, seat

T = TypeVar("T")

SaleStatus = Literal["scheduled", "prequeue", "open", "paused", "sold_out", "closed"]


class Json(DefaultJSONProvider):
    """Compact JSON: times as RFC 3339 in UTC, ids as text, Korean readable."""

    default = staticmethod(plain)
    ensure_ascii = False
    sort_keys = False
    compact = True


_ENCODER = json.JSONEncoder(default=plain, ensure_ascii=False, separators=(",", ":"))


def dumps(body: Mapping[str, Any]) -> str:
    """Write JSON as the service answers it."""
    return _ENCODER.encode(body)


def jsonable(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return `body` as JSON would give it back: what is stored is what is answered."""
    result: dict[str, Any] = json.loads(dumps(body))
    return result


class Listed(TypedDict, Generic[T]):
    """Part of a list; `next_cursor` asks for what follows, null says that this was the end."""

    items: list[T]
    next_cursor: str | None


# -- who ----------------------------------------------------------------------------------------


class Account(TypedDict):
    """An account."""

    id: uuid.UUID
    email: str
    name: str


class Session(TypedDict):
    """A session. The token is shown this once."""

    session_token: str
    expires_at: datetime


class Wallet(TypedDict):
    """A wallet."""

    balance_minor: int
    currency: str


class LedgerEntry(TypedDict):
    """One ledger entry; `amount_minor` is negative for what was spent."""

    id: uuid.UUID
    kind: Literal["top_up", "spend", "refund"]
    amount_minor: int
    at: datetime


class TopUp(TypedDict):
    """A top-up and the balance after it."""

    id: uuid.UUID
    amount_minor: int
    balance_minor: int


def wallet(balance: Balance) -> Wallet:
    """What a wallet holds."""
    return {"balance_minor": balance.balance_minor, "currency": balance.currency}


def movement(entry: Movement) -> LedgerEntry:
    """One ledger entry."""
    kind = cast(Literal["top_up", "spend", "refund"], entry.kind)
    return {"id": entry.id, "kind": kind, "amount_minor": entry.amount_minor, "at": entry.at}


# -- what is on sale ----------------------------------------------------------------------------


class PriceLevel(TypedDict):
    """A price level of one performance."""

    code: str
    name: str
    price_minor: int
    currency: str


class Venue(TypedDict):
    """Where an event takes place."""

    name: str
    address: str


class Showing(TypedDict):
    """A performance within its event. `prequeue_opens_at` is null where no lottery comes before the sale."""

    id: int
    starts_at: datetime
    prequeue_opens_at: datetime | None
    sales_open_at: datetime
    sales_close_at: datetime
    sale_status: SaleStatus
    price_levels: list[PriceLevel]


class Event(TypedDict):
    """An event with its performances, next first."""

    id: int
    slug: str
    title: str
    description: str
    venue: Venue
    performances: list[Showing]


class EventName(TypedDict):
    """Which event."""

    slug: str
    title: str


class Performance(Showing):
    """A performance and the rules of its sale."""

    event: EventName
    venue: str
    waiting_room: bool
    seats_max: int
    hold_seconds: int
    single_seat_rule: Literal["off", "lenient", "strict"]
    seatmap_version: str
    seat_count: int


def event(listing: Listing, showings: Iterable[Showing]) -> Event:
    """An event with its performances."""
    return {
        "id": listing.id,
        "slug": listing.slug,
        "title": listing.title,
        "description": listing.description,
        "venue": {"name": listing.venue, "address": listing.address},
        "performances": list(showings),
    }


def showing(sale: Sale, status: str) -> Showing:
    """A performance within its event."""
    rules = sale.rules
    return {
        "id": rules.id,
        "starts_at": rules.starts_at,
        "prequeue_opens_at": rules.lottery_opens_at,
        "sales_open_at": rules.sales_open_at,
        "sales_close_at": rules.sales_close_at,
        "sale_status": cast(SaleStatus, status),
        "price_levels": [
            {
                "code": price.code,
                "name": price.name,
                "price_minor": price.price_minor,
                "currency": rules.currency,
            }
            for price in sale.prices.values()
        ],
    }


def performance(sale: Sale, status: str) -> Performance:
    """A performance and the rules of its sale."""
    rules = sale.rules
    return {
        **showing(sale, status),
        "event": {"slug": sale.event_slug, "title": sale.event_title},
        "venue": sale.venue,
        "waiting_room": rules.capacity is not None,
        "seats_max": rules.seats_max,
        "hold_seconds": rules.hold_seconds,
        "single_seat_rule": cast(Literal["off", "lenient", "strict"], rules.single_seat_rule),
        "seatmap_version": sale.seatmap_version,
        "seat_count": sale.seat_count,
    }


# -- waiting, holding, owning -------------------------------------------------------------------


class Queue(TypedDict):
    """Where somebody stands. What is not known yet is null.

    `message` is the organiser's to those who wait. `notice` says why it is slow: the sale is `paused`, admission
    is `slowed` or `stopped` so that those inside can book, or the lottery awaits its `beacon`.
    """

    status: Literal["waiting", "admitted"]
    number: int | None
    ahead: int | None
    estimated_wait_seconds: int | None
    estimated_wait_range_seconds: list[int] | None
    message: str | None
    notice: Literal["paused", "slowed", "stopped", "beacon"] | None
    poll_after_ms: int
    waiting_token: str
    expires_at: datetime
    access_token: NotRequired[str]
    access_expires_at: NotRequired[datetime]


class Lottery(TypedDict):
    """What is published of a lottery by now; bytes as hex digits. What is not yet, is null."""

    seed_hash: str
    beacon_source: str
    sealed_at: datetime
    closed_at: datetime | None
    participants: int | None
    participants_digest: str | None
    beacon: str | None
    drawn_at: datetime | None
    seed: str | None
    first_number: int | None


class Hold(TypedDict):
    """A hold; payment charges the prices shown here."""

    id: uuid.UUID
    performance_id: int
    seats: list[PricedSeat]
    total_minor: int
    currency: str
    placed_at: datetime
    expires_at: datetime


class PlacedHold(Hold):
    """A hold as it was placed: seats `chosen` by the customer, or in a `row`, `near`, or `apart`."""

    together: Literal["chosen", "row", "near", "apart"]


class Ticket(Seat):
    """One seat, one code."""

    code: str
    price_minor: int
    scanned_at: datetime | None
    voided_at: datetime | None


class Booking(TypedDict):
    """A paid order."""

    reference: str
    performance_id: int
    total_minor: int
    currency: str
    paid_at: datetime
    cancelled_at: datetime | None
    tickets: list[Ticket]


class Cancellation(TypedDict):
    """What a cancellation gave back."""

    refund_minor: int
    cancelled_at: datetime


class Scan(TypedDict):
    """Who comes in, and to which seat."""

    seat: str
    name: str
    scanned_at: datetime


def hold(held: Held, hall: Hall) -> Hold:
    """A hold with the prices it will be charged."""
    return {
        "id": held.id,
        "performance_id": held.performance_id,
        "seats": [priced_seat(hall.places[seat_no], price) for seat_no, price in held.seats],
        "total_minor": held.total_minor,
        "currency": held.currency,
        "placed_at": held.placed_at,
        "expires_at": held.expires_at,
    }


def placed_hold(held: Held, hall: Hall, together: str) -> PlacedHold:
    """A hold as it was placed."""
    how = cast(Literal["chosen", "row", "near", "apart"], together)
    return {**hold(held, hall), "together": how}


def booking(booked: Booked, hall: Hall) -> Booking:
    """A booking with its tickets."""
    return {
        "reference": booked.reference,
        "performance_id": booked.performance_id,
        "total_minor": booked.total_minor,
        "currency": booked.currency,
        "paid_at": booked.paid_at,
        "cancelled_at": booked.cancelled_at,
        "tickets": [ticket(facts, hall.places[facts.seat_no]) for facts in booked.tickets],
    }


def ticket(facts: TicketFacts, place: Place) -> Ticket:
    """A ticket and its seat."""
    return {
        **seat(place),
        "code": facts.code,
        "price_minor": facts.price_minor,
        "scanned_at": facts.scanned_at,
        "voided_at": facts.voided_at,
    }
