"""Database errors on demand: at the n-th statement of a transaction, or at its COMMIT.

Promises:

1. On PostgreSQL the server itself raises the error, or really loses the connection, so that the state
   of transaction and connection afterwards is the true one. SQLite cannot be told to fail, so there
   the driver's exception is raised in place of the statement.
2. A fault fires as often as it was asked for and `fired` says so: a test whose fault never fired has
   tested nothing.
3. A COMMIT can be lost on both sides of the instant at which it is applied.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import Engine, event

from webapp.db import Database

CONFLICTS = {
    "postgresql": ("40001", "40P01", "55P03"),
    "sqlite": ("SQLITE_BUSY", "SQLITE_BUSY_SNAPSHOT", "SQLITE_LOCKED"),
}
LOST = "57P01"  # what a backend says when it is terminated

_SQLITE_CODES = {
    "SQLITE_BUSY": sqlite3.SQLITE_BUSY,
    "SQLITE_BUSY_SNAPSHOT": sqlite3.SQLITE_BUSY_SNAPSHOT,
    "SQLITE_LOCKED": sqlite3.SQLITE_LOCKED,
    "SQLITE_IOERR": sqlite3.SQLITE_IOERR,
    "SQLITE_FULL": sqlite3.SQLITE_FULL,
}


def sqlite_error(name: str) -> sqlite3.OperationalError:
    """Make the driver's exception as SQLite would: the name decides, the text is nobody's business."""
    error = sqlite3.OperationalError("injected")
    error.sqlite_errorcode = _SQLITE_CODES[name]
    error.sqlite_errorname = name
    return error


@dataclass(frozen=True)
class Statement:
    """One statement as the driver got it."""

    text: str
    parameters: Any

    @property
    def words(self) -> list[str]:
        return self.text.replace('"', " ").split()


class Faults:
    """What goes wrong on the writing (or reading) connections of one Database, and what went over them."""

    def __init__(self, db: Database, *, reading: bool = False) -> None:
        self.statements: list[Statement] = []
        self.begins: list[str] = []  # SQLite's; PostgreSQL's driver sends its own unseen
        self.fired = 0
        self._db = db
        self._at = 0
        self._times = 0
        self._strike: Callable[[Any], None] = lambda _: None
        engine = db.reader if reading else db.writer
        engine.connect().close()  # the dialect's own first questions are not counted
        for name in ("do_execute", "do_executemany"):
            event.listen(engine, name, self._before)
        event.listen(engine, "do_execute_no_params", self._before_without)
        self._commit = db.writer.dialect.do_commit

    # -- statements

    def forget(self) -> None:
        """Start counting statements and faults anew."""
        self.statements.clear()
        self.begins.clear()
        self.fired = 0

    def at_statement(self, number: int, code: str, *, times: int = 1) -> None:
        """Fail the `number`-th statement from now on (1 is the next one), `times` times in a row."""
        self.forget()
        self._at, self._times = number, times
        self._strike = lambda cursor: self._raise(cursor, code)

    def at_begin(self, code: str, *, times: int = 1) -> None:
        """Fail SQLite's BEGIN, `times` times in a row."""
        self.at_statement(0, code, times=times)

    def _before(self, cursor: Any, text: str, parameters: Any, _context: Any) -> None:
        begins = text.startswith("BEGIN")
        if begins:
            self.begins.append(text)
        else:
            self.statements.append(Statement(text, parameters))
        if self._times and begins == (self._at == 0) and len(self.statements) >= self._at:
            self._times -= 1
            self.fired += 1
            self._strike(cursor)

    def _before_without(self, cursor: Any, text: str, context: Any) -> None:
        self._before(cursor, text, (), context)

    def _raise(self, cursor: Any, code: str) -> None:
        if self._db.is_sqlite:
            raise sqlite_error(code)
        if code == LOST:
            terminate(self._db.writer, cursor.connection.info.backend_pid)
            cursor.execute("SELECT 1")
        cursor.execute(f"DO $$ BEGIN RAISE EXCEPTION 'injected' USING ERRCODE = '{code}'; END $$")
        raise AssertionError("the server did not raise")

    # -- COMMIT

    def at_commit(self, fault: Callable[[Any], None]) -> None:
        """Let `fault(driver connection)` happen in place of the next COMMIT."""
        self.forget()

        def do_commit(connection: Any) -> None:
            self._db.writer.dialect.do_commit = self._commit
            self.fired += 1
            fault(connection)

        self._db.writer.dialect.do_commit = do_commit

    def conflict_at_commit(self, code: str) -> None:
        """Let the next COMMIT lose a race: the transaction is aborted and says so."""
        self.at_commit(lambda connection: self._raise(connection.cursor(), code))

    def commit_lost_before(self) -> None:
        """Lose the connection before the next COMMIT was applied."""

        def fault(connection: Any) -> None:
            if self._db.is_sqlite:
                connection.rollback()
                raise sqlite_error("SQLITE_IOERR")
            terminate(self._db.writer, connection.dbapi_connection.info.backend_pid)
            self._commit(connection)
            raise AssertionError("the connection was not lost")

        self.at_commit(fault)

    def commit_lost_after(self) -> None:
        """Apply the next COMMIT, and lose its answer."""

        def fault(connection: Any) -> None:
            self._commit(connection)
            if self._db.is_sqlite:
                raise sqlite_error("SQLITE_IOERR")
            connection.dbapi_connection.close()
            raise psycopg.OperationalError("server closed the connection unexpectedly")

        self.at_commit(fault)


def terminate(engine: Engine, pid: int) -> None:
    """End a backend from another connection, as an operator or a failover does, and see it gone."""
    address = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
