"""Staying: what customers do inside, once it is their turn, up to paying.

Promises:

1. An ended stay opens nothing: `enter` checks the entry's row in the transaction that uses it.
2. Nothing moves the last end of a stay's holds, whatever its customer does.
3. What customers do inside (coming in, holding, staying) changes columns that are in no index.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, case, func, or_, select

from webapp.db import Tx, seconds
from webapp.domain import catalogue, waiting_room
from webapp.domain.catalogue import Rules
from webapp.domain.errors import NotAdmitted, Refusal, SaleClosed, SalePaused
from webapp.domain.model import Performance, QueueEntry, table_of
from webapp.domain.rows import Change, given_of
from webapp.domain.waiting_room import GOES_ON, Pass

_ENTRY = table_of(QueueEntry)


@dataclass(frozen=True, slots=True)
class Admission:
    """The permission to hold seats, checked in the transaction that uses it. Only `enter` makes one."""

    entry_id: uuid.UUID
    account_id: uuid.UUID
    holds_end_at: datetime
    rules: Rules


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
    *GOES_ON,
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
    waiting_room.note_place(tx, admitted, first_used_from)
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


def see_together(tx: Tx, stays: Mapping[uuid.UUID, uuid.UUID], after_seconds: float) -> None:
    """Do `see` for several stays, from entry to account."""
    entry_ids, account_ids = zip(*sorted(stays.items()), strict=True)
    known = tx.now - seconds(after_seconds)
    _SEE.run_together(tx, id=list(entry_ids), account_id=list(account_ids), now=tx.now, known=known)


_SEE = Change(
    _ENTRY,
    {"seen_at": bindparam("now")},
    *GOES_ON,
    _ENTRY.c.admitted_at.is_not(None),
    or_(_ENTRY.c.seen_at.is_(None), _ENTRY.c.seen_at <= bindparam("known")),
    given=["account_id"],
    missing=NotAdmitted,
)
