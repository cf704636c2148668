"""How often transactions were run again, minute by minute: what every process tells of itself.

Promises:

1. Each process writes rows of its own; nobody waits for anybody to tell.
2. A row says how often in its minute, not how much to add: told twice it is the same.
3. What is older than KEPT_SECONDS is forgotten.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Delete, delete, func, select

from webapp.db import Tx, make, seconds
from webapp.domain.model import RetryCount, table_of
from webapp.domain.rows import UPSERT

KEPT_SECONDS = 86_400.0
MINUTE_SECONDS = 60.0

_RETRY = table_of(RetryCount)

# The SQLSTATE (SQLite: error name; a constraint's name), the function that was run again, which attempt.
Cause = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a function's attempt of this number failed for this reason."""

    code: str
    function: str
    attempt: int
    times: int


def tell(tx: Tx, process_id: uuid.UUID, minute: datetime, counted: Mapping[Cause, int]) -> None:
    """Store how often there were retries in a process within a minute, over what it said before."""
    statement = UPSERT[tx.connection.dialect.name](_RETRY)
    tx.execute(
        statement.on_conflict_do_update(
            index_elements=list(_RETRY.primary_key.columns),
            set_={"times": statement.excluded.times},
        ),
        [
            {
                "minute": minute,
                "process_id": process_id,
                "code": code,
                "function": function,
                "attempt": attempt,
                "times": times,
            }
            for (code, function, attempt), times in sorted(counted.items())
        ],
    )


def lately(tx: Tx, within_seconds: float) -> list[Retries]:
    """Return the retries of all processes within so many seconds and the rest of their first minute."""
    cause = RetryCount.code, RetryCount.function, RetryCount.attempt
    times = func.sum(RetryCount.times)
    rows = tx.execute(
        select(*cause, times)
        .where(RetryCount.minute > tx.now - seconds(within_seconds + MINUTE_SECONDS))
        .group_by(*cause)
        .order_by(times.desc(), *cause)
    )
    return [make(Retries, row) for row in rows]


def forget(tx: Tx) -> int:
    """Delete what is too old to be asked for; return how many rows."""
    old: Delete = delete(_RETRY).where(_RETRY.c.minute < tx.now - seconds(KEPT_SECONDS))
    return tx.execute(old).rowcount
