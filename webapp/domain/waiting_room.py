"""The waiting room: one stay per customer at a time, from joining to its end.

Promises:

1. Joining is one blind INSERT; the schema says who was already in. It reads nothing the usher writes.
2. Many who join at the same moment are one INSERT, and each stay and journal entry is as alone.

Who is numbered and admitted, and who loses a turn, is `admission`'s matter; what customers do once they are
admitted, `staying`'s; what those who wait are told, `outlook`'s.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, case, false, insert, select
from sqlalchemy.dialects import postgresql

from webapp.db import Tx, make, seconds
from webapp.domain.errors import NotAdmitted, TurnOver
from webapp.domain.model import Allowance, Hold, QueueEntry, table_of
from webapp.domain.rows import Change, given_of, many
from webapp.statements import Prepared

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


# -- joining and leaving ------------------------------------------------------------------------


def join(tx: Tx, arrival: Arrival) -> tuple[Stay, bool]:
    """Begin a stay; return it and True. The schema refuses a second one (`uq_queue_entry_stay`)."""
    stay = _begin(tx, arrival)
    tx.execute(insert(_ENTRY), _row(stay))
    _record_joined(tx, stay)
    return stay, True


def join_together(tx: Tx, arrivals: Sequence[Arrival]) -> dict[uuid.UUID, Stay]:
    """Do `join` for customers of one room, on PostgreSQL; return their stays by id.

    Who has a stay already is left out: `rejoin` has the words for them. In the order of the accounts, so
    that groups with the same people in them do not lock each other up.
    """
    stays = [_begin(tx, one) for one in sorted(arrivals, key=lambda one: one.account_id)]
    rows = [_row(stay) for stay in stays]
    joined = tx.fetch(_JOIN_TOGETHER, **{name: [row[name] for row in rows] for name in _JOINING})
    new = {entry_id for (entry_id,) in joined}
    for stay in stays:
        if stay.entry_id in new:
            tx.next_one()
            _record_joined(tx, stay)
    return {stay.entry_id: stay for stay in stays if stay.entry_id in new}


def rejoin(tx: Tx, arrival: Arrival) -> tuple[Stay, bool]:
    """Answer a join that met a stay: that stay and False, or a new one if it is over by the clock.

    The stay is looked up, not met by an upsert: a hundred tabs of one customer would change one row a
    hundred times, and some of them gave up (measured). A stay whose access has expired goes on while its
    hold lives, or a customer who reloads the page while paying would lose the token that pays.
    """
    row = tx.execute(
        select(*_COLUMNS, _HOLD_LIVES).where(
            QueueEntry.performance_id == arrival.performance_id,
            QueueEntry.account_id == arrival.account_id,
            QueueEntry.retired_at.is_(None),
        ),
        {"now": tx.now},
    ).one_or_none()
    if row is None:
        return join(tx, arrival)
    listed = make(Stay, row[:-1])
    if _goes_on(listed, row[-1], tx.now):
        return listed, False
    if listed.ended_at is not None:
        _UNLIST.run(tx, id=listed.entry_id, now=tx.now)
    elif end(tx, listed.entry_id, listed.account_id, "expired"):
        tx.record(
            "queue_retired",
            performance_id=listed.performance_id,
            entries=[str(listed.entry_id)],
            reason="expired",
            by=None,
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
_JOINING = (
    "id",
    "performance_id",
    "account_id",
    "joined_at",
    "admitted_at",
    "access_expires_at",
    "seen_at",
)
_JOIN_TOGETHER = Prepared(
    postgresql.insert(_ENTRY)
    .from_select(_JOINING, select(*many(*(_ENTRY.c[name] for name in _JOINING)).c), False)
    .on_conflict_do_nothing()
    .returning(_ENTRY.c.id)
)


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
    """Return a stay that goes on; raise TurnOver with the reason. One statement."""
    [found] = get_stays(tx, [entry_id])
    if isinstance(found, TurnOver):
        raise found
    return found


def get_stays(tx: Tx, entry_ids: Sequence[uuid.UUID]) -> list[Stay | TurnOver]:
    """Return stays that go on, and why the others do not. More than one at once: on PostgreSQL."""
    if len(entry_ids) == 1:
        rows = tx.fetch(_GET_STAY, entry=entry_ids[0], now=tx.now)
    else:
        rows = tx.fetch(_GET_STAYS, id=list(entry_ids), now=tx.now)
    found = {row[0]: _judged(tx, row) for row in rows}
    return [found.get(entry_id) or TurnOver(reason="expired") for entry_id in entry_ids]


def _judged(tx: Tx, row: Sequence[Any]) -> Stay | TurnOver:
    *columns, hold_lives = row
    stay = make(Stay, columns)
    if stay.ended_at is not None:
        return TurnOver(reason=stay.end_reason)
    return stay if _goes_on(stay, hold_lives, tx.now) else TurnOver(reason="expired")


def _goes_on(stay: Stay, hold_lives: bool, now: datetime) -> bool:
    waits = stay.access_expires_at is None
    return stay.ended_at is None and (waits or stay.inside(now) or hold_lives)


# Looked for only where there may be one: each search is something that others' changes conflict with.
_HOLD_LIVES = case(
    (
        _ENTRY.c.holds_end_at > bindparam("now"),
        select(Hold.id)
        .where(
            Hold.id == Allowance.hold_id,
            Allowance.performance_id == _ENTRY.c.performance_id,
            Allowance.account_id == _ENTRY.c.account_id,
            Hold.ended_at.is_(None),
            Hold.expires_at > bindparam("now"),
        )
        .exists(),
    ),
    else_=false(),
)
_KNOWN = many(_ENTRY.c.id)
_GET_STAY = Prepared(select(*_COLUMNS, _HOLD_LIVES).where(_ENTRY.c.id == bindparam("entry")))
_GET_STAYS = Prepared(
    select(*_COLUMNS, _HOLD_LIVES).select_from(_KNOWN).join(_ENTRY, _ENTRY.c.id == _KNOWN.c.id)
)


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
        note_place(tx, admitted, ended[1])
    return ended is not None


def end_paid_together(tx: Tx, passes: Sequence[Pass]) -> dict[uuid.UUID, str | None]:
    """Do `end_paid` for several stays, on PostgreSQL, without recording anything.

    Returns, by stay, from where its access was used first, of those that went on until now.
    """
    ordered = sorted(passes, key=lambda admitted: admitted.entry_id)
    rows = _END_PAID.run_together(
        tx,
        id=[admitted.entry_id for admitted in ordered],
        account_id=[admitted.account_id for admitted in ordered],
        now=tx.now,
    )
    return dict(rows)


def note_place(tx: Tx, admitted: Pass, first_used_from: str | None) -> None:
    """Write down that an access is used from elsewhere than it was used first."""
    if admitted.used_from not in (None, first_used_from):
        tx.record(
            "access_shared",
            performance_id=admitted.performance_id,
            entry_id=str(admitted.entry_id),
            account_id=str(admitted.account_id),
        )


GOES_ON = (_ENTRY.c.account_id == given_of(_ENTRY.c.account_id), _ENTRY.c.ended_at.is_(None))
_END = Change(
    _ENTRY,
    {
        "ended_at": bindparam("now"),
        "end_reason": bindparam("reason"),
        "retired_at": bindparam("now"),
    },
    *GOES_ON,
    given=["account_id"],
    missing=NotAdmitted,
)
_END_PAID = Change(
    _ENTRY,
    {"ended_at": bindparam("now"), "end_reason": "paid"},
    *GOES_ON,
    given=["account_id"],
    returning=["id", "used_from"],
    missing=NotAdmitted,
)
_UNLIST = Change(
    _ENTRY,
    {"retired_at": bindparam("now")},
    _ENTRY.c.ended_at.is_not(None),
    _ENTRY.c.retired_at.is_(None),
)
