"""One effect per key: a retry gets the first answer instead of a second effect.

The answer is stored in the transaction that made it, so there is no moment at which one exists without
the other. Only successes are stored: a refusal may become a success. Stored answers hold no tokens.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, select

from webapp.db import Tx, seconds
from webapp.domain.errors import IdempotencyKeyReused
from webapp.domain.model import IdempotencyKey, table_of
from webapp.domain.rows import insert_many
from webapp.statements import Prepared, inserting

KEPT_SECONDS = 24 * 3600
CONSTRAINT = "pk_idempotency_key"

_KEY = table_of(IdempotencyKey)
_NAMES = ("account_id", "method", "path", "key")
_OF_REQUEST = tuple(_KEY.c[name] == bindparam(name) for name in _NAMES)
_FIND = Prepared(
    select(_KEY.c.request_digest, _KEY.c.status, _KEY.c.answer).where(
        *_OF_REQUEST, _KEY.c.expires_at > bindparam("now")
    )
)
_KEEP = Prepared(inserting(_KEY, {column.name: column.name for column in _KEY.c}))
_FORGET = Prepared(delete(_KEY).where(*_OF_REQUEST, _KEY.c.expires_at <= bindparam("now")))


@dataclass(frozen=True, slots=True)
class Request:
    """A keyed request: whose, which, and what its body was."""

    account_id: uuid.UUID
    method: str
    path: str
    key: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """A stored or storable 2xx answer; `body` is JSON."""

    status: int
    body: dict[str, Any]
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept under a key: to which body, and the answer."""

    digest: bytes
    status: int
    body: dict[str, Any]

    def answer_to(self, request: Request) -> Answer:
        """Return the answer again; raise IdempotencyKeyReused for another body."""
        if self.digest != request.digest:
            raise IdempotencyKeyReused()
        return Answer(self.status, self.body, replayed=True)


def find(tx: Tx, request: Request) -> Answer | None:
    """Return the kept answer to this key; raise IdempotencyKeyReused for another body."""
    row = tx.fetch_one(_FIND, now=tx.now, **_names(request))
    return Kept(*row).answer_to(request) if row else None


def keyed(request: Request, work: Callable[[Tx], Answer]) -> Callable[[Tx], Answer]:
    """Make `work` store its answer under the key; the schema refuses a second one (`CONSTRAINT`)."""

    def perform(tx: Tx) -> Answer:
        answer = work(tx)
        tx.fetch(
            _KEEP,
            request_digest=request.digest,
            status=answer.status,
            answer=answer.body,
            expires_at=tx.now + seconds(KEPT_SECONDS),
            **_names(request),
        )
        return answer

    perform.__qualname__ = getattr(getattr(work, "func", work), "__qualname__", "keyed")
    return perform


def replay(request: Request, work: Callable[[Tx], Answer]) -> Callable[[Tx], Answer]:
    """Make the work for when the key was there first: its answer, or the work again if it has expired."""

    def answer_again(tx: Tx) -> Answer:
        found = find(tx, request)
        if found is not None:
            return found
        tx.fetch(_FORGET, now=tx.now, **_names(request))
        return keyed(request, work)(tx)

    return answer_again


def keep_together(tx: Tx, answers: Sequence[tuple[Request, Answer]]) -> set[Request]:
    """Store several requests' answers, on PostgreSQL; return those whose key nobody was first with."""
    rows = tx.fetch(
        _KEEP_TOGETHER,
        **{name: [getattr(request, name) for request, _ in answers] for name in _NAMES},
        request_digest=[request.digest for request, _ in answers],
        status=[answer.status for _, answer in answers],
        answer=[answer.body for _, answer in answers],
        expires_at=[tx.now + seconds(KEPT_SECONDS)] * len(answers),
    )
    kept = set(rows)
    return {
        request
        for request, _ in answers
        if tuple(getattr(request, name) for name in _NAMES) in kept
    }


_KEEP_TOGETHER = Prepared(
    insert_many(_KEY, [column.name for column in _KEY.c])
    .on_conflict_do_nothing(index_elements=[_KEY.c[name] for name in _NAMES])
    .returning(*(_KEY.c[name] for name in _NAMES))
)


def forget_expired(tx: Tx, limit: int = 1_000) -> int:
    """Delete up to `limit` answers past their time; return how many."""
    expired = (
        select(*(_KEY.c[name] for name in _NAMES))
        .where(IdempotencyKey.expires_at <= tx.now)
        .order_by(IdempotencyKey.expires_at)
        .limit(limit)
    )
    rows = tx.execute(expired).all()
    for row in rows:
        tx.fetch(_FORGET, now=tx.now, **row._mapping)
    return len(rows)


def _names(request: Request) -> dict[str, Any]:
    return {name: getattr(request, name) for name in _NAMES}
