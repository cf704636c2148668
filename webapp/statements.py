"""The hot path's statements: compiled once, then handed to the driver as they are.

SQLAlchemy Core finds its compiled statement, its conversions and its result's columns anew each time,
which costs more than the driver and the network together. Promises:

1. Text, parameters and rows are what SQLAlchemy would have made of them, by the same types.
2. Nothing is rendered when a statement runs: the number of its parameters is fixed. An IN over a list
   needs one `Prepared` for each length.
3. Whoever listens to an engine's `do_execute` hears of each of them.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

from sqlalchemy import ClauseElement, Connection, Dialect, Insert, Table, bindparam, insert
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.selectable import ReturnsRows

Convert = Callable[[Any], Any]
Rows = list[tuple[Any, ...]]


def inserting(table: Table, *rows: Mapping[str, str]) -> Insert:
    """Make an INSERT of `rows`, each from column to the name of its parameter.

    Inline, for nobody asks which serial numbers the rows got.
    """
    values = [
        {column: bindparam(name, type_=table.c[column].type) for column, name in row.items()}
        for row in rows
    ]
    return insert(table).inline().values(values if len(values) > 1 else values[0])


class Prepared:
    """A Core statement, or one for each database, that the driver runs without SQLAlchemy's help."""

    def __init__(self, statement: Any | Mapping[str, Any]) -> None:
        self._statement = statement
        self._compiled: dict[str, _Compiled] = {}

    def run(
        self, connection: Connection, cursor: DBAPICursor, parameters: Mapping[str, Any]
    ) -> Rows:
        """Run it on `cursor`, one of `connection`'s; return all rows. Raises the driver's errors."""
        dialect = connection.dialect
        compiled = self._compiled.get(dialect.name) or self._compile(dialect)
        given = compiled.bind(parameters)
        for listener in dialect.dispatch.do_execute:
            listener(cursor, compiled.text, given, None)
        cursor.execute(compiled.text, given)
        return compiled.rows(cursor)

    def _compile(self, dialect: Dialect) -> "_Compiled":
        statement = self._statement
        if isinstance(statement, Mapping):
            statement = statement[dialect.name]
        compiled = self._compiled[dialect.name] = _Compiled(statement, dialect)
        return compiled


class _Compiled:
    """What one dialect makes of a statement."""

    def __init__(self, statement: ClauseElement, dialect: Dialect) -> None:
        compiled = cast(SQLCompiler, statement.compile(dialect=dialect))
        self.text = str(compiled)
        if "POSTCOMPILE" in self.text:
            raise ValueError(f"to be rendered each time: {self.text}")
        self._constants = {k: v for k, v in compiled.params.items() if v is not None}
        self._constants |= {c.key: cast(Any, c.default).arg for c in compiled.prefetch}
        self._order = compiled.positiontup
        converts = (
            (name, bind.type.dialect_impl(dialect).bind_processor(dialect))
            for bind, name in compiled.bind_names.items()
        )
        self._converts: dict[str, Convert] = {name: c for name, c in converts if c is not None}
        columns = list(cast(ReturnsRows, statement).exported_columns)
        readers = (c.type.dialect_impl(dialect).result_processor(dialect, None) for c in columns)
        self._readers: list[tuple[int, Convert]] = [
            (place, reader) for place, reader in enumerate(readers) if reader is not None
        ]
        self._returns = bool(columns)

    def bind(self, parameters: Mapping[str, Any]) -> Any:
        given = {**self._constants, **parameters}
        for name, convert in self._converts.items():
            given[name] = convert(given[name])
        return tuple(given[name] for name in self._order) if self._order else given

    def rows(self, cursor: DBAPICursor) -> Rows:
        if not self._returns:
            return []
        rows = cursor.fetchall()
        if not self._readers:
            return cast(Rows, rows)
        return [self._read(row) for row in rows]

    def _read(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        values = list(row)
        for place, reader in self._readers:
            values[place] = reader(values[place])
        return tuple(values)
