"""The waiting room: one stay per customer at a time, from joining to its end.

Promises:

1. Joining is one blind INSERT; the schema says who was already in. It reads nothing the usher writes.
2. An ended stay opens nothing: `enter` checks the entry's row in the transaction that uses it.
3. Nothing moves the last end of a stay's holds, whatever its customer does.
4. What customers do inside (coming in, holding, staying) changes columns that are in no index.

Who is numbered and admitted, and who loses a turn, is `admission`'s matter; what those who wait are told,
`outlook`'s.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, case, func, insert, or_, select

from webapp.db import Tx, make, seconds
from webapp.domain import catalogue
from webapp.domain.catalogue import Rules
from webapp.domain.errors import NotAdmitted, Refusal, SaleClosed, SalePaused, TurnOver
from webapp.domain.model import Allowance, Hold, Performance, QueueEntry, table_of
from webapp.domain.rows import Change, given_of

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
    seen_at: datetime | None

    def inside(self, now: datetime) -> bool:
        """Whether its customer may choose seats now."""
        return (
            self.ended_at is None
            and self.access_expires_at is not None
            and now < self.access_expires_at
        )


@dataclass(frozen=True, slots=True)
class Pass:
    """What an access token proves: whose stay, in which room. Not yet that the stay still counts.

    `used_from` tells the places apart from which it is used: a digest, never an address.
    """

    entry_id: uuid.UUID
    performance_id: int
    account_id: uuid.UUID
    used_from: str | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """The permission to hold seats, checked in the transaction that uses it. Only `enter` makes one."""

    entry_id: uuid.UUID
    account_id: uuid.UUID
    holds_end_at: datetime
    rules: Rules


# -- joining and leaving ------------------------------------------------------------------------


def join(tx: Tx, arrival: Arrival) -> tuple[Stay, bool]:
    """Begin a stay; return it and True. The schema refuses a second one (`uq_queue_entry_stay`)."""
    stay = _begin(tx, arrival)
    tx.execute(insert(_ENTRY), _row(stay))
    _record_joined(tx, stay)
    return stay, True


def rejoin(tx: Tx, arrival: Arrival) -> tuple[Stay, bool]:
    """Answer a join that met a stay: that stay and False, or a new one if it is over by the clock.

    The stay is looked up, not met by an upsert: a hundred tabs of one customer would change one row a
    hundred times, and some of them gave up (measured). A stay whose access has expired goes on while its
    hold lives, or a customer who reloads the page while paying would lose the token that pays.
    """
    row = tx.execute(
        _STAY.where(
            QueueEntry.performance_id == arrival.performance_id,
            QueueEntry.account_id == arrival.account_id,
            QueueEntry.retired_at.is_(None),
        )
    ).one_or_none()
    if row is None:
        return join(tx, arrival)
    listed = make(Stay, row)
    waits = listed.ended_at is None and listed.access_expires_at is None
    if waits or listed.inside(tx.now) or (listed.ended_at is None and _hold_lives(tx, listed)):
        return listed, False
    if listed.ended_at is not None:
        _UNLIST.run(tx, id=listed.entry_id, now=tx.now)
    elif end(tx, listed.entry_id, listed.account_id, "expired"):
        tx.record(
            "queue_retired",
            performance_id=listed.performance_id,
            entries=[str(listed.entry_id)],
            reason="expired",
        )
    return join(tx, arrival)


def _begin(tx: Tx, arrival: Arrival) -> Stay:
    inside = arrival.session_seconds is not None
    return Stay(
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
        seen_at=tx.now if inside else None,
    )


def _row(stay: Stay) -> dict[str, Any]:
    return {
        "id": stay.entry_id,
        "performance_id": stay.performance_id,
        "account_id": stay.account_id,
        "joined_at": stay.joined_at,
        "admitted_at": stay.admitted_at,
        "access_expires_at": stay.access_expires_at,
        "seen_at": stay.seen_at,
    }


def _record_joined(tx: Tx, stay: Stay) -> None:
    tx.record(
        "queue_joined",
        performance_id=stay.performance_id,
        entry_id=str(stay.entry_id),
        account_id=str(stay.account_id),
        access_expires_at=stay.access_expires_at and stay.access_expires_at.isoformat(),
    )


_COLUMNS = tuple(_ENTRY.c[name] for name in ("id", *Stay.__slots__[1:]))
_STAY = select(*_COLUMNS)


def find_stay(tx: Tx, performance_id: int, account_id: uuid.UUID) -> Stay | None:
    """Return a customer's stay that has not ended."""
    row = tx.execute(
        _STAY.where(
            QueueEntry.performance_id == performance_id,
            QueueEntry.account_id == account_id,
            QueueEntry.retired_at.is_(None),
            QueueEntry.ended_at.is_(None),
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
    """End a stay, first of all locks, and free its place at once; return False if it had ended."""
    return _END.run(tx, id=entry_id, account_id=account_id, now=tx.now, reason=reason) is not None


def end_paid(tx: Tx, admitted: Pass) -> bool:
    """End the stay of somebody who pays; return False if it had ended.

    Its place is free at once. It stays on the lists until the usher's next round: taking it off writes to
    every index of the table, and this way a payment's update touches none of them (`test_plans`).
    """
    who = {"id": admitted.entry_id, "account_id": admitted.account_id}
    ended = _END_PAID.run(tx, **who, now=tx.now)
    if ended is not None:
        note_place(tx, admitted, ended[0])
    return ended is not None


def note_place(tx: Tx, admitted: Pass, first_used_from: str | None) -> None:
    """Write down that an access is used from elsewhere than it was used first."""
    if admitted.used_from not in (None, first_used_from):
        tx.record(
            "access_shared",
            performance_id=admitted.performance_id,
            entry_id=str(admitted.entry_id),
            account_id=str(admitted.account_id),
        )


_GOES_ON = (_ENTRY.c.account_id == given_of(_ENTRY.c.account_id), _ENTRY.c.ended_at.is_(None))
_END = Change(
    _ENTRY,
    {
        "ended_at": bindparam("now"),
        "end_reason": bindparam("reason"),
        "retired_at": bindparam("now"),
    },
    *_GOES_ON,
    given=["account_id"],
    missing=NotAdmitted,
)
_END_PAID = Change(
    _ENTRY,
    {"ended_at": bindparam("now"), "end_reason": "paid"},
    *_GOES_ON,
    given=["account_id"],
    returning=["used_from"],
    missing=NotAdmitted,
)
_UNLIST = Change(
    _ENTRY,
    {"retired_at": bindparam("now")},
    _ENTRY.c.ended_at.is_not(None),
    _ENTRY.c.retired_at.is_(None),
)


# -- being inside -------------------------------------------------------------------------------

_FIRST_END = bindparam("first_end", type_=_ENTRY.c.holds_end_at.type)
_SALE_GOES_ON = select(Performance.id).where(
    Performance.id == bindparam("performance"),
    Performance.sales_open_at <= bindparam("now"),
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
        ),
        "seen_at": bindparam("now"),
        "used_from": func.coalesce(_ENTRY.c.used_from, given_of(_ENTRY.c.used_from)),
    },
    *_GOES_ON,
    _ENTRY.c.performance_id == bindparam("performance"),
    _ENTRY.c.access_expires_at > bindparam("now"),
    _SALE_GOES_ON.exists(),
    given=["account_id", "used_from"],
    returning=["id", "holds_end_at", "used_from"],
    missing=NotAdmitted,
)


def enter(tx: Tx, admitted: Pass, rules: Rules) -> Admission:
    """Check the stay's row and whether the sale goes on; return the permission to hold seats.

    `rules` may be a moment old: what must not be late, that the sale has not opened, was paused or has
    closed, is read here. The first hold of a stay fixes `holds_end_at`: the later of the access's end and
    that hold's lifetime. Nothing moves it after. A use from elsewhere than the first is written down.
    Raises NotAdmitted, SaleClosed, SalePaused.
    """
    row = _ENTER.run(
        tx,
        id=admitted.entry_id,
        account_id=admitted.account_id,
        used_from=admitted.used_from,
        performance=admitted.performance_id,
        now=tx.now,
        first_end=tx.now + seconds(rules.hold_seconds),
    )
    if row is None:
        raise _why_not_entered(tx, admitted)
    _, holds_end_at, first_used_from = row
    note_place(tx, admitted, first_used_from)
    return Admission(admitted.entry_id, admitted.account_id, holds_end_at, rules)


def enter_together(
    tx: Tx, passes: Sequence[Pass], rules: Rules
) -> dict[uuid.UUID, tuple[Admission, str | None]]:
    """Do `enter` for several customers of one sale, on PostgreSQL, without recording anything.

    Returns, by stay, the permission of those who may, and from where their access was used first.
    """
    ordered = sorted(passes, key=lambda admitted: admitted.entry_id)
    rows = _ENTER.run_together(
        tx,
        id=[admitted.entry_id for admitted in ordered],
        account_id=[admitted.account_id for admitted in ordered],
        used_from=[admitted.used_from for admitted in ordered],
        performance=rules.id,
        now=tx.now,
        first_end=tx.now + seconds(rules.hold_seconds),
    )
    of = {admitted.entry_id: admitted.account_id for admitted in passes}
    return {
        entry_id: (Admission(entry_id, of[entry_id], holds_end_at, rules), first_used_from)
        for entry_id, holds_end_at, first_used_from in rows
    }


def _why_not_entered(tx: Tx, admitted: Pass) -> Refusal:
    rules = catalogue.get_rules(tx, admitted.performance_id)
    if tx.now >= rules.sales_close_at:
        return SaleClosed()
    return SalePaused() if rules.paused_at is not None else NotAdmitted()


def see(tx: Tx, entry_id: uuid.UUID, account_id: uuid.UUID, after_seconds: float) -> bool:
    """Note that somebody inside has come, or is still there; return False if that was known.

    At most once in `after_seconds`: what is written down for every request would cost as much as one.
    """
    known = tx.now - seconds(after_seconds)
    return _SEE.run(tx, id=entry_id, account_id=account_id, now=tx.now, known=known) is not None


_SEE = Change(
    _ENTRY,
    {"seen_at": bindparam("now")},
    *_GOES_ON,
    _ENTRY.c.admitted_at.is_not(None),
    or_(_ENTRY.c.seen_at.is_(None), _ENTRY.c.seen_at <= bindparam("known")),
    given=["account_id"],
    missing=NotAdmitted,
)
