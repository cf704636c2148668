"""How the booking path goes in this process, reported to whoever sets the house's pace.

Promises:

1. Latency is what the customer waits for, with the time in which the request waited for a thread.
2. Counting costs a request nothing that it would notice; reporting is done beside the requests, by a thread
   that only a real server starts (`gunicorn.conf.py`). The same thread tells what had to be run again.
3. A report that cannot be stored is dropped: a house whose database is away admits nobody anyway.
"""

import logging
import threading
import time
import uuid

from flask import Flask, Response, g, request
from sqlalchemy import QueuePool
from sqlalchemy.exc import SQLAlchemyError

from webapp.db import Busy, Database, OutcomeUnknown
from webapp.domain import pace
from webapp.domain.pace import Health
from webapp.metrics import RetryTeller
from webapp.web.lateness import Lateness

log = logging.getLogger("jari.health")

REPORT_SECONDS = 2.0
KEPT_MAX = 10_000  # latencies between two reports
BOOKING = frozenset({"api.place_hold", "api.pay", "seats.hold", "checkout.pay"})


class Meter:
    """What happened on the booking path since the last report."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._process_id = uuid.uuid4()
        self._retries = RetryTeller(db)
        self._mutex = threading.Lock()
        self._milliseconds: list[float] = []
        self._errors = 0
        self._pool_full = 0

    def note(self, seconds: float, failed: bool) -> None:
        """Count one request; `failed` is a 5xx, whatever was to blame."""
        pool = self._db.writer.pool
        full = isinstance(pool, QueuePool) and pool.checkedout() >= pool.size()
        with self._mutex:
            if len(self._milliseconds) < KEPT_MAX:
                self._milliseconds.append(seconds * 1000)
                self._errors += failed
                self._pool_full += full

    def take(self) -> Health:
        """Return what was counted, and begin anew."""
        with self._mutex:
            taken, errors, full = sorted(self._milliseconds), self._errors, self._pool_full
            self._milliseconds, self._errors, self._pool_full = [], 0, 0
        p95 = taken[int(len(taken) * 0.95)] if taken else 0.0
        return Health(len(taken), errors, full, round(p95))

    def report(self) -> None:
        """Store what was counted, if anything was."""
        health = self.take()
        if health.requests:
            self._db.transact(pace.report, self._process_id, health)

    def start(self) -> None:
        """Report again and again, in a thread that ends with the process."""
        threading.Thread(target=self._report_for_ever, name="health", daemon=True).start()

    def _report_for_ever(self) -> None:
        while True:
            time.sleep(REPORT_SECONDS)
            self._report_or_drop()
            self._retries.tell_or_wait()

    def _report_or_drop(self) -> None:
        try:
            self.report()
        except (Busy, OutcomeUnknown, SQLAlchemyError) as error:
            log.warning("health was not reported: %s", type(error).__name__)


def install(app: Flask, meter: Meter, lateness: Lateness) -> None:
    """Count every request of the booking path."""

    @app.after_request
    def _count(response: Response) -> Response:
        if request.endpoint in BOOKING:
            seconds = lateness.seconds + time.perf_counter() - g.started
            meter.note(seconds, response.status_code >= 500)
        return response
