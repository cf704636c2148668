"""Changing one row by its primary key without locking its neighbours.

Under SERIALIZABLE PostgreSQL remembers each index page that a statement searched, and takes whatever
another transaction inserts on that page for something the search has missed. Rows of the same moment
share a page, and so customers of the same moment aborted each other for nothing: 400 who joined, held
and paid at 32 connections made 617 retries, 400 who chose four times 3,732, and 265 gave up (measured;
with this none). HOT updates are no help against the inserts of others.

So the hot path finds its row as INSERT … ON CONFLICT DO UPDATE does: past the snapshot, remembering no
page, locking the row, and failing with 40001 if somebody has changed it since. What is decided depends
on that row alone, so its lock is all that serializability asks for. Promises:

1. A `Change` changes the row if it fits the condition and returns it, else it returns None; the row is
   locked until the transaction ends, either way.
2. It never makes a row. For a key that is not there it raises a refusal (of many rows at once: it
   leaves the key out), and what the database has inserted by then goes with the rollback.
"""

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Dialect,
    Integer,
    LargeBinary,
    String,
    Table,
    Uuid,
    and_,
    any_,
    bindparam,
    cast,
    column,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import TypeEngine, UserDefinedType

from webapp.db import Tx
from webapp.domain.errors import NotFound, Refusal
from webapp.domain.model import Document, Instant
from webapp.statements import Prepared

UPSERT: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}

# What the row that is never made would consist of; literals, because parameters are sent each time.
_NOTHING: dict[type, str] = {
    Uuid: "'00000000000000000000000000000000'",
    Integer: "0",
    BigInteger: "0",
    String: "''",
    Instant: "'1970-01-01 00:00:00.000000'",
    type(Document): "'[]'",
}


class Change:
    """A statement that changes one row of `table` by its primary key, made once for each database.

    `values` and `where` may name parameters; the key's are named as its columns, and so are those of
    `given`, which each row has its own of: they are met as `given_of(column)`. `returning` names
    columns, the key's if it is empty. `missing` is raised for a key that is not there.
    """

    def __init__(
        self,
        table: Table,
        values: Mapping[str, Any],
        *where: ColumnElement[bool],
        given: Sequence[str] = (),
        returning: Sequence[str] = (),
        missing: type[Refusal] = NotFound,
    ) -> None:
        self._missing = missing
        key = list(table.primary_key.columns)
        own = [*key, *(table.c[name] for name in given)]
        # A column that the change leaves alone tells the row that was not there.
        left = [c for c in table.c if c not in set(own) and c.name not in values]
        mark = left[0]
        nothing: dict[str, ColumnElement[Any]] = {
            c.name: literal_column(_NOTHING[type(c.type)])
            for c in table.c
            if c is mark or not (c.nullable or c in set(own))
        }
        returned = [table.c[name] for name in returning] or key

        def changing(statement: Any) -> Any:
            return statement.on_conflict_do_update(
                index_elements=key, set_=values, where=and_(true(), *where)
            ).returning(*returned, mark == nothing[mark.name])

        one = {c.name: bindparam(c.name, type_=c.type) for c in own} | nothing
        self._statement = Prepared(
            {dialect: changing(upsert(table).values(one)) for dialect, upsert in UPSERT.items()}
        )
        names = [c.name for c in own] + list(nothing)
        self._together = Prepared(
            {
                # SQLite takes the ON CONFLICT after a SELECT without WHERE for a join's condition.
                dialect: changing(
                    upsert(table).from_select(
                        names, select(*_MANY[dialect](*own), *nothing.values()).where(true())
                    )
                )
                for dialect, upsert in UPSERT.items()
            }
        )

    def run(self, tx: Tx, **parameters: Any) -> tuple[Any, ...] | None:
        """Change the row whose key is among `parameters`; return its columns, or None."""
        changed = tx.fetch_one(self._statement, **parameters)
        if changed is None:
            return None
        *columns, is_nothing = changed
        if is_nothing:
            raise self._missing()
        return tuple(columns)

    def run_together(self, tx: Tx, **parameters: Any) -> list[tuple[Any, ...]]:
        """Change many rows at once; return the columns of those that fitted.

        Of what each row has its own of, `parameters` has lists. A key that is not there fits nothing, or
        breaks the statement where another constraint meets it; it spoils the transaction, for what was
        inserted by then has to go with the rollback.
        """
        rows = tx.fetch(self._together, **parameters)
        if any(row[-1] for row in rows):
            tx.failed = True
        return [row[:-1] for row in rows if not row[-1]]


def many(*columns: Column[Any]) -> Any:
    """Make rows of lists, one for each column and named as it (PostgreSQL): one statement for any number."""
    named = (column(c.name, c.type) for c in columns)
    lists = map(list_for, columns)
    return func.unnest(*lists).table_valued(*named, name="given").render_derived()


def _unnested(*columns: Column[Any]) -> Sequence[ColumnElement[Any]]:
    """Make rows of lists on PostgreSQL."""
    return list(many(*columns).c)


def _in_json(*columns: Column[Any]) -> Sequence[ColumnElement[Any]]:
    """Make rows of lists on SQLite."""
    lists = {c.name: bindparam(c.name, type_=_Json()) for c in columns}
    first, *others = lists
    each = func.json_each(lists[first]).table_valued("value", "fullkey")
    return [each.c.value, *(func.json_extract(lists[name], each.c.fullkey) for name in others)]


_MANY = {"postgresql": _unnested, "sqlite": _in_json}


def among_lists(make: Callable[..., Any], *columns: Column[Any]) -> Prepared:
    """Make ready the statement that `make` returns when it is given, for each column, that it is one of a list.

    A list is one parameter, named as its column: nothing is rendered for each of its elements.
    """
    return Prepared({database: make(*map(among, columns)) for database, among in _AMONG.items()})


def _among_array(one: Column[Any]) -> ColumnElement[bool]:
    return one == any_(list_for(one))


def _among_json(one: Column[Any]) -> ColumnElement[bool]:
    elements = func.json_each(bindparam(one.name, type_=_Json())).table_valued("value")
    return one.in_(select(elements.c.value))


_AMONG = {"postgresql": _among_array, "sqlite": _among_json}


def list_for(one: Column[Any]) -> ColumnElement[Any]:
    """Make the parameter that takes a list of values for a column and is named as it (PostgreSQL)."""
    return cast(bindparam(one.name, type_=_Literal(one.type)), postgresql.ARRAY(one.type))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_ELEMENT: dict[type, Callable[[Any], str]] = {
    Uuid: str,
    Integer: str,
    BigInteger: str,
    String: _quoted,
    Instant: lambda at: _quoted(at.isoformat()),
    LargeBinary: lambda data: _quoted(f"\\x{data.hex()}"),
    type(Document): lambda body: _quoted(json.dumps(body)),
}


class _Literal(UserDefinedType[Sequence[Any]]):
    """A list as PostgreSQL reads it. The driver looks at each element for its type, which took a third
    of a group's time (measured).
    """

    cache_ok = True

    def __init__(self, of: TypeEngine[Any]) -> None:
        self.of = of

    def bind_processor(self, dialect: Dialect) -> Callable[[Sequence[Any] | None], str]:
        element = _ELEMENT[type(self.of)]

        def literal(values: Sequence[Any] | None) -> str:
            texts = ("NULL" if value is None else element(value) for value in values or ())
            return "{" + ",".join(texts) + "}"

        return literal


class _Json(UserDefinedType[Sequence[Any]]):
    """A list of ids or numbers as SQLite's json_each reads it."""

    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[Sequence[Any] | None], str]:
        def literal(values: Sequence[Any] | None) -> str:
            return json.dumps([v.hex if isinstance(v, uuid.UUID) else v for v in values or ()])

        return literal


def inserting_many(table: Table, names: Sequence[str]) -> Prepared:
    """Make ready what `insert_many` makes."""
    return Prepared(insert_many(table, names))


def insert_many(table: Table, names: Sequence[str]) -> Any:
    """Make an INSERT of rows that are given as lists, one for each of the columns named (PostgreSQL)."""
    rows = many(*(table.c[name] for name in names))
    return postgresql.insert(table).inline().from_select(list(names), select(*rows.c))


def given_of(one: Column[Any]) -> ColumnElement[Any]:
    """What a row was given for a column, beside what is there."""
    return literal_column(f"excluded.{one.name}", one.type)
