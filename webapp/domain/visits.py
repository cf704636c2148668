"""Who sends a keyed request, and what was answered to it before: both in one statement.

Nearly every keyed request is new, and would ask a second time only to hear that nothing is there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam

from webapp.db import Tx
from webapp.domain import accounts
from webapp.domain.accounts import Person
from webapp.domain.idempotency import Kept
from webapp.domain.model import IdempotencyKey, LoginSession, table_of
from webapp.domain.rows import many
from webapp.statements import Prepared

_SESSION = table_of(LoginSession)
_KEY = table_of(IdempotencyKey)


@dataclass(frozen=True, slots=True)
class Visit:
    """What a keyed request shows: its session's digest, and what its key belongs to."""

    digest: bytes
    method: str
    path: str
    key: str


Found = tuple[tuple[Person, str], Kept | None]


def find_visit(tx: Tx, visit: Visit) -> Found | None:
    """Return `accounts.find_session`, and what is kept under the key. One statement."""
    values = {name: getattr(visit, name) for name in Visit.__slots__}
    row = tx.fetch_one(_FIND_ONE, now=tx.now, **values)
    return _found(tx, row) if row else None


def find_visits(tx: Tx, visits: Sequence[Visit]) -> list[Found | None]:
    """Do `find_visit` for several requests in one statement, on PostgreSQL."""
    values = {name: [getattr(visit, name) for visit in visits] for name in Visit.__slots__}
    rows = tx.fetch(_FIND_MANY, now=tx.now, **values)
    found = {Visit(*row[:4]): _found(tx, row[4:]) for row in rows}
    return [found.get(visit) for visit in visits]


def _found(tx: Tx, row: tuple[Any, ...]) -> Found:
    *session, digest, status, body = row
    kept = None if digest is None else Kept(digest, status, body)
    return accounts.bearer(tx, session[1:]), kept


def _finding(of: Mapping[str, ColumnElement[Any]], asked: Any) -> Prepared:
    kept = and_(
        _KEY.c.account_id == _SESSION.c.account_id,
        *(_KEY.c[name] == of[name] for name in ("method", "path", "key")),
        _KEY.c.expires_at > bindparam("now"),
    )
    columns = (_KEY.c.request_digest, _KEY.c.status, _KEY.c.answer)
    return Prepared(asked.outerjoin(_KEY, kept).add_columns(*columns))


_ASKED: dict[str, ColumnElement[Any]] = {name: bindparam(name) for name in Visit.__slots__}
_FIND_ONE = _finding(_ASKED, accounts.BEARERS.where(_SESSION.c.digest == _ASKED["digest"]))
_GIVEN = many(_SESSION.c.digest, _KEY.c.method, _KEY.c.path, _KEY.c.key)
_FIND_MANY = _finding(
    _GIVEN.c,
    accounts.BEARERS.with_only_columns(*_GIVEN.c, *accounts.BEARERS.selected_columns).join(
        _GIVEN, _GIVEN.c.digest == _SESSION.c.digest
    ),
)
