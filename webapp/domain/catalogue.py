"""What is on sale, by which rules, and whether now is the time.

Reads here decide nothing, except `get_rules`, which a deciding transaction calls for the rules it must
keep (paused, closed, limits).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, bindparam, exists, or_, select

from webapp.db import Tx, make, seconds
from webapp.domain.errors import NotFound, SaleClosed, SaleNotOpen
from webapp.domain.model import (
    Event,
    Performance,
    PriceLevel,
    Room,
    Seatmap,
    Venue,
    table_of,
)
from webapp.statements import Prepared

ARRIVAL_SECONDS = 180  # longer than the longest pause between two looks, a phone's sleep included
ARRIVAL_SECONDS_MIN = 90  # longer than the longest pause that those far behind are told to make
OF_SALE = (
    "prequeue_opens_at",
    "sales_open_at",
    "capacity",
    "rate_per_minute",
    "session_seconds",
)
OF_ROOM = ("arrival_seconds", "idle_seconds", "message", "beacon_source")


@dataclass(frozen=True, slots=True)
class Price:
    """A price level of one performance."""

    code: str
    name: str
    price_minor: int


@dataclass(frozen=True, slots=True)
class Rules:
    """How one performance is sold; a copy of its row, in the row's names and units."""

    id: int
    event_id: int
    seatmap_id: int
    currency: str
    starts_at: datetime
    prequeue_opens_at: datetime | None
    sales_open_at: datetime
    sales_close_at: datetime
    paused_at: datetime | None
    cancel_until_at: datetime | None
    capacity: int | None
    rate_per_minute: int
    session_seconds: int
    hold_seconds: int
    seats_max: int
    single_seat_rule: str

    def status(self, now: datetime, *, sold_out: bool) -> str:
        """Return the sale's status: scheduled, prequeue, open, paused, sold_out or closed."""
        if now >= self.sales_close_at:
            return "closed"
        if now < self.sales_open_at:
            early = self.lottery_opens_at
            return "prequeue" if early is not None and now >= early else "scheduled"
        if sold_out:
            return "sold_out"
        return "paused" if self.paused_at is not None else "open"

    def refuse_joining(self, now: datetime) -> None:
        """Raise SaleNotOpen or SaleClosed unless the waiting room takes newcomers now."""
        status = self.status(now, sold_out=False)
        if status == "scheduled":
            raise SaleNotOpen(
                sales_open_at=self.sales_open_at, prequeue_opens_at=self.lottery_opens_at
            )
        if status == "closed":
            raise SaleClosed()

    @property
    def lottery_opens_at(self) -> datetime | None:
        """From when on people may come to take part in the lottery; None without a pre-queue.

        Where the room is off there is none: whoever joins is inside at once, and that must not be before
        the sale opens.
        """
        return None if self.capacity is None else self.prequeue_opens_at

    @property
    def cancellable_until(self) -> datetime:
        """The last instant at which a booking may be cancelled."""
        return self.cancel_until_at or self.starts_at


@dataclass(frozen=True, slots=True)
class Sale:
    """A performance with everything a buyer sees of it except the seats."""

    rules: Rules
    event_slug: str
    event_title: str
    venue: str
    seatmap_version: str
    seat_count: int
    idle_seconds: int | None  # how long nothing may be done inside; None: no limit
    prices: dict[str, Price]


@dataclass(frozen=True, slots=True)
class Listing:
    """An event and its performances' ids, for lists."""

    id: int
    slug: str
    title: str
    description: str
    venue: str
    address: str
    performance_ids: tuple[int, ...]


_RULES = tuple(table_of(Performance).c[name] for name in Rules.__slots__)
_GET_RULES = select(*_RULES)
_GET_RULES_OF_ONE = Prepared(_GET_RULES.where(Performance.id == bindparam("performance")))


def get_rules(tx: Tx, performance_id: int) -> Rules:
    """Read one performance's rules; raise NotFound."""
    row = tx.fetch_one(_GET_RULES_OF_ONE, performance=performance_id)
    if row is None:
        raise NotFound()
    return make(Rules, row)


def list_rules(tx: Tx) -> list[Rules]:
    """Read the rules of every performance whose sale has not closed: the usher's round."""
    return [
        make(Rules, row)
        for row in tx.execute(_GET_RULES.where(Performance.sales_close_at > tx.now))
    ]


def get_sale(tx: Tx, performance_id: int) -> Sale:
    """Read what a buyer sees of a performance; raise NotFound."""
    rules = get_rules(tx, performance_id)
    [row] = tx.fetch(_SHOWN, performance_id=performance_id)
    prices = tx.fetch(_PRICES, performance_id=performance_id)
    return make(Sale, (rules, *row, {code: Price(code, *rest) for code, *rest in prices}))


_SHOWN = Prepared(
    select(
        Event.slug,
        Event.title,
        Venue.name,
        Seatmap.version,
        Seatmap.seat_count,
        Room.idle_seconds,
    )
    .select_from(Performance)
    .join(Event, Event.id == Performance.event_id)
    .join(Venue, Venue.id == Event.venue_id)
    .join(Seatmap, Seatmap.id == Performance.seatmap_id)
    .join(Room, Room.performance_id == Performance.id)
    .where(Performance.id == bindparam("performance_id"))
)
_PRICES = Prepared(
    select(PriceLevel.code, PriceLevel.name, PriceLevel.price_minor)
    .where(PriceLevel.performance_id == bindparam("performance_id"))
    .order_by(PriceLevel.position)
)


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for: words in title, place or description, and when it is on; empty finds all."""

    words: str = ""
    since: datetime | None = None
    until: datetime | None = None  # not included


def list_events(tx: Tx, after_id: int, limit: int, search: Search | None = None) -> list[Listing]:
    """Read up to `limit` events with an id above `after_id` that fit the search, oldest first."""
    events = tx.execute(
        select(Event.id, Event.slug, Event.title, Event.description, Venue.name, Venue.address)
        .join(Venue, Venue.id == Event.venue_id)
        .where(Event.id > after_id, *(_fitting(search) if search else ()))
        .order_by(Event.id)
        .limit(limit)
    ).all()
    return _with_performances(tx, events)


def _fitting(search: Search) -> Iterator[ColumnElement[bool]]:
    """Yield the conditions of a search; every word must be found somewhere."""
    for word in search.words.split():
        places = (Event.title, Event.description, Venue.name, Venue.address)
        yield or_(*(place.icontains(word, autoescape=True) for place in places))
    days = []
    if search.since is not None:
        days.append(Performance.starts_at >= search.since)
    if search.until is not None:
        days.append(Performance.starts_at < search.until)
    if days:
        yield exists().where(Performance.event_id == Event.id, *days)


def get_event(tx: Tx, slug: str) -> Listing:
    """Read one event; raise NotFound."""
    events = tx.execute(
        select(Event.id, Event.slug, Event.title, Event.description, Venue.name, Venue.address)
        .join(Venue, Venue.id == Event.venue_id)
        .where(Event.slug == slug)
    ).all()
    if not events:
        raise NotFound()
    return _with_performances(tx, events)[0]


def _with_performances(tx: Tx, events: Sequence[Any]) -> list[Listing]:
    shown = tx.execute(
        select(Performance.event_id, Performance.id)
        .where(Performance.event_id.in_([event.id for event in events]))
        .order_by(Performance.starts_at, Performance.id)
    ).all()
    return [
        make(Listing, (*event, tuple(row.id for row in shown if row.event_id == event.id)))
        for event in events
    ]


# -- the door -----------------------------------------------------------------------------------

DOOR_OPEN_SECONDS = 12 * 3600  # nothing lasts longer, and nobody scans afterwards


def list_current(tx: Tx, limit: int) -> list[int]:
    """Read the ids of up to `limit` performances that are to come or not long begun, next first."""
    return list(
        tx.execute(
            select(Performance.id)
            .where(Performance.starts_at > tx.now - seconds(DOOR_OPEN_SECONDS))
            .order_by(Performance.starts_at, Performance.id)
            .limit(limit)
        ).scalars()
    )
