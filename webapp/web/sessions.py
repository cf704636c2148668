"""Signing up, in and out, once for the API and the pages.

Promises:

1. Passwords are hashed with argon2id (OWASP: 19 MiB, two passes, one lane) outside any transaction.
2. Signing in takes as long for an unknown address as for a wrong password, and says no more.
3. A session token is 32 random bytes, known to its owner only: the database keeps its digest.
4. Attempts are counted per account and per network address over all workers (`throttle`).
"""

import re
import secrets
import uuid
from datetime import datetime, timedelta

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from webapp.db import Tx
from webapp.domain import accounts
from webapp.domain.accounts import NewAccount, Person
from webapp.web import throttle
from webapp.web.failures import Rejected
from webapp.web.house import House
from webapp.web.inputs import EMAIL_PATTERN

HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_NOBODY = HASHER.hash(secrets.token_hex())
_EMAIL = re.compile(EMAIL_PATTERN)


def sign_up(
    house: House, email: str, password: str, name: str, address: str | None = None
) -> Person:
    """Open a customer's account with an empty wallet; raise EmailTaken or TooManyAttempts.

    The values are those that `inputs.SignUp` let through; `address` is a public one or None.
    """
    house.throttle.count(throttle.SIGN_UP_FROM, address)
    house.throttle.count(throttle.SIGN_UP, email.strip().lower())
    person = Person(uuid.uuid4(), email.strip().lower(), name, "customer")
    new = NewAccount(
        person.id, person.email, person.name, person.role, password_hash=HASHER.hash(password)
    )
    house.db.transact(accounts.create, [new], house.config.currency, _lifetime(house))
    return person


def sign_in(
    house: House, email: str, password: str, address: str | None = None
) -> tuple[str, datetime]:
    """Return a new session token and its end; raise Rejected (401) or TooManyAttempts."""
    email = email.strip().lower()
    house.throttle.count(throttle.SIGN_IN_FROM, address)
    house.throttle.count(throttle.SIGN_IN, email)
    known = house.db.lookup(accounts.find_credentials, email) if _EMAIL.match(email) else None
    kept = known.password_hash if known is not None else None
    if not _matches(kept or _NOBODY, password) or known is None or kept is None:
        raise Rejected(401, "bad_credentials")
    token, key = secrets.token_urlsafe(32), house.throttle.key(throttle.SIGN_IN, email)
    expires_at = house.db.transact(
        _open, key, known.account_id, accounts.digest(token), _lifetime(house)
    )
    return token, expires_at


def _open(
    tx: Tx, key: str, account_id: uuid.UUID, session_digest: bytes, lifetime: timedelta
) -> datetime:
    accounts.forget_attempts(tx, key)
    return accounts.open_session(tx, account_id, session_digest, lifetime)


def sign_out(house: House, token: str) -> None:
    """End a session. A second time changes nothing."""
    house.db.transact(accounts.close_session, accounts.digest(token))


def _matches(kept: str, password: str) -> bool:
    try:
        return HASHER.verify(kept, password)
    except VerificationError:
        return False


def _lifetime(house: House) -> timedelta:
    return timedelta(hours=house.config.session_hours)
