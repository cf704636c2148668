"""The schema's migrations, on a connection of their own that no request will ever get.

Promises:

1. A migration may take as long as it needs: no `statement_timeout` ends it. What it may not do is
   wait long for a table's lock (`lock_timeout` stays), because whoever asks after it waits behind it.
2. Two processes may migrate at once: the second waits for the first, then finds nothing left to do.
3. What is reported is the revision that the database is at, read afterwards.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask, current_app
from flask.cli import with_appcontext
from sqlalchemy import Connection, Engine, create_engine, event, select

from webapp.commands.speaking import Operation, refused, say
from webapp.db import Tx
from webapp.domain.model import Account
from webapp.engines import engine_options, prepare_sqlite
from webapp.web.house import house

MIGRATIONS = Path(__file__).parent.parent / "migrations"
TURN_SECONDS = 600  # how long one migration waits for another
_LOCK = 0x6A617269  # "jari": the number of the advisory lock


def alembic_config() -> AlembicConfig:
    """Say where the migrations are; the connection is passed in, so no ini file is needed."""
    config = AlembicConfig()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def migrate_to(app: Flask, revision: str = "head") -> str | None:
    """Bring the database to a revision, forwards or backwards; return where it is then."""
    engine = _make_engine(app.extensions["jari"].config.database_url)
    config = alembic_config()
    with _alone(engine):
        back = _is_behind(config, _current(engine), revision)
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            (command.downgrade if back else command.upgrade)(config, revision)
        return _current(engine)


@contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    """Keep other processes from a SQLite file that may be empty yet; drop the connection at the end.

    Turning a new file to WAL fails at once while somebody else does so, whatever the time-out says.
    The lock is on the file's folder: a lock on the file itself is SQLite's own business.
    """
    with ExitStack() as stack:
        stack.callback(engine.dispose)
        if engine.dialect.name == "sqlite":
            folder = os.open(Path(str(engine.url.database)).parent, os.O_RDONLY)
            stack.callback(os.close, folder)
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield


def _make_engine(database_url: str) -> Engine:
    options: dict[str, Any] = engine_options(
        database_url, writes=True, pool_size=1, pool_timeout=1.0
    )
    url = options.pop("url")
    if url.get_backend_name() == "sqlite":
        options["connect_args"]["timeout"] = TURN_SECONDS
        engine = create_engine(url, **options)
        prepare_sqlite(engine, writes=True)
        return engine
    options["connect_args"]["options"] += " -c statement_timeout=0"
    # Not SERIALIZABLE: its snapshot would be taken before the wait for the advisory lock, and show
    # a schema from before the other process's migration. The lock makes migrations serial.
    engine = create_engine(url, **options | {"isolation_level": "READ COMMITTED"})

    @event.listens_for(engine, "begin")
    def _take_turn(connection: Connection) -> None:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{TURN_SECONDS}s'")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        connection.exec_driver_sql("SET LOCAL lock_timeout TO DEFAULT")

    return engine


def _current(engine: Engine) -> str | None:
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def _is_behind(config: AlembicConfig, current: str | None, revision: str) -> bool:
    """Whether `revision` lies behind `current`: alembic has a command for each direction."""
    if revision == "base" or revision.startswith("-"):
        return True
    if current is None or revision in ("head", "heads") or revision.startswith("+"):
        return False
    passed = ScriptDirectory.from_config(config).iterate_revisions(current, "base")
    return revision in {script.revision for script in passed} - {current}


def _would_empty(app: Flask, revision: str) -> bool:
    """Whether a way back leads behind the first revision, where there are no tables."""
    engine, config = _make_engine(app.extensions["jari"].config.database_url), alembic_config()
    current = _current(engine)
    engine.dispose()
    if current is None or not _is_behind(config, current, revision):
        return False
    if revision == "base":
        return True
    passed = list(ScriptDirectory.from_config(config).iterate_revisions(current, "base"))
    return revision.removeprefix("-").isdigit() and int(revision.removeprefix("-")) >= len(passed)


def _is_used(tx: Tx) -> bool:
    return tx.execute(select(Account.id).limit(1)).first() is not None


@click.command(cls=Operation)
@click.option(
    "--revision",
    default="head",
    show_default=True,
    help="Where to go: head, base, a revision, or -1 for one back.",
)
@with_appcontext
def migrate(revision: str) -> None:
    """Bring the database's schema to a revision, forwards or backwards.

    Run it before the new version of the service starts. It may run from several machines at once.
    It refuses to go back behind the first revision of a house that has customers.
    """
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    if _would_empty(app, revision) and house().db.lookup(_is_used):
        raise refused("in_use", "Going back behind the first release would take everybody away.")
    reached = migrate_to(app, revision)
    dialect = house().db.writer.dialect.name
    say({"revision": reached, "database": dialect}, f"The {dialect} database is at {reached}.")
