"""Whose a session token is: read from a header, looked up by its digest, judged by what was found."""

import re

from webapp.domain import accounts
from webapp.domain.accounts import Person
from webapp.web.failures import Rejected

_TOKEN = re.compile(r"[A-Za-z0-9_-]{32,200}\Z")  # anything else was never given out


def read(authorization: str) -> str | None:
    """Return the token of an Authorization header, None where it is of another kind."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def digest(token: str | None) -> bytes:
    """Return by what a session is looked up; raise Rejected (401) for what is no token."""
    if not token:
        raise Rejected(401, "session_missing")
    if not _TOKEN.match(token):
        raise Rejected(401, "session_invalid")
    return accounts.digest(token)


def judge(found: tuple[Person, str] | None) -> Person:
    """Return whose live session was found; raise Rejected (401)."""
    if found is None or found[1] == "revoked":
        raise Rejected(401, "session_invalid")
    if found[1] == "expired":
        raise Rejected(401, "session_expired")
    return found[0]
