"""For the operator's machines: does the process live, can it serve, what has it done.

Promises:

1. `/healthz` asks nobody: a database that is down is no reason to restart a process.
2. `/readyz` answers within READY_SECONDS whatever the database does, and asks it once at a time.
"""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime

from flask import Blueprint, Response, current_app
from flask.blueprints import BlueprintSetupState
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    generate_latest,
    multiprocess,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from webapp.db import Busy, Database, Tx
from webapp.domain import pace, watching
from webapp.domain.model import JobLease
from webapp.web.guards import public
from webapp.web.house import house

blueprint = Blueprint("operations", __name__)

READY_SECONDS = 1.5  # a load balancer asks every few seconds and counts a late answer as none


@blueprint.get("/healthz")
@public
def healthz() -> Response:
    """Say that the process lives."""
    return Response("ok\n", mimetype="text/plain")


class Readiness:
    """Asks the database in a thread of its own, so that whoever wants to know need not wait with it.

    A database that is gone fails after several tries, one that is frozen never answers; a question that
    is still open when the next one comes is shared.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="readiness")
        self._asked: Future[None] | None = None

    def ask(self, db: Database) -> None:
        """Return if the database answers in time with this version's tables; raise what it raises."""
        with self._mutex:
            if self._asked is None or self._asked.done():
                self._asked = self._thread.submit(db.lookup, _touch)
            asked = self._asked
        asked.result(READY_SECONDS)


@blueprint.record_once
def _install(state: BlueprintSetupState) -> None:
    state.app.extensions["jari.readiness"] = Readiness()


@blueprint.get("/readyz")
@public
def readyz() -> Response:
    """Say whether requests can be served: the database answers and has this version's tables."""
    try:
        current_app.extensions["jari.readiness"].ask(house().db)
    except (Busy, NotInTime, SQLAlchemyError) as error:
        current_app.logger.warning("not ready: %s", type(error).__name__)
        return Response("not ready\n", 503, mimetype="text/plain")
    return Response("ready\n", mimetype="text/plain")


def _touch(tx: Tx) -> None:
    tx.execute(select(JobLease.name).limit(1)).all()


class Figures(Collector):
    """Numbers that the database knows, read when somebody asks for them."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def collect(self) -> Iterator[Metric]:
        """Yield whether there is a database, and how rooms and jobs stand if there is."""
        try:
            current_app.extensions["jari.readiness"].ask(self._db)
            rooms, leases, percent = self._db.read(_figures)
        except (Busy, NotInTime, SQLAlchemyError):
            yield GaugeMetricFamily("jari_database_up", "Whether the database answers.", 0)
            return
        yield GaugeMetricFamily("jari_database_up", "Whether the database answers.", 1)
        for name, text in ROOM_GAUGES.items():
            family = GaugeMetricFamily(f"jari_queue_{name}", text, labels=["performance"])
            for room in rooms:
                family.add_metric([str(room.performance_id)], getattr(room, name))
            yield family
        yield GaugeMetricFamily(
            "jari_pace_percent", "The share of rates and capacities in use.", percent
        )
        text = "In how many seconds a job's lease runs out; below 0 it is free, as it is when there is nothing to do."
        family = GaugeMetricFamily("jari_job_lease_seconds", text, labels=["job"])
        for job, left in leases.items():
            family.add_metric([job], left)
        yield family


ROOM_GAUGES = {
    "waiting": "People who wait.",
    "active": "People who are inside.",
    "admitted_last_minute": "People admitted within the last 60 seconds.",
    "oldest_wait_seconds": "How long the first in line has waited.",
    "still_seconds": "How long people have waited in an open sale and nobody has moved.",
}


def _figures(tx: Tx) -> tuple[list[watching.RoomFigures], dict[str, float], int]:
    return watching.rooms(tx), watching.leases(tx), pace.get(tx).percent


@blueprint.get("/metrics")
@public
def metrics() -> Response:
    """Give Prometheus the numbers of all workers, and what the database knows."""
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    known = CollectorRegistry()
    known.register(Figures(house().db))
    text = generate_latest(registry) + generate_latest(known)
    return Response(text, content_type=CONTENT_TYPE_LATEST)
