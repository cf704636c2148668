"""How fast the house admits, fed by how well booking goes: it slows and stops by itself.

Promises:

1. Each web process reports in a row of its own; nobody waits for anybody to report.
2. Trouble lowers the pace at once: by a fifth again and again while it is bad, to nothing while it is very
   bad. It comes back slowly, a step at a time, and only while nothing is wrong.
3. Every change is in the journal with its reason; the reason is one of REASONS.
4. A house that nobody buys in says nothing and counts as well: an empty queue must not stop admission.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select, update

from webapp.db import Tx, make, seconds
from webapp.domain.model import Pace as PaceRow
from webapp.domain.model import ProcessHealth, table_of
from webapp.domain.rows import UPSERT

REASONS = ("errors", "slow", "pool_full", "recovering")

FRESH_SECONDS = 10.0  # older reports say nothing about now
KEPT_SECONDS = 3_600.0
ADJUST_SECONDS = 5.0  # between two changes, so that the last one can show
REQUESTS_MIN = 10  # of fewer, one failure says too little
STEP_PERCENT = 10  # back from a stop to the full rate in 50 s
LOWEST_PERCENT = 10
# Not halved: who is inside stays for some seconds, so a lower pace shows late, and would be at nothing by then.
SLOWED = 0.8
THE_HOUSE = 1  # the one row: every process sells for every performance

# Beyond the first of two it slows, beyond the second it stops.
ERRORS_SHARE = (0.05, 0.25)
P95_MILLISECONDS = (1_500, 4_000)
POOL_FULL_SHARE = (0.5, 0.95)

_HEALTH = table_of(ProcessHealth)


@dataclass(frozen=True, slots=True)
class Health:
    """How the booking path went in one process lately; in how long, see `webapp.web.health`."""

    requests: int
    errors: int
    pool_full: int
    p95_milliseconds: int


@dataclass(frozen=True, slots=True)
class Pace:
    """The share of every room's rate and capacity that is used, in percent, and why not all of it."""

    percent: int
    reason: str | None
    changed_at: datetime


def report(tx: Tx, process_id: uuid.UUID, health: Health) -> None:
    """Store how it went in a process, over what it said before."""
    told = {name: getattr(health, name) for name in Health.__slots__} | {"at": tx.now}
    tx.execute(
        UPSERT[tx.connection.dialect.name](_HEALTH).on_conflict_do_update(
            index_elements=["process_id"], set_=told
        ),
        told | {"process_id": process_id},
    )


def get(tx: Tx) -> Pace:
    """Read the pace."""
    columns = PaceRow.percent, PaceRow.reason, PaceRow.changed_at
    return make(Pace, tx.execute(select(*columns).where(PaceRow.id == THE_HOUSE)).one())


def judge(tx: Tx) -> Pace | None:
    """Return the pace that should be now, None if it is the present one."""
    present = get(tx)
    if tx.now < present.changed_at + seconds(ADJUST_SECONDS):
        return None
    columns = [_HEALTH.c[name] for name in Health.__slots__]
    rows = tx.execute(
        select(*columns).where(ProcessHealth.at > tx.now - seconds(FRESH_SECONDS))
    ).all()
    percent, reason = next_pace(present.percent, [make(Health, row) for row in rows])
    if (percent, reason) == (present.percent, present.reason):
        return None
    return Pace(percent, reason, tx.now)


def next_pace(percent: int, reports: Sequence[Health]) -> tuple[int, str | None]:
    """Return the percentage and its reason that follow from what the processes say."""
    requests = sum(told.requests for told in reports)
    if requests >= REQUESTS_MIN:
        signs = (
            ("errors", sum(told.errors for told in reports) / requests, ERRORS_SHARE),
            ("slow", max(told.p95_milliseconds for told in reports), P95_MILLISECONDS),
            ("pool_full", sum(told.pool_full for told in reports) / requests, POOL_FULL_SHARE),
        )
        for reason, sign, (_, stop) in signs:
            if sign > stop:
                return 0, reason
        for reason, sign, (slow, _) in signs:
            if sign > slow:
                slowed = int(percent * SLOWED)
                return (slowed if slowed >= LOWEST_PERCENT else 0), reason
    percent = min(100, percent + STEP_PERCENT)
    return percent, None if percent == 100 else "recovering"


def adjust(tx: Tx) -> int:
    """Set the pace that should be now; return 1 if it changed. Old reports go."""
    wanted = judge(tx)
    if wanted is None:
        return 0
    tx.execute(
        update(PaceRow)
        .where(PaceRow.id == THE_HOUSE)
        .values(percent=wanted.percent, reason=wanted.reason, changed_at=wanted.changed_at)
    )
    tx.execute(delete(_HEALTH).where(_HEALTH.c.at <= tx.now - seconds(KEPT_SECONDS)))
    tx.record("pace_changed", percent=wanted.percent, reason=wanted.reason)
    return 1
