"""For the operator's machines: does the process live, can it serve, what has it done."""

import os

from flask import Blueprint, Response, current_app
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    generate_latest,
    multiprocess,
)
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from webapp.db import Busy, Tx
from webapp.domain.model import JobLease
from webapp.web.guards import public
from webapp.web.house import house

blueprint = Blueprint("operations", __name__)


@blueprint.get("/healthz")
@public
def healthz() -> Response:
    """Say that the process lives. It asks nobody: a database that is down is no reason to restart."""
    return Response("ok\n", mimetype="text/plain")


@blueprint.get("/readyz")
@public
def readyz() -> Response:
    """Say whether requests can be served: the database answers and has this version's tables."""
    try:
        house().db.lookup(_touch)
    except (Busy, SQLAlchemyError) as error:
        current_app.logger.warning("not ready: %s", type(error).__name__)
        return Response("not ready\n", 503, mimetype="text/plain")
    return Response("ready\n", mimetype="text/plain")


def _touch(tx: Tx) -> None:
    tx.execute(select(JobLease.name).limit(1)).all()


@blueprint.get("/metrics")
@public
def metrics() -> Response:
    """Give Prometheus the numbers of all workers."""
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
