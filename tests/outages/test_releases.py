"""Going back: a release is undone while seats are sold, and a copy taken in the middle of a sale is whole."""

import sqlite3
import subprocess
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from flask import Flask
from sqlalchemy import select

from tests.builders import enter, make_accounts, make_sale, pay, place
from tests.conftest import config_for, dispose
from tests.postgres import Postgres
from tests.races.soundness import assert_sound
from webapp import create_app
from webapp.commands import migrate_to, schema
from webapp.db import Database
from webapp.domain import audit
from webapp.domain.model import Booking

NEXT_RELEASE = '''
"""What a later version might bring: a column with a default, an index, a table of its own."""
import sqlalchemy as sa
from alembic import op

revision = "next_release"
down_revision = "{head}"


def upgrade() -> None:
    op.create_table("next_thing", sa.Column("id", sa.Integer, primary_key=True))
    op.add_column("booking", sa.Column("note", sa.String(100), server_default=""))
    op.create_index("ix_booking_note", "booking", ["note"])


def downgrade() -> None:
    op.drop_index("ix_booking_note", "booking")
    op.drop_column("booking", "note")
    op.drop_table("next_thing")
'''


@pytest.fixture
def released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let there be one more migration than there is; return the revision before it."""
    config = schema.alembic_config()
    head = str(ScriptDirectory.from_config(config).get_current_head())
    (tmp_path / "next_release.py").write_text(NEXT_RELEASE.format(head=head))

    def with_next_release() -> Config:
        both = f"{schema.MIGRATIONS / 'versions'}\n{tmp_path}"
        config.set_main_option("version_locations", both)
        config.set_main_option("path_separator", "newline")
        return config

    monkeypatch.setattr(schema, "alembic_config", with_next_release)
    return head


@contextmanager
def selling(db: Database, sale: int, seats: Iterator[int]) -> Iterator[list[str]]:
    """Sell one seat after the other in a thread of its own; yields the references of what was sold."""
    sold: list[str] = []
    stop, broken = threading.Event(), []

    def sell() -> None:
        try:
            while not stop.is_set():
                [buyer] = make_accounts(db)
                inside = enter(db, buyer, sale)
                sold.append(pay(db, inside, place(db, inside, [next(seats)])).reference)
        except Exception as error:  # noqa: BLE001 - shown by the test
            broken.append(error)

    thread = threading.Thread(target=sell)
    thread.start()
    try:
        yield sold
    finally:
        stop.set()
        thread.join()
    assert broken == []


def references(db: Database) -> set[str]:
    return db.read(lambda tx: set(tx.execute(select(Booking.reference)).scalars()))


@pytest.mark.failure("F48")
def test_a_release_is_undone_and_done_again_while_seats_are_sold(
    database_url: str, released: str
) -> None:
    app = create_app(config_for(database_url))
    db: Database = app.extensions["jari"].db
    sale, seats = make_sale(db, seats=5_000), iter(range(5_000))
    with selling(db, sale, seats) as sold:
        for revision, reached in (
            ("head", "next_release"),
            ("-1", released),
            ("head", "next_release"),
        ):
            before = len(sold)
            assert migrate_to(app, revision) == reached
            deadline = threading.Event()
            while len(sold) < before + 10 and not deadline.wait(0.05):
                assert threading.active_count() > 1
    assert references(db) == set(sold)
    assert_sound(db)
    dispose(app)


@pytest.mark.failure("F48")
@pytest.mark.parametrize("revision", ["base", "-1", "-9"])
def test_nobody_goes_back_behind_the_first_release_by_mistake(
    app: Flask, db: Database, revision: str
) -> None:
    first = migrate_to(app, "0001")
    make_accounts(db)
    done = app.test_cli_runner().invoke(args=["migrate", "--revision", revision])
    assert done.exit_code == 1
    assert "in_use" in done.output
    assert migrate_to(app, "0001") == first
    assert len(references(db)) == 0


def copy_of(url: str, server: Postgres | None, directory: Path) -> str:
    """Dump a database and restore it elsewhere, as docs/operations.md says; return the copy's address."""
    if server is None:
        copy = directory / "copy.sqlite3"
        with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
            connection.execute("VACUUM INTO ?", [str(copy)])
        return f"sqlite:///{copy}"
    dump, name = directory / "jari.dump", f"t_{uuid.uuid4().hex[:12]}"
    commands: list[list[Any]] = [
        [server.binaries / "pg_dump", "--format=custom", "--file", dump, url],
        [server.binaries / "pg_restore", "--exit-on-error", "--dbname", server.url(name), dump],
    ]
    server.create_database(name)
    for command in commands:
        subprocess.run(command, check=True, capture_output=True)
    return server.url(name)


@pytest.mark.failure("F48")
def test_a_dump_of_a_running_sale_restores_to_what_verify_accepts(
    request: pytest.FixtureRequest, database_url: str, tmp_path: Path
) -> None:
    app = create_app(config_for(database_url))
    db: Database = app.extensions["jari"].db
    sale, seats = make_sale(db, seats=5_000), iter(range(5_000))
    server = None if db.is_sqlite else request.getfixturevalue("postgres")
    with selling(db, sale, seats) as sold:
        while len(sold) < 20:
            assert threading.active_count() > 1
        acknowledged = set(sold)
        copy = create_app(config_for(copy_of(database_url, server, tmp_path)))
    restored: Database = copy.extensions["jari"].db
    assert acknowledged <= references(restored) <= set(sold)
    assert_sound(restored)
    with selling(restored, sale, iter(range(4_000, 5_000))) as more:
        while len(more) < 3:
            assert threading.active_count() > 1
    report = restored.read(audit.run)
    assert report.ok
    dispose(copy)
    dispose(app)
