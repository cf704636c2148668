"""COMMIT was sent and no answer came: the witness says what happened, or the customer is told to ask again."""

import os
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from flask import Flask
from sqlalchemy import event, func, insert, select

from tests.builders import Customer, enter, make_accounts, make_sale, place
from tests.conftest import config_for, dispose
from tests.faults import Faults, sqlite_error
from tests.kernel.counted import Rise
from tests.postgres import Postgres
from webapp import create_app, engines
from webapp.db import Busy, Database, OutcomeUnknown, Tx, new_id
from webapp.domain import idempotency, wallet
from webapp.domain.idempotency import Answer
from webapp.domain.model import Booking, RateLimit, Venue
from webapp.troubles import UNKNOWN_COMMITS
from webapp.web import actions


def add_venue(tx: Tx) -> str:
    tx.execute(insert(Venue), {"name": "A hall", "address": ""})
    tx.record("venue_added")
    return "done"


def count_venues(db: Database) -> int:
    return db.read(lambda tx: int(tx.execute(select(func.count(Venue.id))).scalar_one()))


# -- settled at once --------------------------------------------------------------------------------


def test_an_applied_commit_without_an_answer_is_a_success(db: Database, faults: Faults) -> None:
    faults.commit_lost_after()
    with Rise(UNKNOWN_COMMITS) as unknown:
        assert db.transact(add_venue) == "done"
    assert unknown.by == {("committed",): 1}
    assert count_venues(db) == 1


def test_a_commit_that_never_happened_is_made_again(db: Database, faults: Faults) -> None:
    faults.commit_lost_before()
    with Rise(UNKNOWN_COMMITS) as unknown:
        assert db.transact(add_venue) == "done"
    assert unknown.by == {("never_happened",): 1}
    assert count_venues(db) == 1


def test_the_connection_of_a_lost_commit_is_not_used_again(db: Database, faults: Faults) -> None:
    connections: list[Any] = []

    @event.listens_for(db.writer, "checkout")
    def _seen(connection: Any, *_: object) -> None:
        connections.append(connection)

    faults.commit_lost_after()
    db.transact(add_venue)
    db.transact(add_venue)
    lost, *later = connections
    assert later
    assert all(connection is not lost for connection in later)


def test_work_without_a_witness_is_run_again(db: Database, faults: Faults) -> None:
    """What records nothing must bear being done twice: here counting an attempt, one too many."""

    def count(tx: Tx) -> None:
        row = {"key": f"k-{new_id()}", "window_starts_at": tx.now, "hits": 1}
        tx.execute(insert(RateLimit), row)

    faults.commit_lost_after()
    db.transact(count)
    counted = select(func.count(RateLimit.key))
    assert db.read(lambda tx: tx.execute(counted).scalar()) == 2


# -- in doubt ---------------------------------------------------------------------------------------


def payment(app: Flask, db: Database) -> tuple[Customer, Callable[[], Answer]]:
    """Make a customer with a hold; return the customer and the request that pays it, as the API does."""
    sale = make_sale(db)
    [customer] = make_accounts(db)
    admitted = enter(db, customer, sale)
    held = place(db, admitted, [1, 2])
    house = app.extensions["jari"]
    request = idempotency.Request(customer.id, "POST", "/api/v1/bookings", "key-1", b"same body")

    def ask() -> Answer:
        found = actions.find_answer(house, request)
        return found or actions.pay(house, request, admitted, held.id)

    return customer, ask


@pytest.mark.failure("F44")
def test_the_retry_with_the_same_key_gets_the_one_true_answer(
    app: Flask, db: Database, faults: Faults
) -> None:
    customer, ask = payment(app, db)
    faults.commit_lost_after()
    first = ask()
    again = ask()
    assert (first.replayed, again.replayed) == (False, True)
    assert first.body == again.body
    assert db.lookup(wallet.get, customer.id).balance_minor == 1_000_000 - 2_000


@pytest.fixture
def awaited(
    postgres: Postgres, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Flask]:
    """An app on a database whose commits wait for a standby, once `standby` says that there should be one."""
    monkeypatch.setitem(engines._SERVER_SETTINGS, "lock_timeout", "200ms")
    monkeypatch.setattr("webapp.db.WITNESS_LOCK_TIMEOUT", "200ms")
    name = postgres_url.rpartition("/")[2]
    postgres.execute(f"ALTER DATABASE {name} SET synchronous_commit = on")
    app = create_app(config_for(postgres_url, transaction_seconds=2.0, pool_timeout_seconds=0.5))
    yield app
    standby(postgres, "")
    dispose(app)


def standby(server: Postgres, name: str) -> None:
    """Say whose confirmation a COMMIT waits for; nobody of that name exists."""
    server.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
    server.execute("SELECT pg_reload_conf()")


def cut_when_waiting(connection: psycopg.Connection[Any], server: Postgres) -> None:
    """Cut the client's line as soon as its COMMIT waits for the standby."""
    query = "SELECT wait_event FROM pg_stat_activity WHERE pid = %s"
    pid, line = connection.info.backend_pid, socket.socket(fileno=os.dup(connection.fileno()))
    with psycopg.connect(server.url(), autocommit=True) as other:
        while other.execute(query, [pid]).fetchone() != ("SyncRep",):
            time.sleep(0.01)
    line.shutdown(socket.SHUT_RDWR)
    line.close()


@pytest.mark.failure("F52")
def test_a_commit_that_still_waits_for_its_standby_is_neither_repeated_nor_denied(
    awaited: Flask, postgres: Postgres
) -> None:
    db: Database = awaited.extensions["jari"].db
    customer, ask = payment(awaited, db)
    faults = Faults(db)
    standby(postgres, "nobody")

    def lose_the_line(fairy: Any) -> None:
        cutter = threading.Thread(target=cut_when_waiting, args=(fairy.dbapi_connection, postgres))
        cutter.start()
        try:
            fairy.dbapi_connection.commit()
        finally:
            cutter.join()

    faults.at_commit(lose_the_line)
    with Rise(UNKNOWN_COMMITS) as unknown, pytest.raises(OutcomeUnknown):
        ask()
    assert unknown.by == {("in_doubt",): 1}
    with pytest.raises(Busy):
        ask()  # the first still holds its rows: not yet, but never "failed"

    standby(postgres, "")
    answer = ask()
    assert answer.status == 201
    references = db.read(lambda tx: tx.execute(select(Booking.reference)).scalars().all())
    assert references == [answer.body["reference"]]
    assert db.lookup(wallet.get, customer.id).balance_minor == 1_000_000 - 2_000


def test_on_sqlite_a_writer_who_never_ends_leaves_the_outcome_open(sqlite_url: str) -> None:
    app = create_app(config_for(sqlite_url, transaction_seconds=0.3, pool_timeout_seconds=0.1))
    db: Database = app.extensions["jari"].db
    faults = Faults(db)
    stranger = sqlite3.connect(str(db.writer.url.database), isolation_level=None)

    def commit_and_lose(connection: Any) -> None:
        connection.commit()
        stranger.execute("BEGIN IMMEDIATE")
        raise sqlite_error("SQLITE_IOERR")

    faults.at_commit(commit_and_lose)
    with pytest.raises(OutcomeUnknown):
        db.transact(add_venue)
    stranger.close()
    assert count_venues(db) == 1
    dispose(app)
