"""What an organiser puts on sale, and steers while it is sold.

Promises:

1. An organiser steers only performances of their own, an operator all of them; every change is in the journal.
2. A performance has every row that selling it needs before its sale: nothing that buyers do makes a table larger
   that they all read.
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam, insert, literal, select, update

from webapp.db import Tx
from webapp.domain import journal
from webapp.domain.catalogue import ARRIVAL_SECONDS, OF_ROOM, OF_SALE, Price
from webapp.domain.errors import NotFound
from webapp.domain.model import (
    Event,
    Performance,
    PriceLevel,
    Room,
    RoomProgress,
    Seat,
    Seatmap,
    SeatPlace,
    table_of,
)

SEATS_PER_STATEMENT = 20_000
SINGLE_SEAT_RULES = ("off", "lenient", "strict")
ROOM = {"arrival_seconds": ARRIVAL_SECONDS, "message": "", "beacon_source": ""}

_SEAT = table_of(Seat)
_PLACE = table_of(SeatPlace)


def add_event(
    tx: Tx, slug: str, title: str, description: str, venue_id: int, organiser_id: uuid.UUID
) -> int:
    """Create an event; return its id. The schema refuses a slug twice (`uq_event_slug`)."""
    event = Event(
        slug=slug,
        title=title,
        description=description,
        venue_id=venue_id,
        organiser_id=organiser_id,
        created_at=tx.now,
    )
    tx.session.add(event)
    tx.session.flush()
    return event.id


def open_performance(
    tx: Tx,
    values: dict[str, Any],
    prices: Sequence[Price],
    blocked: Sequence[int] = (),
    room: Mapping[str, Any] = ROOM,
) -> int:
    """Create a performance with every seat row it will ever have, and its room; return its id.

    `values` are the columns of `performance`, `room` those of `room`. The seat rows exist before the sale because an empty
    index is one big lock under SERIALIZABLE.
    """
    performance = Performance(**values, created_at=tx.now)
    tx.session.add(performance)
    tx.session.flush()
    tx.execute(
        insert(PriceLevel),
        [
            {
                "performance_id": performance.id,
                "code": price.code,
                "name": price.name,
                "price_minor": price.price_minor,
                "position": position,
            }
            for position, price in enumerate(prices)
        ],
    )
    seat_count = tx.execute(
        select(Seatmap.seat_count).where(Seatmap.id == performance.seatmap_id)
    ).scalar_one()
    _add_seats(tx, performance.id, performance.seatmap_id, seat_count)
    closed = sorted(set(blocked))
    if closed:
        tx.execute(
            update(_SEAT)
            .where(_SEAT.c.performance_id == performance.id, _SEAT.c.seat_no == bindparam("no"))
            .values(blocked=True),
            [{"no": seat_no} for seat_no in closed],
        )
    tx.execute(insert(RoomProgress), {"performance_id": performance.id, "last_number": 0})
    tx.execute(insert(Room), dict(room) | {"performance_id": performance.id})
    tx.record(
        "performance_opened",
        performance_id=performance.id,
        seat_count=seat_count,
        blocked=closed,
        settings=_settings(values | dict(room)),
    )
    return performance.id


def _settings(values: Mapping[str, Any]) -> dict[str, Any]:
    return journal.as_facts({name: values.get(name) for name in (*OF_SALE, *OF_ROOM)})


def _add_seats(tx: Tx, performance_id: int, seatmap_id: int, seat_count: int) -> None:
    """Make the seat rows out of the hall's places, inside the database.

    In parts, so that no statement comes near `statement_timeout` in a hall of 200,000.
    """
    columns = select(literal(performance_id), _PLACE.c.seat_no, literal(False))
    for start in range(0, seat_count, SEATS_PER_STATEMENT):
        part = columns.where(
            _PLACE.c.seatmap_id == seatmap_id,
            _PLACE.c.seat_no >= start,
            _PLACE.c.seat_no < start + SEATS_PER_STATEMENT,
        )
        tx.execute(insert(_SEAT).from_select(["performance_id", "seat_no", "blocked"], part))


def set_paused(tx: Tx, performance_id: int, organiser_id: uuid.UUID | None, paused: bool) -> None:
    """Pause or resume a sale of the organiser's own (an operator, None: any); raise NotFound."""
    mine = select(Event.id)
    if organiser_id is not None:
        mine = mine.where(Event.organiser_id == organiser_id)
    changed = tx.execute(
        update(Performance)
        .where(Performance.id == performance_id, Performance.event_id.in_(mine))
        .values(paused_at=tx.now if paused else None)
        .returning(Performance.id)
    ).one_or_none()
    if changed is None:
        raise NotFound()
    tx.record(
        "sale_paused" if paused else "sale_resumed",
        performance_id=performance_id,
        by=journal.told_by(organiser_id),
    )


def set_single_seat_rule(tx: Tx, performance_id: int, organiser_id: uuid.UUID, rule: str) -> None:
    """Say what becomes of choices that leave a single seat alone; raise NotFound.

    `rule` is one of SINGLE_SEAT_RULES: nothing is said, the buyer is told, or it is refused.
    """
    mine = select(Event.id).where(Event.organiser_id == organiser_id)
    changed = tx.execute(
        update(Performance)
        .where(Performance.id == performance_id, Performance.event_id.in_(mine))
        .values(single_seat_rule=rule)
        .returning(Performance.id)
    ).one_or_none()
    if changed is None:
        raise NotFound()
    by = journal.told_by(organiser_id)
    tx.record("single_seat_rule", performance_id=performance_id, rule=rule, by=by)


def list_own(tx: Tx, organiser_id: uuid.UUID) -> list[int]:
    """Read the ids of an organiser's performances, next first."""
    return list(
        tx.execute(
            select(Performance.id)
            .join(Event, Event.id == Performance.event_id)
            .where(Event.organiser_id == organiser_id)
            .order_by(Performance.starts_at)
        ).scalars()
    )
