"""Prepared statements do what SQLAlchemy's own would, on both databases."""

import sqlite3
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from sqlalchemy import bindparam, delete, select, update

from tests import builders
from tests.faults import Faults
from webapp.db import Database, Tx, new_id
from webapp.domain.model import Account, Hold, IdempotencyKey, JournalEntry, table_of
from webapp.statements import Prepared, inserting

KEYS = table_of(IdempotencyKey)
HOLDS = table_of(Hold)
NOW = datetime(2026, 7, 1, 19, 30, 0, 123456, tzinfo=UTC)


def a_row(account_id: uuid.UUID, key: str, **changes: Any) -> dict[str, Any]:
    """One value of every type there is: uuid, text, bytes, integer, JSON, instant."""
    row: dict[str, Any] = {
        "account_id": account_id,
        "method": "POST",
        "path": "/자리'\"%s",
        "key": key,
        "request_digest": bytes(range(32)),
        "status": 201,
        "answer": {"seats": ["A-1", None, 2.5], "이름": "김"},
        "expires_at": NOW,
    }
    return row | changes


def test_values_go_in_and_come_out_as_with_sqlalchemy(db: Database) -> None:
    account = builders.make_accounts(db, 1)[0].id
    put = Prepared(inserting(KEYS, {column.name: column.name for column in KEYS.c}))
    find = select(KEYS).where(KEYS.c.key == bindparam("key"), KEYS.c.expires_at == bindparam("at"))

    def both(tx: Tx) -> None:
        row = a_row(account, "one")
        assert tx.fetch(put, **row) == []
        tx.execute(KEYS.insert(), a_row(account, "two"))
        for key in ("one", "two"):
            core = tx.execute(find, {"key": key, "at": NOW}).one()
            assert tx.fetch(Prepared(find), key=key, at=NOW) == [tuple(core)]
            assert core._asdict() == row | {"key": key}

    db.transact(both)


def test_several_rows_constants_defaults_and_null(db: Database) -> None:
    account = table_of(Account)
    ids = [new_id(), new_id()]
    row = {"created_at": "at", "password_hash": "nothing"}
    rows = [row | {"id": f"id_{n}", "email": f"email_{n}", "name": f"email_{n}"} for n in (0, 1)]
    put = Prepared(inserting(account, *rows))
    rename = Prepared(
        update(account)
        .where(account.c.id == bindparam("who"), account.c.name == "b@example.com")
        .values(name="자리")
        .returning(account.c.role, account.c.name, account.c.password_hash)
    )

    def work(tx: Tx) -> None:
        emails = {"email_0": "a@example.com", "email_1": "b@example.com"}
        tx.fetch(put, at=NOW, nothing=None, id_0=ids[0], id_1=ids[1], **emails)
        assert tx.fetch_one(rename, who=ids[0]) is None
        assert tx.fetch_one(rename, who=ids[1]) == ("customer", "자리", None)

    db.transact(work)


def test_what_must_be_rendered_each_time_is_refused(db: Database) -> None:
    listed = Prepared(delete(HOLDS).where(HOLDS.c.id.in_(bindparam("ids", expanding=True))))
    with pytest.raises(ValueError, match="rendered each time"):
        db.transact(lambda tx: tx.fetch(listed, ids=[new_id()]))


def test_a_missing_value_is_a_mistake_and_not_a_null(db: Database) -> None:
    find = Prepared(select(KEYS.c.key).where(KEYS.c.account_id == bindparam("account")))
    with pytest.raises(Exception, match="account"):
        db.transact(lambda tx: tx.fetch(find))


def test_a_swallowed_error_is_found_out_and_listeners_hear(db: Database, faults: Faults) -> None:
    account = builders.make_accounts(db, 1)[0].id
    put = Prepared(inserting(KEYS, {column.name: column.name for column in KEYS.c}))

    def twice(tx: Tx) -> None:
        tx.fetch(put, **a_row(account, "one"))
        tx.record("queue_left")
        with suppress(psycopg.errors.UniqueViolation, sqlite3.IntegrityError):
            tx.fetch(put, **a_row(account, "one"))

    faults.forget()
    with pytest.raises(RuntimeError, match="swallowed"):
        db.transact(twice)
    assert [statement.words[:3] for statement in faults.statements] == [
        ["INSERT", "INTO", "idempotency_key"]
    ] * 2
    kinds = db.read(lambda tx: tx.execute(select(JournalEntry.kind)).scalars().all())
    assert "queue_left" not in kinds
