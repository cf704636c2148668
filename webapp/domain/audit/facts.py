"""Two accounts of the same things, compared without keeping either.

A fact is a tuple: the id of what it is about (32 hex digits, or a number), a verb, and values. The id chooses
one of a few thousand buckets, and the fact's digest is added to it, for the second side subtracted. Every
bucket zero: both sides said the same, each fact as often (a chance of 2**-64 aside). Buckets that are not
zero are read again with a `Lens`, which keeps their facts. So a million facts cost a few thousand numbers,
and a difference is still named by its id.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Select, String, Text, cast, func

from webapp.db import Tx
from webapp.domain.audit.findings import Findings

Fact = tuple[Any, ...]
BUCKETS = 4096
FETCHED = 5_000  # rows at a time
_MASK = BUCKETS - 1
_DECODE = json.JSONDecoder().raw_decode


def _digest(fact: Fact) -> int:
    """Return 64 bits that may be added up.

    A tuple's own hash is nearly linear in its numbers: two prices swapped between two seats had the same
    sum in one of three tries (measured). The hash of text is SipHash with a key for each process.
    """
    return hash(str(hash(fact)))


class Sink(Protocol):
    """Where the facts of two sides go."""

    def put(self, fact: Fact) -> None:
        """Hear a fact from the first side."""

    def take(self, fact: Fact) -> None:
        """Hear a fact from the second side."""


class Tally:
    """The difference of two sides, as numbers."""

    def __init__(self) -> None:
        self._sums = [0] * BUCKETS
        self.count = 0

    def put(self, fact: Fact) -> None:
        """Hear a fact from the first side."""
        self._sums[hash(fact[0]) & _MASK] += _digest(fact)
        self.count += 1

    def take(self, fact: Fact) -> None:
        """Hear a fact from the second side."""
        self._sums[hash(fact[0]) & _MASK] -= _digest(fact)

    def suspects(self) -> list[int]:
        """Return the buckets in which the sides differ; each holds at least one difference."""
        return [bucket for bucket, total in enumerate(self._sums) if total]


class Lens:
    """The facts of a few buckets themselves."""

    def __init__(self, buckets: Iterable[int]) -> None:
        self._buckets = frozenset(buckets)
        self.facts: Counter[Fact] = Counter()

    def put(self, fact: Fact) -> None:
        """Hear a fact from the first side."""
        if hash(fact[0]) & _MASK in self._buckets:
            self.facts[fact] += 1

    def take(self, fact: Fact) -> None:
        """Hear a fact from the second side."""
        if hash(fact[0]) & _MASK in self._buckets:
            self.facts[fact] -= 1


@dataclass(frozen=True, slots=True)
class Wording:
    """How to speak of a difference: the thing's noun, each verb's values, and who the sides are."""

    noun: str
    values: Mapping[str, tuple[str, ...]]
    first: str
    second: str

    def tell(self, lens: Lens, findings: Findings) -> None:
        """Note every difference that a lens saw, those about one thing together."""
        sides: dict[tuple[Any, str], tuple[list[Fact], list[Fact]]] = defaultdict(lambda: ([], []))
        for fact, surplus in lens.facts.items():
            if surplus:
                side = sides[fact[0], fact[1]][surplus < 0]
                side += [fact] * abs(surplus)
        for (thing, verb), (first, second) in sorted(sides.items(), key=str):
            for sentence in self._compare(verb, first, second):
                findings.note(f"{self.noun} {readable(thing)} {verb}: {sentence}")

    def _compare(self, verb: str, first: list[Fact], second: list[Fact]) -> Iterator[str]:
        names = self.values[verb]
        if len(first) == len(second) == 1:
            for name, one, other in zip(names, first[0][2:], second[0][2:], strict=True):
                if one != other:
                    yield (
                        f"{name} is {readable(one)} in {self.first}, "
                        f"{readable(other)} in {self.second}"
                    )
            return
        for side, facts in ((self.first, first), (self.second, second)):
            for fact in facts:
                pairs = zip(names, fact[2:], strict=True)
                told = ", ".join(f"{name} {readable(value)}" for name, value in pairs)
                yield f"one too many in {side} ({told})"


def readable(value: Any) -> str:
    """Write a value of a fact as an operator reads it."""
    if isinstance(value, str) and len(value) == 32:
        return "-".join((value[:8], value[8:12], value[12:16], value[16:20], value[20:]))
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple):
        return "[" + ", ".join(readable(item) for item in value) + "]"
    return "nothing" if value is None else str(value)


def hex_of(column: Any) -> ColumnElement[str]:
    """Read an id as 32 hex digits on both databases; as UUID objects it takes four times as long (measured)."""
    return func.replace(cast(column, String), "-", "")


def stream(tx: Tx, statement: Select[*tuple[Any, ...]]) -> Iterator[Any]:
    """Read rows through a cursor on the server: a few thousand of them are here at a time."""
    return iter(tx.execute(statement.execution_options(yield_per=FETCHED)))


def text_of(column: Any) -> ColumnElement[str]:
    """Read JSON as text, for `parsed`: psycopg's own way takes three times as long (measured)."""
    return cast(column, Text)


def parsed(text: str) -> Any:
    """Parse what `text_of` read."""
    return _DECODE(text)[0]


def pairs(seats: Any) -> Fact:
    """Turn a hold's list into what a fact may hold; what is no list of pairs stays what it says."""
    try:
        return tuple([(seat_no, price_minor) for seat_no, price_minor in seats])
    except (TypeError, ValueError):
        return ((repr(seats), None),)
