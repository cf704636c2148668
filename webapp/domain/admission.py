"""What the usher does in a room: numbers newcomers, admits the first in line, ends turns that are over.

Promises:

1. Numbers are contiguous, follow arrival (or the lottery), never change, and are handed out in batches
   by the usher alone.
2. At most `capacity` people are active (admitted, not ended, access not expired; counted, never stored)
   and at most `rate_per_minute` have `admitted_at` within any 60 seconds, both times the house's pace. The
   usher's transaction holds the lease row, so nobody else admits meanwhile, and others can only make
   places free. It reads the rules it keeps in the same transaction. Guests count as active, and not
   against rate and pace.
3. Nobody inside is sent away by a lower limit. A turn ends by the clock, by its owner, when the organiser
   revokes it, when nobody comes to take it (`no_show`), or when nothing is done with it (`idle`).
4. Who may have a live hold is never idle: a hold is a payment that may be under way.

Every function here runs in a transaction that has confirmed the usher's lease (`jobs.usher`).
"""

import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, delete, func, or_, select, update

from webapp.db import Tx, seconds
from webapp.domain import catalogue, pace, rooms
from webapp.domain.catalogue import Rules
from webapp.domain.model import Guest, QueueEntry, RoomProgress, table_of
from webapp.domain.rooms import Settings
from webapp.domain.rows import Change, given_of

NUMBERED_PER_BATCH = 2_000
ADMITTED_PER_ROUND = 2_000  # where the room is off, or nearly so
RATE_WINDOW_SECONDS = 60

_ENTRY = table_of(QueueEntry)

_LISTED = and_(QueueEntry.retired_at.is_(None), QueueEntry.ended_at.is_(None))
_UNNUMBERED = and_(QueueEntry.number.is_(None), QueueEntry.admitted_at.is_(None), _LISTED)
_WAITING = and_(QueueEntry.number.is_not(None), QueueEntry.admitted_at.is_(None), _LISTED)
_ENDED = and_(
    QueueEntry.admitted_at.is_not(None),
    QueueEntry.retired_at.is_(None),
    QueueEntry.ended_at.is_not(None),
)
_INSIDE = and_(QueueEntry.admitted_at.is_not(None), _LISTED)

# Each row by its key: an UPDATE from a list, or of whom a SELECT finds, is planned as a join, and of a
# list that was short when it was analysed PostgreSQL then reads the whole index.
_NUMBER = Change(
    _ENTRY,
    {"number": given_of(_ENTRY.c.number)},
    _ENTRY.c.number.is_(None),
    given=["number"],
)
_ADMIT = Change(
    _ENTRY,
    {
        "admitted_at": bindparam("now"),
        "access_expires_at": bindparam("access_expires_at"),
        "invited_at": bindparam("invited_at"),
    },
    QueueEntry.admitted_at.is_(None),
    _LISTED,
)


@dataclass(frozen=True, slots=True)
class Needs:
    """What a room has for the usher to do."""

    newcomers: bool
    waiting: bool
    guests: bool
    ended: bool
    over: dict[str, bool]  # by the reason for which turns end


def look_for_work(tx: Tx, rules: Rules) -> Needs:
    """See whether a room needs the usher, by the partial indexes, without writing anything."""
    here = select(QueueEntry.id).where(QueueEntry.performance_id == rules.id)
    over = _over(tx, rules, rooms.get_settings(tx, rules.id))
    found = tx.execute(
        select(
            here.where(_UNNUMBERED).exists(),
            here.where(_WAITING).exists(),
            _waiting_guests(rules.id).exists(),
            here.where(_ENDED).exists(),
            *(here.where(_INSIDE, which).exists() for which in over.values()),
        )
    ).one()
    newcomers, waiting, guests, ended, *ends = tuple[bool, ...](found)
    return Needs(newcomers, waiting, guests, ended, dict(zip(over, ends, strict=True)))


# -- numbers ------------------------------------------------------------------------------------


def number_newcomers(tx: Tx, performance_id: int) -> int:
    """Number up to a batch of newcomers in the order of arrival; return how many."""
    newcomers = (
        select(QueueEntry.id)
        .where(QueueEntry.performance_id == performance_id, _UNNUMBERED)
        .order_by(QueueEntry.joined_at, QueueEntry.id)
        .limit(NUMBERED_PER_BATCH)
    )
    entries = tx.execute(newcomers).scalars().all()
    return number_in_order(tx, performance_id, get_last_number(tx, performance_id), entries)


def get_last_number(tx: Tx, performance_id: int) -> int:
    """Read the last number that was handed out in a room."""
    last = select(RoomProgress.last_number).where(RoomProgress.performance_id == performance_id)
    return int(tx.execute(last).scalar_one())


def number_in_order(
    tx: Tx, performance_id: int, last_number: int, entries: Sequence[uuid.UUID]
) -> int:
    """Give `entries` the numbers after `last_number`, in one statement; return how many."""
    if not entries:
        return 0
    numbers = range(last_number + 1, last_number + 1 + len(entries))
    if len(_NUMBER.run_together(tx, id=entries, number=numbers)) < len(entries):
        raise RuntimeError("who has a number already would leave a gap")
    tx.execute(
        update(RoomProgress)
        .where(
            RoomProgress.performance_id == performance_id, RoomProgress.last_number == last_number
        )
        .values(last_number=last_number + len(entries))
    )
    tx.record(
        "queue_numbered",
        performance_id=performance_id,
        first=last_number + 1,
        entries=[str(entry) for entry in entries],
    )
    return len(entries)


# -- admission ----------------------------------------------------------------------------------


def admit(tx: Tx, performance_id: int) -> int:
    """Admit guests, then the first in line, as capacity, rate and pace allow now; return how many."""
    rules = catalogue.get_rules(tx, performance_id)
    if rules.status(tx.now, sold_out=False) != "open":
        return 0
    if rules.capacity is None:
        guests = _admit_guests(tx, rules, ADMITTED_PER_ROUND)
        places = ADMITTED_PER_ROUND - guests
    else:
        active = count_active(tx, performance_id)
        if active >= rules.capacity:
            return 0
        guests = _admit_guests(tx, rules, rules.capacity - active)
        percent = pace.get(tx).percent
        places = min(
            math.ceil(rules.capacity * percent / 100) - active - guests,
            rules.rate_per_minute * percent // 100 - count_admitted_lately(tx, performance_id),
        )
    if places <= 0:
        return guests
    first = (
        select(QueueEntry.id)
        .where(QueueEntry.performance_id == performance_id, _WAITING)
        .order_by(QueueEntry.number)
        .limit(places)
    )
    count, facts = _let_in(tx, rules, first, invited_at=None)
    if count:
        tx.record("queue_admitted", **facts)
    return guests + count


def count_active(tx: Tx, performance_id: int) -> int:
    """Count who is inside now, by the clock."""
    active = select(func.count()).where(
        QueueEntry.performance_id == performance_id,
        _INSIDE,
        QueueEntry.access_expires_at > tx.now,
    )
    return int(tx.execute(active).scalar_one())


def count_admitted_lately(tx: Tx, performance_id: int) -> int:
    """Count who was admitted by the rate within the last 60 seconds, whatever became of them."""
    return int(
        tx.execute(
            select(func.count()).where(
                QueueEntry.performance_id == performance_id,
                QueueEntry.admitted_at > tx.now - seconds(RATE_WINDOW_SECONDS),
                QueueEntry.invited_at.is_(None),
            )
        ).scalar_one()
    )


def _waiting_guests(performance_id: int) -> Select[uuid.UUID]:
    """Select the entries of guests who wait, in the order of their invitations.

    One look-up for each guest. As a join PostgreSQL read all who wait, 9 ms a round with 15,000 (measured): of a table
    that is small and new it expects hundreds of rows.
    """
    entry = (
        select(QueueEntry.id)
        .where(
            QueueEntry.performance_id == performance_id,
            QueueEntry.account_id == Guest.account_id,
            QueueEntry.admitted_at.is_(None),
            _LISTED,
        )
        .correlate(Guest)
        .scalar_subquery()
    )
    guests = (
        select(entry.label("entry_id"), Guest.added_at, Guest.account_id)
        .where(Guest.performance_id == performance_id)
        .subquery()
    )
    return (
        select(guests.c.entry_id)
        .where(guests.c.entry_id.is_not(None))
        .order_by(guests.c.added_at, guests.c.account_id)
    )


def _admit_guests(tx: Tx, rules: Rules, free: int) -> int:
    """Admit those whom the organiser wants inside; each invitation is good for once."""
    invited = _waiting_guests(rules.id).limit(free)
    count, facts = _let_in(tx, rules, invited, invited_at=tx.now)
    if not count:
        return 0
    tx.record("guests_admitted", **facts)
    inside = select(QueueEntry.account_id).where(
        QueueEntry.performance_id == rules.id, _INSIDE, QueueEntry.invited_at == tx.now
    )
    tx.execute(delete(Guest).where(Guest.performance_id == rules.id, Guest.account_id.in_(inside)))
    return count


def _let_in(
    tx: Tx, rules: Rules, which: Select[uuid.UUID], invited_at: datetime | None
) -> tuple[int, dict[str, Any]]:
    """Admit whom `which` selects; return how many, and the facts for the journal."""
    entries = tx.execute(which).scalars().all()
    if not entries:
        return 0, {}
    access_expires_at = tx.now + seconds(rules.session_seconds)
    admitted = _ADMIT.run_together(
        tx, id=entries, now=tx.now, access_expires_at=access_expires_at, invited_at=invited_at
    )
    return len(admitted), {
        "performance_id": rules.id,
        "entries": [str(entry) for (entry,) in admitted],
        "access_expires_at": access_expires_at.isoformat(),
    }


# -- turns that are over ------------------------------------------------------------------------


def retire(tx: Tx, rules: Rules, reason: str) -> int:
    """End the turns that are over for `reason` (expired, no_show, idle); return how many.

    For `expired` this only tidies: `enter`, `rejoin` and `get_stay` judge by the row and the clock.
    """
    which = _over(tx, rules, rooms.get_settings(tx, rules.id))[reason]
    ended = tx.execute(
        update(_ENTRY)
        .where(QueueEntry.performance_id == rules.id, _INSIDE, which)
        .values(ended_at=tx.now, end_reason=reason, retired_at=tx.now)
        .returning(_ENTRY.c.id)
    ).scalars()
    entries = [str(entry) for entry in ended]
    if entries:
        tx.record("queue_retired", performance_id=rules.id, entries=entries, reason=reason, by=None)
    return len(entries)


def tidy(tx: Tx, performance_id: int) -> int:
    """Take the stays that ended by payment off the lists; return how many. It changes nothing for anybody."""
    listed = update(_ENTRY).where(QueueEntry.performance_id == performance_id, _ENDED)
    return len(tx.execute(listed.values(retired_at=tx.now).returning(_ENTRY.c.id)).all())


def _over(tx: Tx, rules: Rules, room: Settings) -> dict[str, ColumnElement[bool]]:
    """Say when a turn is over: by the clock (holds included), unclaimed, or left lying."""
    last = func.coalesce(QueueEntry.holds_end_at, QueueEntry.access_expires_at)
    over: dict[str, ColumnElement[bool]] = {
        "expired": last <= tx.now,
        "no_show": and_(
            QueueEntry.seen_at.is_(None),
            QueueEntry.admitted_at <= tx.now - seconds(room.arrival_seconds),
        ),
    }
    if room.idle_seconds is not None:
        # Placing a hold is being seen, so a hold that may live was placed within its lifetime.
        held = tx.now - seconds(max(room.idle_seconds, rules.hold_seconds))
        over["idle"] = or_(
            and_(
                QueueEntry.holds_end_at.is_(None),
                QueueEntry.seen_at <= tx.now - seconds(room.idle_seconds),
            ),
            and_(QueueEntry.holds_end_at.is_not(None), QueueEntry.seen_at <= held),
        )
    return over
