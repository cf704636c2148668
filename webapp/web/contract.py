"""What one call of the API is made of: its route, its needs, its answers and how it may refuse.

The routes are made from it and so is the OpenAPI document: neither can say what the other does not.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from webapp.domain.errors import Refusal
from webapp.web import failures, guards
from webapp.web.tokens import Kind

BASE = "/api/v1"
PARAMETER = re.compile(r"<(?:(\w+):)?(\w+)>")

# The web's own refusals; the domain's are found by their classes.
STATUSES: dict[str, int] = {
    "malformed": 400,
    "idempotency_key_missing": 400,
    "idempotency_key_refused": 400,
    "bad_credentials": 401,
    "session_missing": 401,
    "session_invalid": 401,
    "session_expired": 401,
    "token_missing": 401,
    "token_malformed": 401,
    "token_invalid": 401,
    "token_expired": 401,
    "token_wrong_performance": 403,
    "token_wrong_customer": 403,
    "role_missing": 403,
    "challenge_required": 403,
    "too_large": 413,
    "poll_too_soon": 429,
    "busy": 503,
    "outcome_unknown": 503,
}
_SESSION = ("session_missing", "session_invalid", "session_expired")
_TOKEN = ("token_missing", "token_malformed", "token_invalid", "token_wrong_customer")


def refusals(family: type[Refusal] = Refusal) -> Iterator[type[Refusal]]:
    """Yield every refusal of the domain."""
    for leaf in family.__subclasses__():
        yield leaf
        yield from refusals(leaf)


def status_of(code: str) -> int:
    """Return the HTTP status of a refusal's code."""
    return STATUSES.get(code) or next(leaf.status for leaf in refusals() if leaf.code == code)


def title_of(code: str) -> str:
    """Return what people read for a code."""
    return failures.TITLES.get(code) or next(
        str(leaf.__doc__).splitlines()[0] for leaf in refusals() if leaf.code == code
    )


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of the API: everything its route and its document are made of.

    `key` says what an Idempotency-Key does: it is required, kept, only checked, or refused. `first` gets
    the path's values and refuses from memory what would be refused anyway, before any statement.
    """

    method: Literal["get", "post", "delete"]
    rule: str
    view: Callable[..., Any]
    guard: Callable[[Any], Any]
    answers: Mapping[int, Any]  # status → a shape, a media type, or None for no content
    codes: Sequence[str] = ()  # beyond those that follow from the other fields
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    token: Kind | None = None
    token_may_be_over: bool = False
    key: Literal["required", "kept", "checked", "refused", ""] = ""
    first: Callable[..., object] | None = None
    may_send: Sequence[str] = ()  # headers of a request that need not be there
    headers: Sequence[str] = ()  # beyond those that every answer has

    @property
    def path(self) -> str:
        """The path as OpenAPI writes it."""
        return PARAMETER.sub(r"{\2}", self.rule)

    @property
    def keeps(self) -> bool:
        """Whether an answer may be kept under a key and given again."""
        return self.key in ("required", "kept")

    def refused_with(self) -> list[str]:
        """Return every code that this operation may refuse with."""
        takes_key = self.keeps or self.key == "checked"
        # Signing in and out records nothing that could be in doubt: it is simply done again.
        records = self.method != "get" and not self.rule.startswith("/sessions")
        follows: tuple[tuple[object, Sequence[str]], ...] = (
            (True, self.codes),
            (self.guard is not guards.public, _SESSION),
            (self.guard is guards.door, ("role_missing",)),
            (self.token, _TOKEN),
            (self.token and not self.token_may_be_over, ("token_expired",)),
            (self.body, ("malformed", "too_large")),
            (self.body or self.query or takes_key, ("invalid",)),
            (self.key == "required", ("idempotency_key_missing",)),
            (self.keeps, ("idempotency_key_reused",)),
            (self.key == "refused", ("idempotency_key_refused",)),
            (True, ("busy",)),
            (records, ("outcome_unknown",)),
        )
        return [code for applies, codes in follows if applies for code in codes]
