"""The waiting room: one stay per customer at a time, numbers that never change, exact admission.

Promises:

1. Joining is one blind INSERT; the schema says who was already in. It reads nothing the usher writes.
2. Numbers are contiguous, follow arrival, and are handed out in batches by the usher alone.
3. At most `capacity` people are active (admitted, not ended, access not expired; counted, never stored)
   and at most `rate_per_minute` have `admitted_at` within any 60 seconds. The usher's transaction holds
   the lease row, so nobody else admits meanwhile, and others can only make places free.
4. An ended stay opens nothing: `enter` checks the entry's row in the transaction that uses it.
"""

import uuid
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, bindparam, case, func, insert, or_, select, update

from webapp.db import Tx, make, seconds
from webapp.domain import catalogue
from webapp.domain.catalogue import Rules
from webapp.domain.errors import NotAdmitted, Refusal, SaleClosed, SalePaused, TurnOver
from webapp.domain.model import (
    Allowance,
    Hold,
    Performance,
    QueueEntry,
    RoomProgress,
    table_of,
)
from webapp.domain.rows import Change

NUMBERED_PER_BATCH = 2_000
RATE_WINDOW_SECONDS = 60

_ENTRY = table_of(QueueEntry)


@dataclass(frozen=True, slots=True)
class Arrival:
    """Somebody who wants in. `session_seconds` is set where the room is off: admitted at once."""

    entry_id: uuid.UUID
    performance_id: int
    account_id: uuid.UUID
    session_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Stay:
    """One stay in the room, as its row says."""

    entry_id: uuid.UUID
    performance_id: int
    account_id: uuid.UUID
    number: int | None
    joined_at: datetime
    admitted_at: datetime | None
    access_expires_at: datetime | None
    holds_end_at: datetime | None
    ended_at: datetime | None
    end_reason: str | None

    def inside(self, now: datetime) -> bool:
        """Whether its customer may choose seats now."""
        return (
            self.ended_at is None
            and self.access_expires_at is not None
            and now < self.access_expires_at
        )


@dataclass(frozen=True, slots=True)
class Pass:
    """What an access token proves: whose stay, in which room. Not yet that the stay still counts."""

    entry_id: uuid.UUID
    performance_id: int
    account_id: uuid.UUID


@dataclass(frozen=True, slots=True)
class Admission:
    """The permission to hold seats, checked in the transaction that uses it. Only `enter` makes one."""

    entry_id: uuid.UUID
    account_id: uuid.UUID
    holds_end_at: datetime
    rules: Rules


@dataclass(frozen=True, slots=True)
class Room:
    """A room at one instant: enough to tell any numbered token where it stands, without a query.

    `front` is the lowest number still waiting (one past the last number when nobody is); `gone` are the
    numbers from `front` on whose stays ended while waiting, sorted. A million waiting cost no more than
    ten; `gone` grows with those who left only.
    """

    performance_id: int
    front: int
    gone: tuple[int, ...]
    admitted_last_minute: int

    def ahead(self, number: int) -> int:
        """How many wait before `number`."""
        return max(0, number - self.front - bisect_left(self.gone, number))

    def is_waiting(self, number: int) -> bool:
        """Whether `number` still waits; False asks for its row."""
        place = bisect_left(self.gone, number)
        left = place < len(self.gone) and self.gone[place] == number
        return number >= self.front and not left


# -- joining and leaving ------------------------------------------------------------------------


def join(tx: Tx, arrival: Arrival) -> tuple[Stay, bool]:
    """Begin a stay; return it and True. The schema refuses a second one (`uq_queue_entry_stay`)."""
    inside = arrival.session_seconds is not None
    stay = Stay(
        arrival.entry_id,
        arrival.performance_id,
        arrival.account_id,
        number=None,
        joined_at=tx.now,
        admitted_at=tx.now if inside else None,
        access_expires_at=tx.now + seconds(arrival.session_seconds or 0) if inside else None,
        holds_end_at=None,
        ended_at=None,
        end_reason=None,
    )
    tx.execute(
        insert(_ENTRY),
        {
            "id": stay.entry_id,
            "performance_id": stay.performance_id,
            "account_id": stay.account_id,
            "joined_at": stay.joined_at,
            "admitted_at": stay.admitted_at,
            "access_expires_at": stay.access_expires_at,
        },
    )
    tx.record(
        "queue_joined",
        performance_id=stay.performance_id,
        entry_id=str(stay.entry_id),
        account_id=str(stay.account_id),
        access_expires_at=stay.access_expires_at and stay.access_expires_at.isoformat(),
    )
    return stay, True


def rejoin(tx: Tx, arrival: Arrival) -> tuple[Stay, bool]:
    """Answer a join that met a stay: that stay and False, or a new one if it is over by the clock.

    A stay whose access has expired goes on while its hold lives, or a customer who reloads the page
    while paying would lose the token that pays.
    """
    listed = _find_listed(tx, arrival.performance_id, arrival.account_id)
    if listed is None:
        return join(tx, arrival)
    waits = listed.ended_at is None and listed.access_expires_at is None
    if waits or listed.inside(tx.now) or (listed.ended_at is None and _hold_lives(tx, listed)):
        return listed, False
    _retire(tx, arrival.performance_id, QueueEntry.id == listed.entry_id)
    return join(tx, arrival)


_STAY = select(*(_ENTRY.c[name] for name in ("id", *Stay.__slots__[1:])))


def find_stay(tx: Tx, performance_id: int, account_id: uuid.UUID) -> Stay | None:
    """Return a customer's stay that has not ended."""
    listed = _find_listed(tx, performance_id, account_id)
    return listed if listed is not None and listed.ended_at is None else None


def _find_listed(tx: Tx, performance_id: int, account_id: uuid.UUID) -> Stay | None:
    """Return the stay that keeps its customer from joining anew; it may have ended by payment."""
    row = tx.execute(
        _STAY.where(
            QueueEntry.performance_id == performance_id,
            QueueEntry.account_id == account_id,
            QueueEntry.retired_at.is_(None),
        )
    ).one_or_none()
    return make(Stay, row) if row else None


def get_stay(tx: Tx, entry_id: uuid.UUID) -> Stay:
    """Return a stay that goes on; raise TurnOver with the reason."""
    row = tx.execute(_STAY.where(QueueEntry.id == entry_id)).one_or_none()
    if row is None:
        raise TurnOver(reason="expired")
    stay = make(Stay, row)
    if stay.ended_at is not None:
        raise TurnOver(reason=stay.end_reason)
    if stay.access_expires_at is not None and not stay.inside(tx.now) and not _hold_lives(tx, stay):
        raise TurnOver(reason="expired")
    return stay


def _hold_lives(tx: Tx, stay: Stay) -> bool:
    if stay.holds_end_at is None or stay.holds_end_at <= tx.now:
        return False
    current = select(Allowance.hold_id).where(
        Allowance.performance_id == stay.performance_id, Allowance.account_id == stay.account_id
    )
    lives = select(Hold.id).where(
        Hold.id == current.scalar_subquery(), Hold.ended_at.is_(None), Hold.expires_at > tx.now
    )
    return tx.execute(lives).one_or_none() is not None


def end(tx: Tx, entry_id: uuid.UUID, account_id: uuid.UUID, reason: str) -> bool:
    """End a stay, first of all locks; return False if it had ended.

    A paid stay stays on the lists until the usher's next round: taking it off would write to index
    pages that all the others who pay are reading.
    """
    change = _END_PAID if reason == "paid" else _END
    return change.run(tx, id=entry_id, account=account_id, now=tx.now, reason=reason) is not None


_ENDED: dict[str, Any] = {"ended_at": bindparam("now"), "end_reason": bindparam("reason")}
_GOES_ON = (_ENTRY.c.account_id == bindparam("account"), _ENTRY.c.ended_at.is_(None))
_END_PAID = Change(_ENTRY, _ENDED, *_GOES_ON, missing=NotAdmitted)
_END = Change(_ENTRY, _ENDED | {"retired_at": bindparam("now")}, *_GOES_ON, missing=NotAdmitted)


# -- being inside -------------------------------------------------------------------------------

_FIRST_END = bindparam("first_end", type_=_ENTRY.c.holds_end_at.type)
_SALE_GOES_ON = select(Performance.id).where(
    Performance.id == bindparam("performance"),
    Performance.sales_close_at > bindparam("now"),
    Performance.paused_at.is_(None),
)
_ENTER = Change(
    _ENTRY,
    {
        "holds_end_at": case(
            (_ENTRY.c.holds_end_at.is_not(None), _ENTRY.c.holds_end_at),
            (_ENTRY.c.access_expires_at > _FIRST_END, _ENTRY.c.access_expires_at),
            else_=_FIRST_END,
        )
    },
    *_GOES_ON,
    _ENTRY.c.performance_id == bindparam("performance"),
    _ENTRY.c.access_expires_at > bindparam("now"),
    _SALE_GOES_ON.exists(),
    returning=["holds_end_at"],
    missing=NotAdmitted,
)


def enter(tx: Tx, admitted: Pass, rules: Rules) -> Admission:
    """Check the stay's row and whether the sale goes on; return the permission to hold seats.

    `rules` may be a moment old: what must not be late, that the sale was paused or has closed, is
    read here. The first hold of a stay fixes `holds_end_at`: the later of the access's end and that
    hold's lifetime. Nothing moves it after. Raises NotAdmitted, SaleClosed, SalePaused.
    """
    row = _ENTER.run(
        tx,
        id=admitted.entry_id,
        account=admitted.account_id,
        performance=admitted.performance_id,
        now=tx.now,
        first_end=tx.now + seconds(rules.hold_seconds),
    )
    if row is None:
        raise _why_not_entered(tx, admitted)
    [holds_end_at] = row
    return Admission(admitted.entry_id, admitted.account_id, holds_end_at, rules)


def _why_not_entered(tx: Tx, admitted: Pass) -> Refusal:
    rules = catalogue.get_rules(tx, admitted.performance_id)
    if tx.now >= rules.sales_close_at:
        return SaleClosed()
    return SalePaused() if rules.paused_at is not None else NotAdmitted()


# -- the usher ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Needs:
    """What a room has for the usher to do."""

    newcomers: bool
    waiting: bool
    over: bool


def look_for_work(tx: Tx, performance_id: int) -> Needs:
    """See whether a room needs the usher, by the partial indexes, without writing anything."""
    here = select(QueueEntry.id).where(
        QueueEntry.performance_id == performance_id, QueueEntry.retired_at.is_(None)
    )
    row = tx.execute(
        select(
            here.where(QueueEntry.number.is_(None), QueueEntry.admitted_at.is_(None)).exists(),
            here.where(QueueEntry.number.is_not(None), QueueEntry.admitted_at.is_(None)).exists(),
            here.where(QueueEntry.admitted_at.is_not(None), _is_over(tx)).exists(),
        )
    ).one()
    return make(Needs, row)


def number_newcomers(tx: Tx, performance_id: int) -> int:
    """Number up to a batch of newcomers in the order of arrival; return how many."""
    newcomer = (
        select(
            QueueEntry.id,
            func.row_number().over(order_by=(QueueEntry.joined_at, QueueEntry.id)).label("place"),
        )
        .where(
            QueueEntry.performance_id == performance_id,
            QueueEntry.number.is_(None),
            QueueEntry.admitted_at.is_(None),
            QueueEntry.retired_at.is_(None),
        )
        .order_by(QueueEntry.joined_at, QueueEntry.id)
        .limit(NUMBERED_PER_BATCH)
        .cte("newcomer")
    )
    last = tx.execute(
        select(RoomProgress.last_number).where(RoomProgress.performance_id == performance_id)
    ).scalar_one()
    numbered = tx.execute(
        update(_ENTRY)
        .where(QueueEntry.id == newcomer.c.id)
        .values(number=last + newcomer.c.place)
        .returning(_ENTRY.c.number, _ENTRY.c.id)
    ).all()
    if not numbered:
        return 0
    tx.execute(
        update(RoomProgress)
        .where(RoomProgress.performance_id == performance_id)
        .values(last_number=last + len(numbered))
    )
    tx.record(
        "queue_numbered",
        performance_id=performance_id,
        first=last + 1,
        entries=[str(row.id) for row in sorted(numbered, key=lambda row: row.number)],
    )
    return len(numbered)


def admit(tx: Tx, rules: Rules) -> int:
    """Admit as many of the first in line as capacity and rate allow now; return how many."""
    if rules.capacity is None:
        return 0
    active = tx.execute(
        select(func.count()).where(
            QueueEntry.performance_id == rules.id,
            QueueEntry.admitted_at.is_not(None),
            QueueEntry.retired_at.is_(None),
            QueueEntry.ended_at.is_(None),
            QueueEntry.access_expires_at > tx.now,
        )
    ).scalar_one()
    recent = count_admitted_lately(tx, rules.id)
    places = min(rules.capacity - active, rules.rate_per_minute - recent)
    if places <= 0:
        return 0
    access_expires_at = tx.now + seconds(rules.session_seconds)
    first = (
        select(QueueEntry.id)
        .where(
            QueueEntry.performance_id == rules.id,
            QueueEntry.number.is_not(None),
            QueueEntry.admitted_at.is_(None),
            QueueEntry.retired_at.is_(None),
        )
        .order_by(QueueEntry.number)
        .limit(places)
    )
    entries = list(
        tx.execute(
            update(_ENTRY)
            .where(QueueEntry.id.in_(first))
            .values(admitted_at=tx.now, access_expires_at=access_expires_at)
            .returning(_ENTRY.c.id)
        ).scalars()
    )
    if entries:
        tx.record(
            "queue_admitted",
            performance_id=rules.id,
            entries=[str(entry) for entry in entries],
            access_expires_at=access_expires_at.isoformat(),
        )
    return len(entries)


def count_admitted_lately(tx: Tx, performance_id: int) -> int:
    """Count who was admitted within the last 60 seconds, whatever became of them."""
    return int(
        tx.execute(
            select(func.count()).where(
                QueueEntry.performance_id == performance_id,
                QueueEntry.admitted_at > tx.now - seconds(RATE_WINDOW_SECONDS),
            )
        ).scalar_one()
    )


def retire_over(tx: Tx, performance_id: int) -> int:
    """Take the stays that are over off the lists; return how many the clock had ended.

    This only tidies: `enter`, `rejoin` and `get_stay` judge by the row and the clock.
    """
    return _retire(tx, performance_id, _is_over(tx))


def _is_over(tx: Tx) -> ColumnElement[bool]:
    """Ended (by payment), or past its access and past any hold it may still have."""
    last = func.coalesce(QueueEntry.holds_end_at, QueueEntry.access_expires_at)
    return or_(QueueEntry.ended_at.is_not(None), last <= tx.now)


def _retire(tx: Tx, performance_id: int, which: ColumnElement[bool]) -> int:
    listed = (
        QueueEntry.performance_id == performance_id,
        QueueEntry.admitted_at.is_not(None),
        QueueEntry.retired_at.is_(None),
        which,
    )
    tx.execute(
        update(_ENTRY).where(*listed, QueueEntry.ended_at.is_not(None)).values(retired_at=tx.now)
    )
    expired = list(
        tx.execute(
            update(_ENTRY)
            .where(*listed)
            .values(ended_at=tx.now, end_reason="expired", retired_at=tx.now)
            .returning(_ENTRY.c.id)
        ).scalars()
    )
    if expired:
        tx.record(
            "queue_retired",
            performance_id=performance_id,
            entries=[str(entry) for entry in expired],
            reason="expired",
        )
    return len(expired)


# -- looking on ---------------------------------------------------------------------------------


def look(tx: Tx, performance_id: int) -> Room:
    """Read a room's state for everybody who polls it."""
    waiting = (
        QueueEntry.performance_id == performance_id,
        QueueEntry.admitted_at.is_(None),
    )
    front = tx.execute(
        select(func.min(QueueEntry.number)).where(
            *waiting, QueueEntry.number.is_not(None), QueueEntry.retired_at.is_(None)
        )
    ).scalar()
    if front is None:
        last = tx.execute(
            select(RoomProgress.last_number).where(RoomProgress.performance_id == performance_id)
        ).scalar()
        front = (last or 0) + 1
    gone = tx.execute(
        select(QueueEntry.number)
        .where(*waiting, QueueEntry.number >= front, QueueEntry.retired_at.is_not(None))
        .order_by(QueueEntry.number)
    ).scalars()
    return Room(performance_id, front, tuple(gone), count_admitted_lately(tx, performance_id))


def count_people(tx: Tx, performance_ids: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Count (waiting, active) per performance, for the organiser and the metrics."""
    waiting = func.sum(case((QueueEntry.admitted_at.is_(None), 1), else_=0)).label("waiting")
    active = func.sum(case((QueueEntry.access_expires_at > tx.now, 1), else_=0)).label("active")
    rows = tx.execute(
        select(QueueEntry.performance_id, waiting, active)
        .where(
            QueueEntry.performance_id.in_(performance_ids),
            QueueEntry.retired_at.is_(None),
            QueueEntry.ended_at.is_(None),
        )
        .group_by(QueueEntry.performance_id)
    )
    return {row.performance_id: (int(row.waiting), int(row.active)) for row in rows}
