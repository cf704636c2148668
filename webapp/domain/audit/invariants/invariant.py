"""What an invariant is: things to count, and queries that find what breaks it."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, case, func, select
from sqlalchemy.sql.elements import SQLCoreOperations

from webapp.domain.model import Base, Instant

Query = Select[*tuple[Any, ...]]
Broken = tuple[Query, str]  # what is wrong, and the sentence that each row of it fills in
INSTANT = bindparam("instant", type_=Instant())


@dataclass(frozen=True, slots=True)
class Invariant:
    """One check."""

    name: str
    things: str
    counted: Query
    broken: tuple[Broken, ...]


def invariant(name: str, things: str, counted: Query, *broken: Broken) -> Invariant:
    """Make an invariant that each of `broken` breaks."""
    return Invariant(name, things, counted, broken)


def told(**columns: Any) -> Query:
    """Select columns by the names that a sentence has for them."""
    return select(*(column.label(name) for name, column in columns.items()))


def count_of(model: type[Base], *conditions: ColumnElement[bool]) -> Query:
    """Count a table's rows."""
    return select(func.count()).select_from(model).where(*conditions)


def number_of(condition: SQLCoreOperations[bool]) -> ColumnElement[int]:
    """Count a group's rows that fulfil a condition."""
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)
