"""What this process counts of its own work, for Prometheus.

Promises:

1. What happened to holds, bookings and the queue is counted from journal entries, after their commit:
   what was rolled back was never counted, what was lost on the way to the customer was.
2. Pools say how many connections are out; how long somebody waited for one, they say in `engines`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from prometheus_client import Counter, Gauge
from sqlalchemy import Engine, event

from webapp.db import Entry

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
