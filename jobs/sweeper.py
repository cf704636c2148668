"""The sweeper: gives the seats of expired holds back to the map, and forgets answers past their day.

It only tidies, so it gives way to those who buy. It finds expired holds in a read and closes them in small
keyed batches: a SERIALIZABLE sweep that scans failed 74 of 89 times under load (measured). After each it rests:
without, 50,000 at once took what two cores had left, and buying took 2 to 3.7 times as long (measured,
when a hold took three times the work).
"""

import random
import time
import uuid
from collections.abc import Sequence

from webapp.db import Database, Tx
from webapp.domain import accounts, holds, idempotency, leases, retries

FOUND_MAX = 2_000  # in a round: whoever stops the scheduler waits for the rest of one
BATCH = 100  # half the work for each hold than with 20, in transactions of 5 ms (measured)
REST = 2.0  # times as long as the batch before took,
REST_MAX_SECONDS = 1.0  # which the lease outlives, however long that was
TIDY_SHARE = 1 / 600  # of all rounds: about every ten minutes


def run(db: Database, fence: int) -> int:
    """Close holds that have expired, longest dead first, FOUND_MAX at most; return how many. Raises LeaseLost."""
    closed = 0
    found = db.read(holds.find_expired, FOUND_MAX)
    for start in range(0, len(found), BATCH):
        began = time.monotonic()
        closed += db.transact(_expire, fence, found[start : start + BATCH])
        if start + BATCH < len(found):
            time.sleep(min(REST * (time.monotonic() - began), REST_MAX_SECONDS))
    db.transact(_forget, fence)
    if random.random() < TIDY_SHARE:
        _tidy(db, fence)
    return closed


def _tidy(db: Database, fence: int) -> None:
    """Forget attempts and retries of long ago.

    Attempts are in no order of time, so they are looked for rarely.
    """
    if keys := db.read(accounts.find_stale_attempts, FOUND_MAX):
        db.transact(_forget_attempts, fence, keys)
    db.transact(_forget_retries, fence)


def _forget_attempts(tx: Tx, fence: int, keys: Sequence[str]) -> int:
    leases.confirm(tx, "sweeper", fence)
    return accounts.forget_stale_attempts(tx, keys)


def _forget_retries(tx: Tx, fence: int) -> int:
    leases.confirm(tx, "sweeper", fence)
    return retries.forget(tx)


def _expire(tx: Tx, fence: int, hold_ids: Sequence[uuid.UUID]) -> int:
    leases.confirm(tx, "sweeper", fence)
    return holds.expire(tx, hold_ids)


def _forget(tx: Tx, fence: int) -> int:
    leases.confirm(tx, "sweeper", fence)
    return idempotency.forget_expired(tx)
