"""The schema: what the migrations make is what the models say, on both databases, there and back.

And it is the second wall: every named constraint of the model is provoked here by a plain INSERT, past
all the code that would have prevented it, and refuses by its name.
"""

import itertools
import re
import secrets
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask
from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    ForeignKeyConstraint,
    Table,
    UniqueConstraint,
    delete,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.exc import DatabaseError, IntegrityError

from jobs import JOBS
from tests.conftest import config_for, dispose
from webapp import create_app
from webapp.commands.schema import alembic_config, migrate_to
from webapp.db import Database
from webapp.domain.model import Base, Instant, JobLease, JournalEntry, table_of

TABLES = Base.metadata.tables


@pytest.fixture
def empty(empty_url: str) -> Iterator[Flask]:
    """An app on a database without tables."""
    app = create_app(config_for(empty_url))
    yield app
    dispose(app)


def opened(app: Flask) -> Database:
    db: Database = app.extensions["jari"].db
    return db


# -- there and back -----------------------------------------------------------------------------------


def test_up_down_and_up_again(empty: Flask) -> None:
    db = opened(empty)
    migrate_to(empty)
    first = catalogue(db)
    assert set(inspect(db.writer).get_table_names()) == {*TABLES, "alembic_version"}
    migrate_to(empty, "base")
    assert inspect(db.writer).get_table_names() == ["alembic_version"]
    assert catalogue(db) == {}
    migrate_to(empty)
    assert catalogue(db) == first


def test_the_revisions_are_one_line_with_a_way_back() -> None:
    revisions = list(ScriptDirectory.from_config(alembic_config()).walk_revisions())
    assert len([revision for revision in revisions if revision.is_head]) == 1
    assert not any(revision.is_branch_point for revision in revisions)
    assert all(callable(revision.module.downgrade) for revision in revisions)


def test_every_job_has_its_lease(db: Database) -> None:
    leases = db.read(lambda tx: set(tx.execute(select(JobLease.name)).scalars()))
    assert leases == {job.name for job in JOBS}


# -- models and migrations agree ------------------------------------------------------------------------


def test_alembic_finds_nothing_to_migrate(db: Database) -> None:
    with db.writer.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "render_as_batch": True}
        )
        assert compare_metadata(context, Base.metadata) == []


def test_the_databases_own_catalogue_is_what_the_models_would_make(empty: Flask) -> None:
    """What alembic does not compare: checks, conditions of indexes, storage settings."""
    db = opened(empty)
    Base.metadata.create_all(db.writer)
    made = catalogue(db)
    Base.metadata.drop_all(db.writer)
    migrate_to(empty)
    migrated = catalogue(db)
    assert {name: migrated[name] for name in migrated if "trigger" not in name} == made
    assert any("trigger" in name for name in migrated)  # the journal's, which no model can say


def catalogue(db: Database) -> dict[str, Any]:
    """Read everything that the database knows about our tables, in an order of its own."""
    query = SQLITE_CATALOGUE if db.is_sqlite else POSTGRESQL_CATALOGUE
    with db.writer.connect() as connection:
        rows = connection.exec_driver_sql(query).all()
    return {f"{kind} {name}": shape(str(entry)) for kind, name, entry in rows}


def shape(entry: str) -> str | list[str]:
    """Make what a CREATE TABLE says comparable: an added column stands last, and on no line of its own."""
    entry = " ".join(entry.split())
    if not entry.startswith("CREATE TABLE"):
        return entry
    head, _, body = entry.partition("(")
    return [head.strip('" '), *sorted(re.split(r"\s*,\s*", body.rpartition(")")[0].strip()))]


SQLITE_CATALOGUE = """
SELECT type, name, sql FROM sqlite_master
WHERE name NOT LIKE 'sqlite_%' AND tbl_name <> 'alembic_version'
"""
POSTGRESQL_CATALOGUE = """
SELECT 'column', c.relname || '.' || a.attname,
       format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull || ' '
           || coalesce(pg_get_expr(d.adbin, d.adrelid), '')
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND a.attnum > 0
    AND NOT a.attisdropped AND c.relname <> 'alembic_version'
UNION ALL
SELECT 'constraint', conname, conrelid::regclass || ' ' || pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conname !~ 'alembic'
UNION ALL
SELECT 'index', indexname, indexdef FROM pg_indexes
WHERE schemaname = 'public' AND tablename <> 'alembic_version'
UNION ALL
SELECT 'storage', relname, coalesce(array_to_string(reloptions, ','), '') FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'alembic_version'
UNION ALL
SELECT 'trigger', tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL
SELECT 'trigger function', proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""


# -- the second wall --------------------------------------------------------------------------------

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
LATER = datetime(2026, 5, 1, 13, tzinfo=UTC)
_numbers = itertools.count(1_000)

# What a valid row needs beyond a value of the right type in every column that must have one.
VALID: dict[str, dict[str, Any]] = {
    "account": {"role": "customer"},
    "pace": {"percent": 100},
    "performance": {"single_seat_rule": "off"},
    "ledger_entry": {"kind": "top_up", "amount_minor": 5},
}
# And what makes it fall under a unique constraint whose columns may be NULL.
UNDER: dict[str, dict[str, Any]] = {
    "uq_queue_entry_number": {"number": 7},
    "uq_ledger_entry_once": {"kind": "spend", "amount_minor": -5, "booking_id": uuid.UUID(int=7)},
}
ENDED = {"ended_at": NOW, "end_reason": "left"}
# Outside of the condition of a partial unique index, the same again is welcome.
OUTSIDE: dict[str, dict[str, Any]] = {
    "uq_queue_entry_stay": ENDED | {"retired_at": NOW},
    "uq_ticket_seat": {"voided_at": NOW},
    "uq_queue_entry_number": {"number": None},
    "uq_ledger_entry_once": {"kind": "top_up", "amount_minor": 5, "booking_id": None},
}
# Rows that a check refuses, each for one way of breaking it.
BROKEN: dict[str, list[dict[str, Any]]] = {
    "ck_account_role": [{"role": "king"}],
    "ck_performance_capacity": [{"capacity": -1}],
    "ck_performance_rate": [{"rate_per_minute": -1}],
    "ck_performance_seats_max": [{"seats_max": 0}],
    "ck_performance_lifetimes": [{"hold_seconds": 0}, {"session_seconds": 0}],
    "ck_performance_single_seat_rule": [{"single_seat_rule": "sometimes"}],
    "ck_room_arrival": [{"arrival_seconds": 0}],
    "ck_room_idle": [{"idle_seconds": 0}],
    "ck_lottery_closed": [{"closed_at": NOW}, {"participants": b""}],
    "ck_lottery_drawn": [{"drawn_at": NOW, "first_number": 1}],
    "ck_lottery_numbers": [
        {"closed_at": NOW, "participants": b"", "drawn_at": NOW},
        {"first_number": 1},
    ],
    "ck_pace_percent": [{"percent": 101, "reason": "slow"}, {"percent": -1, "reason": "slow"}],
    "ck_pace_reason": [{"percent": 50}, {"reason": "slow"}],
    "ck_price_level_price": [{"price_minor": -1}],
    "ck_queue_entry_access": [{"admitted_at": NOW}, {"access_expires_at": NOW}],
    "ck_queue_entry_end": [{"ended_at": NOW}, {"end_reason": "left"}],
    "ck_queue_entry_retired": [{"retired_at": NOW}],
    "ck_allowance_seats_bought": [{"seats_bought": -1}],
    "ck_allowance_seats_held": [
        {"hold_id": uuid.uuid4()},
        {"hold_id": uuid.uuid4(), "seats_held": 0},
    ],
    "ck_seat_hold": [{"hold_id": uuid.uuid4()}, {"held_until": LATER}],
    "ck_seat_one_owner": [
        {"hold_id": uuid.uuid4(), "held_until": LATER, "ticket_id": uuid.uuid4()}
    ],
    "ck_seat_blocked": [
        {"blocked": True, "ticket_id": uuid.uuid4()},
        {"blocked": True, "hold_id": uuid.uuid4(), "held_until": LATER},
    ],
    "ck_hold_end": [{"ended_at": NOW}, {"end_reason": "paid"}],
    "ck_hold_swept": [{"swept_at": NOW}],
    "ck_wallet_balance": [{"balance_minor": -1}],
    "ck_ledger_entry_kind": [{"kind": "gift", "booking_id": uuid.uuid4()}],
    "ck_ledger_entry_sign": [
        {"kind": "spend", "amount_minor": 5, "booking_id": uuid.uuid4()},
        {"kind": "refund", "amount_minor": -5, "booking_id": uuid.uuid4()},
        {"kind": "top_up", "amount_minor": -5},
    ],
    "ck_ledger_entry_booking": [
        {"kind": "top_up", "booking_id": uuid.uuid4()},
        {"kind": "spend", "amount_minor": -5, "booking_id": None},
    ],
    "ck_ticket_scanned_or_voided": [{"scanned_at": NOW, "voided_at": NOW}],
}


class Rows:
    """Puts valid rows into tables, parents first."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._parents: dict[str, dict[str, Any]] = {}

    def make(self, table: Table, **changes: Any) -> dict[str, Any]:
        """Make a row that every constraint of `table` accepts, unlike any other; apply `changes`."""
        row = {column.name: self._value(column) for column in table.columns if needed(column)}
        of_one = all(
            column.foreign_keys for column in table.primary_key
        )  # a row beside its parent's
        for foreign in table.foreign_keys:
            if foreign.parent.name in row:
                owner = foreign.column.table
                parent = self.insert(owner) if of_one else self._parent(owner)
                row[foreign.parent.name] = parent[foreign.column.name]
        return row | VALID.get(table.name, {}) | changes

    def insert(self, table: Table, **changes: Any) -> dict[str, Any]:
        """Put such a row in; return it."""
        row = self.make(table, **changes)
        self._connection.execute(insert(table), row)
        return row

    def _parent(self, table: Table) -> dict[str, Any]:
        if table.name not in self._parents:
            self._parents[table.name] = self.insert(table)
        return self._parents[table.name]

    def _value(self, column: Column[Any]) -> Any:
        number = next(_numbers)
        kind = datetime if isinstance(column.type, Instant) else column.type.python_type
        length = getattr(column.type, "length", None)
        values = {
            int: number,
            str: f"{number:x}"[-(length or 8) :],
            bool: False,
            bytes: secrets.token_bytes(32),
            uuid.UUID: uuid.uuid4(),
            datetime: NOW,
            object: {},  # JSON
        }
        return values[kind]


def needed(column: Column[Any]) -> bool:
    return not column.nullable


@pytest.fixture
def wall(db: Database) -> Iterator[tuple[Connection, Rows]]:
    """A connection whose work is thrown away, and rows for it."""
    with db.writer.connect() as connection:
        connection.begin()
        yield connection, Rows(connection)
        connection.rollback()


def refused(connection: Connection, rows: Rows, table: Table, row: dict[str, Any]) -> Exception:
    """Insert a row that must not go in, and go on afterwards; return the error."""
    with pytest.raises(IntegrityError) as refusal, connection.begin_nested():
        connection.execute(insert(table), row)
    return refusal.value


def name_of(db: Database, error: Any) -> str:
    """Return the name of the violated constraint, as the kernel would know it."""
    if not db.is_sqlite:
        return str(error.orig.diag.constraint_name)
    trouble = db._trouble(error)
    return trouble.code if trouble.kind == "unique" else str(error.orig).rpartition(": ")[2]


def named(kind: type[Any]) -> dict[str, Any]:
    return {
        str(item.name): item
        for table in TABLES.values()
        for item in table.constraints
        if isinstance(item, kind)
    }


def unique_indexes() -> dict[str, Any]:
    return {str(i.name): i for table in TABLES.values() for i in table.indexes if i.unique}


def test_every_constraint_has_a_name() -> None:
    for table in TABLES.values():
        for item in (*table.constraints, *table.indexes):
            assert re.fullmatch(r"(pk|uq|ck|fk|ix)_[a-z_]+", str(item.name)), item
    assert BROKEN.keys() == named(CheckConstraint).keys()


def test_every_check_refuses(db: Database, wall: tuple[Connection, Rows]) -> None:
    connection, rows = wall
    for name, check in named(CheckConstraint).items():
        rows.insert(check.table)  # what is not broken goes in
        for broken in BROKEN[name]:
            row = rows.make(check.table, **broken)
            assert name_of(db, refused(connection, rows, check.table, row)) == name, broken


def test_every_unique_constraint_refuses(db: Database, wall: tuple[Connection, Rows]) -> None:
    connection, rows = wall
    keys = {str(table.primary_key.name): table.primary_key for table in TABLES.values()}
    unique = keys | named(UniqueConstraint) | unique_indexes()
    assert len(unique) > 30
    for name, constraint in unique.items():
        first = rows.insert(constraint.table, **UNDER.get(name, {}))
        same = {column.name: first[column.name] for column in constraint.columns}
        again = rows.make(constraint.table, **UNDER.get(name, {}) | same)
        assert name_of(db, refused(connection, rows, constraint.table, again)) == name


def test_outside_of_its_condition_a_unique_constraint_lets_pass(
    wall: tuple[Connection, Rows],
) -> None:
    _, rows = wall
    unique = named(UniqueConstraint) | unique_indexes()
    for name, outside in OUTSIDE.items():
        table = unique[name].table
        first = rows.insert(table, **outside)
        same = {column.name: first.get(column.name) for column in unique[name].columns}
        rows.insert(table, **outside | same)
        rows.insert(table, **same)  # one that counts may stand beside those that do not
    assert OUTSIDE.keys() >= unique_indexes().keys()


def test_every_foreign_key_refuses(db: Database, wall: tuple[Connection, Rows]) -> None:
    connection, rows = wall
    for name, key in named(ForeignKeyConstraint).items():
        rows.insert(key.table)
        [column] = key.columns
        nobody: Any = uuid.uuid4() if column.type.python_type is uuid.UUID else 999_999
        error: Any = refused(
            connection, rows, key.table, rows.make(key.table, **{column.name: nobody})
        )
        if db.is_sqlite:
            assert error.orig.sqlite_errorname == "SQLITE_CONSTRAINT_FOREIGNKEY", name
        else:
            assert name_of(db, error) == name


def test_hot_tables_have_no_foreign_keys() -> None:
    hot = {
        *("queue_entry", "allowance", "seat", "hold", "booking", "ticket"),
        *("wallet", "ledger_entry", "idempotency_key", "journal_entry", "room_progress"),
    }
    assert {name for name in hot if TABLES[name].foreign_keys} == set()


# -- the journal --------------------------------------------------------------------------------------


def test_the_journal_can_only_grow(db: Database, wall: tuple[Connection, Rows]) -> None:
    connection, rows = wall
    journal = table_of(JournalEntry)
    rows.insert(journal)
    attempts: list[Any] = [
        update(journal).values(kind="rewritten"),
        update(journal).values(kind="rewritten").where(journal.c.kind == "nothing like it"),
        delete(journal),
    ]
    if db.is_sqlite:
        del attempts[1]  # its triggers fire for rows only, and there is none
    else:
        attempts.append(text("TRUNCATE journal_entry"))
    for attempt in attempts:
        with (
            pytest.raises(DatabaseError, match="append-only"),
            connection.begin_nested(),
        ):
            connection.execute(attempt)
