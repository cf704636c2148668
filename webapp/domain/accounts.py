"""Who somebody is: accounts, sign-in sessions, and how often one may try.

Passwords are hashed outside any transaction (33 ms each); only digests of session tokens are stored.
"""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ARRAY, LargeBinary, any_, bindparam, case, delete, insert, select, update

from webapp.db import Tx, make, seconds
from webapp.domain.model import Account, LedgerEntry, LoginSession, RateLimit, Wallet, table_of
from webapp.domain.rows import UPSERT
from webapp.statements import Prepared


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is signed in."""

    id: uuid.UUID
    email: str
    name: str
    role: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """What signing in compares with."""

    account_id: uuid.UUID
    password_hash: str | None


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An account to be made, with its first balance and, in bulk, its session."""

    id: uuid.UUID
    email: str
    name: str
    role: str = "customer"
    password_hash: str | None = None
    balance_minor: int = 0
    ledger_id: uuid.UUID | None = None
    session_digest: bytes | None = None


def digest(token: str) -> bytes:
    """Return what is stored of a session token: SHA-256, 32 bytes. The token is random, so no salt."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def create(tx: Tx, new: Sequence[NewAccount], currency: str, session_lifetime: timedelta) -> None:
    """Make accounts with their wallets; the schema refuses an address twice (EmailTaken)."""
    tx.execute(
        insert(Account),
        [
            {
                "id": account.id,
                "email": account.email,
                "name": account.name,
                "role": account.role,
                "password_hash": account.password_hash,
                "created_at": tx.now,
            }
            for account in new
        ],
    )
    tx.execute(
        insert(Wallet),
        [
            {"account_id": account.id, "balance_minor": account.balance_minor, "currency": currency}
            for account in new
        ],
    )
    funded = [account for account in new if account.balance_minor]
    if funded:
        _fund(tx, funded)
    signed_in = [account for account in new if account.session_digest]
    if signed_in:
        _sign_in(tx, signed_in, session_lifetime)
    tx.record(
        "accounts_opened",
        accounts=[str(account.id) for account in new],
        currency=currency,
        credits=[[str(a.id), str(a.ledger_id), a.balance_minor] for a in funded],
    )


def _fund(tx: Tx, funded: Sequence[NewAccount]) -> None:
    """Say in the ledger where the first balances come from."""
    rows = [
        {
            "id": account.ledger_id,
            "account_id": account.id,
            "kind": "top_up",
            "amount_minor": account.balance_minor,
            "at": tx.now,
        }
        for account in funded
    ]
    tx.execute(insert(LedgerEntry), rows)


def _sign_in(tx: Tx, signed_in: Sequence[NewAccount], lifetime: timedelta) -> None:
    """Open the sessions of accounts made in bulk, in one statement."""
    rows = [
        {
            "digest": account.session_digest,
            "account_id": account.id,
            "created_at": tx.now,
            "expires_at": tx.now + lifetime,
        }
        for account in signed_in
    ]
    tx.execute(insert(LoginSession), rows)


def open_session(
    tx: Tx, account_id: uuid.UUID, session_digest: bytes, lifetime: timedelta
) -> datetime:
    """Sign an account in; return when the session expires.

    Twice is once: it writes no journal, so after a COMMIT without an answer it is simply done again.
    """
    expires_at = tx.now + lifetime
    statement = UPSERT[tx.connection.dialect.name](table_of(LoginSession)).values(
        digest=session_digest, account_id=account_id, created_at=tx.now, expires_at=expires_at
    )
    tx.execute(
        statement.on_conflict_do_update(
            index_elements=["digest"], set_={"expires_at": statement.excluded.expires_at}
        )
    )
    return expires_at


def close_session(tx: Tx, session_digest: bytes) -> None:
    """Sign out. A second time changes nothing."""
    tx.execute(
        update(LoginSession)
        .where(LoginSession.digest == session_digest, LoginSession.revoked_at.is_(None))
        .values(revoked_at=tx.now)
    )


BEARERS = select(
    LoginSession.digest,
    Account.id,
    Account.email,
    Account.name,
    Account.role,
    LoginSession.expires_at,
    LoginSession.revoked_at,
).join(Account, Account.id == LoginSession.account_id)
_FIND_SESSION = Prepared(BEARERS.where(LoginSession.digest == bindparam("digest")))
_FIND_SESSIONS = Prepared(
    BEARERS.where(LoginSession.digest == any_(bindparam("digests", type_=ARRAY(LargeBinary))))
)


def find_session(tx: Tx, session_digest: bytes) -> tuple[Person, str] | None:
    """Return who a session belongs to and its state: live, expired or revoked. One statement."""
    row = tx.fetch_one(_FIND_SESSION, digest=session_digest)
    return bearer(tx, row[1:]) if row else None


def find_sessions(tx: Tx, digests: Sequence[bytes]) -> list[tuple[Person, str] | None]:
    """Do `find_session` for several digests in one statement, on PostgreSQL."""
    rows = tx.fetch(_FIND_SESSIONS, digests=list(digests))
    found = {row[0]: bearer(tx, row[1:]) for row in rows}
    return [found.get(digest) for digest in digests]


def bearer(tx: Tx, row: Sequence[Any]) -> tuple[Person, str]:
    """Make of a row of BEARERS, without its digest, whose session it is and its state."""
    *person, expires_at, revoked_at = row
    state = "revoked" if revoked_at else "expired" if expires_at <= tx.now else "live"
    return Person(*person), state


def find_credentials(tx: Tx, email: str) -> Credentials | None:
    """Return what a sign-in with this address has to match."""
    row = tx.execute(
        select(Account.id, Account.password_hash).where(Account.email == email.strip().lower())
    ).one_or_none()
    return make(Credentials, row) if row else None


def find_person(tx: Tx, email: str) -> Person | None:
    """Return whose account has this address."""
    row = tx.execute(
        select(Account.id, Account.email, Account.name, Account.role).where(
            Account.email == email.strip().lower()
        )
    ).one_or_none()
    return make(Person, row) if row else None


def count_attempt(tx: Tx, key: str, limit: int, window_seconds: int, hits: int = 1) -> int:
    """Count attempts under `key`; return how many seconds to wait, 0 when they are within the limit.

    Exact over any number of workers. It returns instead of raising: a refusal would roll the count back.
    """
    table = table_of(RateLimit)
    statement = UPSERT[tx.connection.dialect.name](table).values(
        key=key, window_starts_at=tx.now, hits=hits
    )
    over = table.c.window_starts_at <= tx.now - seconds(window_seconds)
    row = tx.execute(
        statement.on_conflict_do_update(
            index_elements=[table.c.key],
            set_={
                "hits": case((over, hits), else_=table.c.hits + hits),
                "window_starts_at": case((over, tx.now), else_=table.c.window_starts_at),
            },
        ).returning(table.c.hits, table.c.window_starts_at)
    ).one()
    if row.hits <= limit:
        return 0
    window_ends_at: datetime = row.window_starts_at + seconds(window_seconds)
    return max(1, round((window_ends_at - tx.now).total_seconds()))


def forget_attempts(tx: Tx, key: str) -> None:
    """Start counting anew under `key`: a success is no attempt against anybody."""
    tx.execute(delete(RateLimit).where(RateLimit.key == key))


def find_stale_attempts(tx: Tx, limit: int) -> list[str]:
    """Return keys of attempts whose windows ended long ago."""
    stale = select(RateLimit.key).where(RateLimit.window_starts_at <= _long_ago(tx))
    return list(tx.execute(stale.limit(limit)).scalars())


def forget_stale_attempts(tx: Tx, keys: Sequence[str]) -> int:
    """Delete what is counted under `keys`, unless somebody has tried again since; return how many."""
    deleted = delete(RateLimit).where(
        RateLimit.key.in_(sorted(keys)), RateLimit.window_starts_at <= _long_ago(tx)
    )
    return len(tx.execute(deleted.returning(RateLimit.key)).all())


def _long_ago(tx: Tx) -> datetime:
    return tx.now - timedelta(days=1)  # longer than any window
