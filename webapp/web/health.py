"""How the booking path goes in this process, reported to whoever sets the house's pace.

Promises:

1. Latency is what the customer waits for, with the time in which the request waited for a thread.
2. Counting costs a request nothing that it would notice; reporting is done beside the requests, by a thread
   that only a real server starts (`gunicorn.conf.py`). The same thread tells what had to be run again.
3. A report that cannot be stored is dropped: a house whose database is away admits nobody anyway.
4. A report is of the newest requests that are enough to tell, and of REPORTS_COVERED times REPORT_SECONDS at
   most: few requests are not lost for coming slowly, and where there are many, what is over is soon forgotten.
"""

import logging
import threading
import time
import uuid
from collections import deque
from typing import NamedTuple

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
REPORTS_COVERED = 5  # with REPORT_SECONDS: 10 s
KEPT_MAX = 10_000  # latencies between two reports
BOOKING = frozenset({"api.place_hold", "api.pay", "seats.hold", "checkout.pay"})


class Seen(NamedTuple):
    """One request, and what was wrong with it."""

    milliseconds: float
    failed: bool
    pool_full: bool


class Meter:
    """What happened on the booking path lately."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._process_id = uuid.uuid4()
        self._retries = RetryTeller(db)
        self._mutex = threading.Lock()
        self._seen: list[Seen] = []  # since the last report
        self._before: deque[list[Seen]] = deque(maxlen=REPORTS_COVERED)  # newest first
        self._told = False  # something that nobody has taken back

    def note(self, seconds: float, failed: bool) -> None:
        """Count one request; `failed` is a 5xx, whatever was to blame."""
        pool = self._db.writer.pool
        full = isinstance(pool, QueuePool) and pool.checkedout() >= pool.size()
        with self._mutex:
            if len(self._seen) < KEPT_MAX:
                self._seen.append(Seen(seconds * 1000, failed, full))

    def take(self) -> Health:
        """Return how it went lately, until now; the p95 is that of all requests together."""
        with self._mutex:
            self._before.appendleft(self._seen)
            self._seen = []
        taken: list[Seen] = []
        for seen in self._before:
            if len(taken) >= pace.REQUESTS_MIN:
                break
            taken += seen
        ranked = sorted(one.milliseconds for one in taken)
        return Health(
            requests=len(taken),
            errors=sum(one.failed for one in taken),
            pool_full=sum(one.pool_full for one in taken),
            p95_milliseconds=round(ranked[int(len(ranked) * 0.95)]) if ranked else 0,
        )

    def report(self) -> None:
        """Store how it went lately. Silence is told once: an old report would count for longer than it is true."""
        health = self.take()
        if health.requests or self._told:
            self._db.transact(pace.report, self._process_id, health)
            self._told = health.requests > 0

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
