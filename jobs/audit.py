"""The audit job: `flask verify` every few minutes, as numbers that an alert can watch.

Promises:

1. It only reads, in one snapshot; what it finds it says, and it repairs nothing.
2. One process audits for all: its lease outlives the pause between two runs.
3. An audit that failed to run leaves `jari_audit_finished_at_seconds` behind: watch that it moves.
"""

import logging
import time

from prometheus_client import Gauge

from webapp.db import Database, Tx
from webapp.domain import audit, leases

INTERVAL_SECONDS = 300.0
LEASE_SECONDS = 2 * INTERVAL_SECONDS

DIFFERENCES = Gauge(
    "jari_audit_differences",
    "Differences that the last audit named, by check; anything but 0 is an incident.",
    ["check"],
    multiprocess_mode="mostrecent",
)
CHECKED = Gauge(
    "jari_audit_checked",
    "Things that the last audit looked at, by check.",
    ["check"],
    multiprocess_mode="mostrecent",
)
DURATION = Gauge(
    "jari_audit_duration_seconds", "How long the last audit took.", multiprocess_mode="mostrecent"
)
FINISHED = Gauge(
    "jari_audit_finished_at_seconds",
    "When the last audit ended, by the database's clock.",
    multiprocess_mode="mostrecent",
)

log = logging.getLogger("jari.audit")


def run(db: Database, fence: int) -> int:
    """Audit everything once; return how many differences were named. Raises LeaseLost."""
    db.transact(_confirm, fence)
    started = time.monotonic()
    report = db.read(audit.run, audit.SHOWN)
    for result in report.results:
        DIFFERENCES.labels(result.name).set(len(result.differences))
        CHECKED.labels(result.name).set(result.checked)
        for difference in result.differences:
            log.error("%s: %s", result.name, difference)
    DURATION.set(time.monotonic() - started)
    FINISHED.set(db.clock.now().timestamp())
    return sum(len(result.differences) for result in report.results)


def _confirm(tx: Tx, fence: int) -> None:
    leases.confirm(tx, "audit", fence, LEASE_SECONDS)
