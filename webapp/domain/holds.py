"""Holds: some seats, one customer, until `expires_at`.

Promises:

1. All the seats asked for, or none, and the refusal names the taken ones.
2. Expiry is a fact of the clock. An expired hold is no hold, swept or not: the next customer takes it.
3. One live hold per customer and performance; asking again replaces it. Its seats count as free for
   the new one. The replaced hold never comes back.
4. Neither replacing nor giving up and asking again moves the stay's last deadline.
5. Every statement is keyed: nothing here scans, counts or writes a row that buyers share.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import bindparam, case, null, select, update

from webapp.db import Tx, seconds
from webapp.domain import seats, staying
from webapp.domain.catalogue import Rules
from webapp.domain.errors import (
    AlreadyBooked,
    HoldExpired,
    HoldReplaced,
    NotFound,
    SeatsTaken,
    TooManySeats,
)
from webapp.domain.model import Allowance, Booking, Hold, table_of
from webapp.domain.rows import UPSERT, Change, among_lists, given_of
from webapp.domain.staying import Admission
from webapp.domain.waiting_room import Pass
from webapp.statements import Prepared, inserting

_HOLD = table_of(Hold)
_ALLOWANCE = table_of(Allowance)


@dataclass(frozen=True, slots=True)
class Offer:
    """A seat and the price its buyer was shown."""

    seat_no: int
    label: str
    price_minor: int


@dataclass(frozen=True, slots=True)
class Held:
    """A hold as its row says."""

    id: uuid.UUID
    performance_id: int
    account_id: uuid.UUID
    entry_id: uuid.UUID
    seats: list[tuple[int, int]]  # (seat_no, price_minor), sorted by seat_no
    total_minor: int
    currency: str
    placed_at: datetime
    expires_at: datetime
    ended_at: datetime | None = None
    end_reason: str | None = None
    replaced_by: uuid.UUID | None = None

    @property
    def seat_nos(self) -> list[int]:
        """The held seats' numbers, sorted."""
        return [seat_no for seat_no, _ in self.seats]


def _held(row: Any) -> Held:
    """Make a Held of a row; JSON has no tuples."""
    held = Held(*row)
    return replace(held, seats=[(seat_no, price_minor) for seat_no, price_minor in held.seats])


# -- placing ------------------------------------------------------------------------------------


def enter_and_place(
    tx: Tx, admitted: Pass, rules: Rules, hold_id: uuid.UUID, offers: Sequence[Offer]
) -> Held:
    """Hold `offers` for the customer of a stay; raise the refusals of `staying.enter` and `place`."""
    return place(tx, staying.enter(tx, admitted, rules), hold_id, offers)


def place(tx: Tx, admission: Admission, hold_id: uuid.UUID, offers: Sequence[Offer]) -> Held:
    """Hold `offers` (sorted by seat_no) for the admitted customer.

    Raises TooManySeats, SeatsTaken (all or nothing).
    """
    previous_id = _claim_allowance(tx, admission, hold_id, len(offers))
    previous = _close(tx, previous_id, "replaced", hold_id) if previous_id else None
    held = make_held(tx, admission, hold_id, offers)
    displaced, freed = _take(tx, held, previous, offers)
    insert_all(tx, [held])
    record_placed(tx, held, admission, displaced, previous, freed)
    return held


def make_held(tx: Tx, admission: Admission, hold_id: uuid.UUID, offers: Sequence[Offer]) -> Held:
    """Say what a hold that is placed now will be."""
    rules = admission.rules
    return Held(
        hold_id,
        rules.id,
        admission.account_id,
        admission.entry_id,
        [(offer.seat_no, offer.price_minor) for offer in offers],
        sum(offer.price_minor for offer in offers),
        rules.currency,
        tx.now,
        min(tx.now + seconds(rules.hold_seconds), admission.holds_end_at),
    )


def record_placed(
    tx: Tx,
    held: Held,
    admission: Admission,
    displaced: dict[str, str],
    previous: Held | None = None,
    freed: Sequence[int] = (),
) -> None:
    """Write a hold that was placed into the journal."""
    tx.record(
        "hold_placed",
        performance_id=held.performance_id,
        hold_id=str(held.id),
        entry_id=str(held.entry_id),
        account_id=str(held.account_id),
        seats=held.seats,
        total_minor=held.total_minor,
        currency=held.currency,
        expires_at=held.expires_at.isoformat(),
        holds_end_at=admission.holds_end_at.isoformat(),
        displaced=displaced,
        replaced=str(previous.id) if previous else None,
        replaced_reason=previous.end_reason if previous else None,
        freed=freed,
    )


def insert_all(tx: Tx, helds: Sequence[Held]) -> None:
    """Store new holds in one statement."""
    parameters = {
        f"{name}_{place}": getattr(held, name)
        for place, held in enumerate(helds)
        for name in Held.__slots__
    }
    tx.fetch(_insert(len(helds)), **parameters)


@cache
def _insert(quantity: int) -> Prepared:
    rows = ({name: f"{name}_{place}" for name in Held.__slots__} for place in range(quantity))
    return Prepared(inserting(_HOLD, *rows))


def _claim_allowance(
    tx: Tx, admission: Admission, hold_id: uuid.UUID, quantity: int
) -> uuid.UUID | None:
    """Make this the customer's one hold; return the hold it replaces, live or long dead.

    One upsert keeps the limit: bought seats count for ever, dead holds never. Raises TooManySeats.
    """
    seats_max = admission.rules.seats_max
    if quantity > seats_max:
        raise TooManySeats(seats_max=seats_max)
    row = tx.fetch_one(
        _CLAIM,
        performance_id=admission.rules.id,
        account_id=admission.account_id,
        hold_id=hold_id,
        seats_held=quantity,
        seats_max=seats_max,
    )
    if row is None:
        raise TooManySeats(seats_max=seats_max)
    previous: uuid.UUID | None = row[1]
    return previous


def claiming(statement: Any) -> Any:
    """Complete an INSERT of allowances to the upsert that keeps the limit, whoever's and however many."""
    return statement.on_conflict_do_update(
        index_elements=[_ALLOWANCE.c.performance_id, _ALLOWANCE.c.account_id],
        set_={
            "previous_hold_id": _ALLOWANCE.c.hold_id,
            "hold_id": statement.excluded.hold_id,
            "seats_held": statement.excluded.seats_held,
        },
        where=_ALLOWANCE.c.seats_bought + statement.excluded.seats_held <= bindparam("seats_max"),
    ).returning(_ALLOWANCE.c.hold_id, _ALLOWANCE.c.previous_hold_id)


CLAIMED = ("performance_id", "account_id", "hold_id", "seats_held")
_CLAIM = Prepared(
    {
        dialect: claiming(upsert(_ALLOWANCE).values({n: bindparam(n) for n in CLAIMED}))
        for dialect, upsert in UPSERT.items()
    }
)


def _take(
    tx: Tx, held: Held, previous: Held | None, offers: Sequence[Offer]
) -> tuple[dict[str, str], list[int]]:
    """Turn the wanted seats to `held` and the replaced hold's other seats to free.

    Returns whom the seats were taken from (seat_no → dead hold) and which seats became free. Raises
    SeatsTaken.
    """
    new = (tx, held.performance_id, held.seat_nos, held.id, held.expires_at)
    rows = seats.swap(*new, previous.seat_nos, previous.id) if previous else seats.take(*new)
    taken = {seat_no: before for seat_no, now_of, before in rows if now_of == held.id}
    if len(taken) < len(offers):
        raise SeatsTaken(seats=[offer.label for offer in offers if offer.seat_no not in taken])
    mine = (None, previous.id if previous else None)
    displaced = {
        str(seat_no): str(before) for seat_no, before in taken.items() if before not in mine
    }
    return displaced, sorted(seat_no for seat_no, now_of, _ in rows if now_of is None)


# -- looking ------------------------------------------------------------------------------------

_FIND = select(*(_HOLD.c[name] for name in Held.__slots__))
_FIND_BY_ID = Prepared(_FIND.where(_HOLD.c.id == bindparam("hold")))


def get_own(tx: Tx, hold_id: uuid.UUID, account_id: uuid.UUID) -> Held:
    """Return a customer's live hold; raise NotFound (also for somebody else's), or how it ended."""
    row = tx.fetch_one(_FIND_BY_ID, hold=hold_id)
    held = _held(row) if row else None
    if held is None or held.account_id != account_id:
        raise NotFound()
    if held.end_reason == "paid":
        reference = tx.execute(
            select(Booking.reference).where(Booking.hold_id == hold_id)
        ).scalar_one()
        raise AlreadyBooked(reference=reference)
    if held.end_reason == "replaced":
        raise HoldReplaced(hold_id=held.replaced_by)
    if held.ended_at is not None or held.expires_at <= tx.now:
        raise HoldExpired()
    return held


def find_live(tx: Tx, performance_id: int, account_id: uuid.UUID) -> Held | None:
    """Return the customer's live hold at a performance: what a reload or another tab comes back to.

    By two keys, not by a join: of two small tables PostgreSQL would read one from end to end.
    """
    current = select(Allowance.hold_id).where(
        Allowance.performance_id == performance_id, Allowance.account_id == account_id
    )
    row = tx.execute(
        _FIND.where(
            Hold.id == current.scalar_subquery(),
            Hold.ended_at.is_(None),
            Hold.expires_at > tx.now,
        )
    ).one_or_none()
    return _held(row) if row else None


def find_expired(tx: Tx, limit: int) -> list[uuid.UUID]:
    """Return holds past their time that were not swept yet, paid ones too, longest dead first."""
    return list(
        tx.execute(
            select(Hold.id)
            .where(Hold.swept_at.is_(None), Hold.expires_at <= tx.now)
            .order_by(Hold.expires_at)
            .limit(limit)
        ).scalars()
    )


# -- ending -------------------------------------------------------------------------------------


def release(tx: Tx, hold_id: uuid.UUID, account_id: uuid.UUID, reason: str = "released") -> None:
    """Give a live hold's seats back. Raises NotFound, or how it ended already."""
    held = get_own(tx, hold_id, account_id)
    closed = _close(tx, hold_id, reason, None)
    if closed is None:
        raise HoldExpired()
    tx.record(
        "hold_released",
        performance_id=held.performance_id,
        hold_id=str(hold_id),
        reason=closed.end_reason,
        seats=seats.free(tx, held.performance_id, held.seat_nos, [hold_id]),
    )


def expire(tx: Tx, hold_ids: Sequence[uuid.UUID]) -> int:
    """Close the expired ones among `hold_ids` and free their seats; return how many were closed.

    Small batches, keyed and re-checked: a payment that was a moment earlier has ended its hold, a
    customer who took the seats since has his own hold on them, and neither is touched.
    """
    closed = tx.fetch(_EXPIRE, id=sorted(hold_ids), now=tx.now)
    if others := sorted(set(hold_ids) - {hold_id for hold_id, _, _ in closed}):
        tx.fetch(_MARK_SWEPT, id=others, now=tx.now)
    freed: dict[str, list[int]] = {}
    for sale in sorted({performance_id for _, performance_id, _ in closed}):
        ended = {hold_id: held for hold_id, its_sale, held in closed if its_sale == sale}
        seat_nos = sorted(seat_no for held in ended.values() for seat_no, _ in held)
        freed[str(sale)] = seats.free(tx, sale, seat_nos, list(ended))
    if closed:
        tx.record("holds_expired", holds=[str(hold_id) for hold_id, _, _ in closed], freed=freed)
    return len(closed)


_LATE = _HOLD.c.expires_at <= bindparam("now")
_EXPIRE = among_lists(
    lambda among_these: (
        update(_HOLD)
        .where(among_these, _HOLD.c.ended_at.is_(None), _LATE)
        .values(ended_at=bindparam("now"), end_reason="expired", swept_at=bindparam("now"))
        .returning(_HOLD.c.id, _HOLD.c.performance_id, _HOLD.c.seats)
    ),
    _HOLD.c.id,
)
_MARK_SWEPT = among_lists(
    lambda among_these: (
        update(_HOLD)
        # Not `swept_at IS NULL`: it would let PostgreSQL read the index of all that is unswept.
        .where(among_these, _HOLD.c.ended_at.is_not(None))
        .values(swept_at=bindparam("now"))
        .returning(_HOLD.c.id)
    ),
    _HOLD.c.id,
)


def _close(tx: Tx, hold_id: uuid.UUID, reason: str, replaced_by: uuid.UUID | None) -> Held | None:
    """End a hold that has not ended; one past its time ends as expired, whatever the reason given."""
    row = _CLOSE.run(tx, id=hold_id, now=tx.now, reason=reason, successor=replaced_by)
    return _held(row) if row else None


def close_paid(tx: Tx, hold_id: uuid.UUID, admitted: Pass) -> Held | None:
    """End a customer's hold as paid if it lives at `tx.now` and is of that stay; return it."""
    who = {"account_id": admitted.account_id, "entry_id": admitted.entry_id}
    row = _CLOSE_PAID.run(tx, id=hold_id, now=tx.now, **who)
    return _held(row) if row else None


def close_paid_together(tx: Tx, passes: Mapping[uuid.UUID, Pass]) -> dict[uuid.UUID, Held]:
    """Do `close_paid` for several holds, on PostgreSQL; return those that lived, by id."""
    ordered = sorted(passes.items())
    rows = _CLOSE_PAID.run_together(
        tx,
        id=[hold_id for hold_id, _ in ordered],
        account_id=[admitted.account_id for _, admitted in ordered],
        entry_id=[admitted.entry_id for _, admitted in ordered],
        now=tx.now,
    )
    return {held.id: held for held in map(_held, rows)}


_REASON = bindparam("reason", type_=_HOLD.c.end_reason.type)
_SUCCESSOR = bindparam("successor", type_=_HOLD.c.replaced_by.type)
_CLOSE = Change(
    _HOLD,
    {
        "ended_at": bindparam("now"),
        "end_reason": case((_LATE, "expired"), else_=_REASON),
        "replaced_by": case((_LATE, null()), else_=_SUCCESSOR),
    },
    _HOLD.c.ended_at.is_(None),
    returning=Held.__slots__,
)
_CLOSE_PAID = Change(
    _HOLD,
    {"ended_at": bindparam("now"), "end_reason": "paid"},
    _HOLD.c.account_id == given_of(_HOLD.c.account_id),
    _HOLD.c.entry_id == given_of(_HOLD.c.entry_id),
    _HOLD.c.ended_at.is_(None),
    _HOLD.c.expires_at > bindparam("now"),
    given=["account_id", "entry_id"],
    returning=Held.__slots__,
)


def leave(tx: Tx, performance_id: int, account_id: uuid.UUID, entry_id: uuid.UUID) -> None:
    """Give up the live hold, if any, of a customer whose stay `entry_id` was just ended."""
    held = find_live(tx, performance_id, account_id)
    if held is not None and held.entry_id == entry_id:
        release(tx, held.id, account_id, "left")
