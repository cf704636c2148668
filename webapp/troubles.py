"""What went wrong in the database, in the few words that the kernel decides by, and how often.

This module hides the drivers' errors. Promises:

1. What failed is decided by SQLSTATE (SQLite: error name) and constraint name, never by message text
   beyond SQLite's column lists.
2. What nobody has thought of is a bug: it is raised, not tried again.
"""

import sqlite3
from dataclasses import dataclass
from typing import Any

import psycopg
from prometheus_client import Counter
from sqlalchemy import MetaData, UniqueConstraint
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

RETRIES = Counter(
    "jari_transaction_retries_total",
    "Transactions run again, by the SQLSTATE that made it necessary.",
    ["sqlstate", "function", "attempt"],
)
UNKNOWN_COMMITS = Counter(
    "jari_unknown_commits_total", "COMMITs whose answer was lost, by how they ended.", ["outcome"]
)
BUSY = Counter("jari_busy_total", "Transactions given up as busy.", ["function"])

_KINDS = {
    "40001": "conflict",
    "40P01": "conflict",
    "55P03": "conflict",
    "SQLITE_BUSY": "conflict",
    "SQLITE_BUSY_SNAPSHOT": "conflict",
    "SQLITE_LOCKED": "conflict",
    "57014": "overload",  # statement_timeout
    "53300": "overload",  # too many connections
    "53100": "overload",  # the disk is full, or (53200) the memory: nothing is stored, and it may pass
    "53200": "overload",
    "SQLITE_FULL": "overload",
    "57P01": "lost",
    "57P02": "lost",
    "57P03": "lost",
    "25P03": "lost",  # idle in transaction for too long
}
DRIVER_ERRORS = (psycopg.Error, sqlite3.Error)
DATABASE_ERRORS = (DBAPIError, *DRIVER_ERRORS, PoolTimeout)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a database error means for the attempt it ended."""

    kind: str  # conflict, lost, unique, overload, bug
    code: str  # SQLSTATE or SQLite's error name; the constraint's name for unique


class Troubles:
    """Tells the troubles of one schema: SQLite names columns where PostgreSQL names the constraint."""

    def __init__(self, metadata: MetaData) -> None:
        self._unique_names = _unique_names(metadata)

    def of(self, error: Exception) -> Trouble:
        """Decide what a database error means, by SQLSTATE, SQLite's error name or the pool."""
        if isinstance(error, PoolTimeout):
            return Trouble("overload", "pool")
        cause: Any = error.orig if isinstance(error, DBAPIError) else error
        code = getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None) or ""
        if code == "23505":
            return Trouble("unique", cause.diag.constraint_name or "")
        if code in ("SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"):
            columns = str(cause).partition(": ")[2]
            return Trouble("unique", self._unique_names.get(columns, columns))
        invalidated = isinstance(error, DBAPIError) and error.connection_invalidated
        no_answer = not code and isinstance(cause, psycopg.OperationalError)
        if invalidated or no_answer or code.startswith("08"):
            return Trouble("lost", code or "connection")
        return Trouble(_KINDS.get(code, "bug"), code)


def _unique_names(metadata: MetaData) -> dict[str, str]:
    """Map SQLite's "table.column, table.column" to the constraint's name."""
    names: dict[str, str] = {}
    for table in metadata.tables.values():
        unique: list[Any] = [c for c in table.constraints if isinstance(c, UniqueConstraint)]
        unique += [index for index in table.indexes if index.unique]
        unique.append(table.primary_key)
        for constraint in unique:
            columns = ", ".join(f"{table.name}.{column.name}" for column in constraint.columns)
            if columns in names:
                raise RuntimeError(f"two unique constraints share {columns}")
            names[columns] = str(constraint.name)
    return names
