"""What this process counts of its own work, for Prometheus.

Promises:

1. What happened to holds, bookings and the queue is counted from journal entries, after their commit:
   what was rolled back was never counted, what was lost on the way to the customer was.
2. Pools say how many connections are out; how long somebody waited for one, they say in `engines`.
3. Retries are told to the database too, for `flask locks`, from beside the work: counting costs the work
   nothing more, and what could not be told is told with the next.
"""

import collections
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from prometheus_client import Counter, Gauge
from sqlalchemy import Engine, event
from sqlalchemy.exc import SQLAlchemyError

from webapp.db import Busy, Database, Entry, OutcomeUnknown, new_id
from webapp.domain import retries
from webapp.domain.retries import Cause
from webapp.troubles import RETRIES

log = logging.getLogger("jari.metrics")

HOLDS = Counter("jari_holds_total", "Holds, by what became of them.", ["event"])
BOOKINGS = Counter("jari_bookings_total", "Bookings paid and cancelled.", ["event"])
QUEUE = Counter("jari_queue_total", "Stays in waiting rooms, by what became of them.", ["event"])
CONNECTIONS = Gauge(
    "jari_pool_connections_in_use",
    "Connections that are out of their pool.",
    ["pool"],
    multiprocess_mode="livesum",
)

_COUNTED: dict[str, tuple[Counter, str, Callable[[dict[str, Any]], int]]] = {
    "hold_placed": (HOLDS, "placed", lambda facts: 1),
    "hold_released": (HOLDS, "released", lambda facts: 1),
    "holds_expired": (HOLDS, "expired", lambda facts: len(facts["holds"])),
    "booking_paid": (BOOKINGS, "paid", lambda facts: 1),
    "booking_cancelled": (BOOKINGS, "cancelled", lambda facts: 1),
    "queue_joined": (QUEUE, "joined", lambda facts: 1),
    "queue_admitted": (QUEUE, "admitted", lambda facts: len(facts["entries"])),
    "queue_retired": (QUEUE, "retired", lambda facts: len(facts["entries"])),
    "queue_left": (QUEUE, "left", lambda facts: 1),
}


def count(entries: Sequence[Entry]) -> None:
    """Count what a committed transaction did."""
    for entry in entries:
        if entry.kind in _COUNTED:
            counter, what, quantity = _COUNTED[entry.kind]
            counter.labels(what).inc(quantity(entry.facts))
        if entry.kind == "booking_paid":
            HOLDS.labels("paid").inc()
        elif entry.kind == "hold_placed" and entry.facts["replaced_reason"] == "replaced":
            HOLDS.labels("replaced").inc()


def watch_pool(engine: Engine, name: str) -> None:
    """Let a pool's gauge follow its connections."""
    gauge = CONNECTIONS.labels(name)
    gauge.set(0)
    event.listen(engine, "checkout", lambda *_: gauge.inc())
    event.listen(engine, "checkin", lambda *_: gauge.dec())


class RetryTeller:
    """Tells the database how often this process has run transactions again, minute by minute."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._process_id = new_id()
        self._told = _retries()
        self._minute: datetime | None = None
        self._of_minute: collections.Counter[Cause] = collections.Counter()

    def tell(self) -> None:
        """Store what was counted since the last time, if anything was."""
        counted = _retries()
        fresh = counted - self._told
        if not fresh:
            return
        minute = self._db.clock.now().replace(second=0, microsecond=0)
        before = self._of_minute if minute == self._minute else collections.Counter()
        of_minute = before + fresh
        changed = {cause: of_minute[cause] for cause in fresh}
        self._db.transact(retries.tell, self._process_id, minute, changed)
        self._told, self._minute, self._of_minute = counted, minute, of_minute

    def tell_or_wait(self) -> None:
        """Like `tell`; a database that is away hears it the next time."""
        try:
            self.tell()
        except (Busy, OutcomeUnknown, SQLAlchemyError) as error:
            log.warning("retries were not told: %s", type(error).__name__)


def _retries() -> collections.Counter[Cause]:
    found: collections.Counter[Cause] = collections.Counter()
    for metric in RETRIES.collect():
        for sample in metric.samples:
            if sample.name.endswith("_total"):
                labels = sample.labels
                cause = labels["sqlstate"], labels["function"], int(labels["attempt"])
                found[cause] += int(sample.value)
    return found
