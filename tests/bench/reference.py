"""What a hold costs at the least in Flask: verify a JWT, one keyed serializable UPDATE and an INSERT.

Bare psycopg with its own pool; no session, queue, limit, replacement, journal or retry. Run under the
same gunicorn with the same workers, threads and connections as the service it is compared with.
"""

import os
import uuid

import jwt
from flask import Flask, Response, request
from psycopg import IsolationLevel
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

application = Flask(__name__)
SECRET = os.environ["SECRET_KEY"]

_pool: ConnectionPool | None = None


def pool() -> ConnectionPool:
    """Open the pool in the worker, not before the fork."""
    global _pool  # noqa: PLW0603 - one pool a process
    if _pool is None:
        _pool = ConnectionPool(
            os.environ["DATABASE_URL"],
            min_size=int(os.environ["POOL_SIZE"]),
            max_size=int(os.environ["POOL_SIZE"]),
            kwargs={"options": "-c enable_seqscan=off -c enable_bitmapscan=off"},
            configure=lambda c: setattr(c, "isolation_level", IsolationLevel.SERIALIZABLE),
        )
    return _pool


@application.get("/hello")
def hello() -> Response:
    """The least a Flask view can do."""
    return Response("hello")


@application.post("/holds")
def hold() -> tuple[dict[str, object], int]:
    """Take two seats and write the hold, in one transaction."""
    claims = jwt.decode(
        request.headers["Access-Token"], SECRET, algorithms=["HS256"], options={"verify_aud": False}
    )
    seats = request.get_json()["seats"]
    hold_id = uuid.uuid4()
    with pool().connection() as connection:
        taken = connection.execute(
            "UPDATE bench_seat SET hold_id = %s, held_until = now() + interval '300 seconds'"
            " WHERE performance_id = 1 AND seat_no = ANY(%s)"
            " AND ticket_id IS NULL AND (hold_id IS NULL OR held_until <= now()) RETURNING seat_no",
            (hold_id, seats),
        ).fetchall()
        if len(taken) < len(seats):
            connection.rollback()
            return {"code": "seats_taken"}, 409
        connection.execute(
            "INSERT INTO bench_hold (id, account_id, seats, expires_at)"
            " VALUES (%s, %s, %s, now() + interval '300 seconds')",
            (hold_id, claims["sub"], Jsonb(seats)),
        )
    return {"id": str(hold_id), "seats": seats}, 201
