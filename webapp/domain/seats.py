"""How seats change hands: free → held → sold and back, by key and on condition, all of a hand at once.

Each function is one statement over seats of one performance, for a sorted set of numbers. It changes
what fits its condition and says what that was; whether that is enough is the caller's to decide.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Update,
    and_,
    any_,
    bindparam,
    case,
    func,
    null,
    or_,
    update,
)
from sqlalchemy.sql.expression import Grouping

from webapp.db import Tx
from webapp.domain.model import Seat, table_of
from webapp.domain.rows import among_lists, list_for
from webapp.statements import Prepared, Rows

_SEAT = table_of(Seat)


def _numbered(name: str, values: Sequence[Any]) -> dict[str, Any]:
    return {f"{name}_{place}": value for place, value in enumerate(values)}


def _among(name: str, quantity: int) -> ColumnElement[bool]:
    return _SEAT.c.seat_no.in_([bindparam(f"{name}_{place}") for place in range(quantity)])


# The scalar form: (performance_id, seat_no) IN (…) was read as a scan of the hall (81/s, against
# 10,308/s for this one, measured); tests/domain/test_plans.py EXPLAINs it.
_OF_PERFORMANCE = _SEAT.c.performance_id == bindparam("performance")
_SELLABLE = and_(_SEAT.c.ticket_id.is_(None), _SEAT.c.blocked.is_(False))
_FREE_NOW = and_(_SELLABLE, or_(_SEAT.c.hold_id.is_(None), _SEAT.c.held_until <= bindparam("now")))
_OF_PREVIOUS = _SEAT.c.hold_id == bindparam("previous")
_RETURNED = (_SEAT.c.seat_no, _SEAT.c.hold_id, _SEAT.c.displaced_hold_id)
_NEW_HOLD = bindparam("hold", type_=_SEAT.c.hold_id.type)
_NEW_UNTIL = bindparam("until", type_=_SEAT.c.held_until.type)


def take(
    tx: Tx, performance_id: int, wanted: Sequence[int], hold_id: uuid.UUID, until: datetime
) -> list[tuple[int, uuid.UUID | None, uuid.UUID | None]]:
    """Give free seats of `wanted` to a hold; return (seat_no, hold now, dead hold before) of each."""
    return tx.fetch(
        _take(len(wanted)),
        performance=performance_id,
        hold=hold_id,
        until=until,
        now=tx.now,
        **_numbered("wanted", wanted),
    )


@cache
def _take(quantity: int) -> Prepared:
    return Prepared(
        update(_SEAT)
        .where(_OF_PERFORMANCE, _among("wanted", quantity), _FREE_NOW)
        .values(hold_id=_NEW_HOLD, held_until=_NEW_UNTIL, displaced_hold_id=_SEAT.c.hold_id)
        .returning(*_RETURNED)
    )


def take_together(
    tx: Tx, performance_id: int, wanted: Sequence[tuple[int, uuid.UUID, datetime]]
) -> list[tuple[int, uuid.UUID | None, uuid.UUID | None]]:
    """Like `take` for several holds at once, on PostgreSQL: (seat_no, hold, until) of each seat."""
    seat_nos, hold_ids, untils = zip(*sorted(wanted), strict=True)
    return tx.fetch(
        _TAKE_TOGETHER,
        performance=performance_id,
        now=tx.now,
        seat_no=list(seat_nos),
        hold_id=list(hold_ids),
        held_until=list(untils),
    )


def _of_each(column: Column[Any]) -> ColumnElement[Any]:
    """Pick from a list what its place in the list of seat numbers says."""
    return Grouping(list_for(column))[_PLACE]


# By the same key as `_take`. A join with the list was planned as a walk over the whole hall.
_SEAT_NOS = list_for(_SEAT.c.seat_no)
_PLACE = func.array_position(_SEAT_NOS, _SEAT.c.seat_no)
_TAKE_TOGETHER = Prepared(
    update(_SEAT)
    .where(_OF_PERFORMANCE, _SEAT.c.seat_no == any_(_SEAT_NOS), _FREE_NOW)
    .values(
        hold_id=_of_each(_SEAT.c.hold_id),
        held_until=_of_each(_SEAT.c.held_until),
        displaced_hold_id=_SEAT.c.hold_id,
    )
    .returning(*_RETURNED)
)


def swap(
    tx: Tx,
    performance_id: int,
    wanted: Sequence[int],
    hold_id: uuid.UUID,
    until: datetime,
    given_back: Sequence[int],
    previous_id: uuid.UUID,
) -> list[tuple[int, uuid.UUID | None, uuid.UUID | None]]:
    """Like `take`, and free what a previous hold has of `given_back` and does not want again.

    One statement over the sorted union: freeing first and taking then would let two customers who swap
    seats wait for each other.
    """
    union = sorted({*wanted, *given_back})
    return tx.fetch(
        _swap(len(wanted), len(union)),
        performance=performance_id,
        hold=hold_id,
        until=until,
        now=tx.now,
        previous=previous_id,
        **_numbered("wanted", wanted),
        **_numbered("union", union),
    )


@cache
def _swap(quantity: int, quantity_of_both: int) -> Prepared:
    wanted = _among("wanted", quantity)
    return Prepared(
        update(_SEAT)
        .where(
            _OF_PERFORMANCE,
            _among("union", quantity_of_both),
            or_(_OF_PREVIOUS, and_(wanted, _FREE_NOW)),
        )
        .values(
            hold_id=case((wanted, _NEW_HOLD), else_=null()),
            held_until=case((wanted, _NEW_UNTIL), else_=null()),
            displaced_hold_id=_SEAT.c.hold_id,
        )
        .returning(*_RETURNED)
    )


def free(
    tx: Tx, performance_id: int, seat_nos: Sequence[int], hold_ids: Sequence[uuid.UUID]
) -> list[int]:
    """Free those of `seat_nos` that one of `hold_ids` still has; return them, sorted."""
    return _seats_of(
        tx.fetch(_FREE, performance=performance_id, seat_no=seat_nos, hold_id=hold_ids)
    )


def _freeing(owner: Column[Any], *forgotten: Column[Any]) -> Prepared:
    """Make ready what frees those seats of a list that one of a list of owners still has."""

    def make(of_seats: ColumnElement[bool], of_owners: ColumnElement[bool]) -> Update:
        return (
            update(_SEAT)
            .where(_OF_PERFORMANCE, of_seats, of_owners)
            .values({column: null() for column in (owner, *forgotten)})
            .returning(_SEAT.c.seat_no)
        )

    return among_lists(make, _SEAT.c.seat_no, owner)


_FREE = _freeing(_SEAT.c.hold_id, _SEAT.c.held_until)
_TAKE_BACK = _freeing(_SEAT.c.ticket_id)


def _seats_of(rows: Rows) -> list[int]:
    return sorted(seat_no for (seat_no,) in rows)


def sell(tx: Tx, performance_id: int, hold_id: uuid.UUID, tickets: Mapping[int, uuid.UUID]) -> int:
    """Turn a hold's seats to sold, each to its ticket; return how many the hold still had."""
    parameters = _numbered("seat", list(tickets)) | _numbered("ticket", list(tickets.values()))
    sold = tx.fetch(_sell(len(tickets)), performance=performance_id, hold=hold_id, **parameters)
    return len(sold)


@cache
def _sell(quantity: int) -> Prepared:
    ticket_of = case(
        *(
            (
                _SEAT.c.seat_no == bindparam(f"seat_{place}"),
                bindparam(f"ticket_{place}", type_=_SEAT.c.ticket_id.type),
            )
            for place in range(quantity)
        )
    )
    return Prepared(
        update(_SEAT)
        .where(_OF_PERFORMANCE, _among("seat", quantity), _SEAT.c.hold_id == bindparam("hold"))
        .values(ticket_id=ticket_of, hold_id=null(), held_until=null(), displaced_hold_id=null())
        .returning(_SEAT.c.seat_no)
    )


def sell_together(
    tx: Tx, performance_id: int, sold: Sequence[tuple[int, uuid.UUID, uuid.UUID]]
) -> set[uuid.UUID]:
    """Like `sell` for several holds at once, on PostgreSQL: (seat_no, hold, ticket) of each seat.

    Returns the tickets whose seats their holds still had.
    """
    seat_nos, hold_ids, ticket_ids = zip(*sorted(sold), strict=True)
    rows = tx.fetch(
        _SELL_TOGETHER,
        performance=performance_id,
        seat_no=list(seat_nos),
        hold_id=list(hold_ids),
        ticket_id=list(ticket_ids),
    )
    return {ticket_id for (ticket_id,) in rows}


_SELL_TOGETHER = Prepared(
    update(_SEAT)
    .where(
        _OF_PERFORMANCE,
        _SEAT.c.seat_no == any_(_SEAT_NOS),
        _SEAT.c.hold_id == _of_each(_SEAT.c.hold_id),
    )
    .values(
        ticket_id=_of_each(_SEAT.c.ticket_id),
        hold_id=null(),
        held_until=null(),
        displaced_hold_id=null(),
    )
    .returning(_SEAT.c.ticket_id)
)


def take_back(
    tx: Tx, performance_id: int, seat_nos: Sequence[int], ticket_ids: Sequence[uuid.UUID]
) -> list[int]:
    """Free those of `seat_nos` that were sold as one of `ticket_ids`; return them, sorted."""
    return _seats_of(
        tx.fetch(_TAKE_BACK, performance=performance_id, seat_no=seat_nos, ticket_id=ticket_ids)
    )
