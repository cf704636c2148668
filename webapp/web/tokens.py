"""The two JWT kinds: waiting and access. They are never interchangeable.

Promises:

1. One pinned algorithm; `typ aud iss sub jti iat exp` and `kid` are required; `kid` names the current
   key or the previous one, so that keys rotate with overlap.
2. Times are compared with the database's clock, not with this machine's.
3. A bad token is refused with a reason before any database work, in microseconds.
4. A token says where somebody stands. Whether the stay still counts, its row says.
5. What a token says is remembered by its digest, in bounds, until it expires, from when it was issued or first
   read: it comes back to the process that its connection leads to, again and again. Forgetting costs time
   and nothing else.
"""

import hashlib
import math
import uuid
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jwt
from jwt.utils import base64url_encode
from pydantic_core import to_json

from webapp.clock import Clock
from webapp.db import new_id
from webapp.domain.waiting_room import Pass, Stay
from webapp.web.failures import Rejected

Kind = Literal["waiting", "access"]

ALGORITHM = "HS256"
_HS256 = jwt.get_algorithm_by_name(ALGORITHM)
ISSUER = "jari"
LENGTH_MAX = 2_048
WAITING_LIFETIME_SECONDS = 2 * 3600
KNOWN_MAX = 50_000  # in each of two generations; about 30 MB at the most
_CHECKED: jwt.types.Options = {
    "require": ["aud", "iss", "sub", "jti", "iat", "exp"],
    "strict_aud": True,
    # Presence is required; the comparison is ours, by the database's clock.
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
}


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid token says. `number`, `ahead` and `session` are a waiting token's.

    The first two are None while unknown; the third is the mark of the session that joined, if one was shown.
    """

    entry_id: uuid.UUID
    performance_id: int
    account_id: uuid.UUID
    number: int | None
    ahead: int | None
    issued_at: float
    expires_at: float
    session: str | None = None

    @property
    def admitted(self) -> Pass:
        """The claim to be inside, for the transaction that checks it."""
        return Pass(self.entry_id, self.performance_id, self.account_id)


class Tokens:
    """Issues and reads tokens with the configured keys."""

    def __init__(self, clock: Clock, secret: str, previous: str | None) -> None:
        self._clock = clock
        self._kid = _kid(secret)
        self._keys = {_kid(key): key.encode() for key in (secret, previous) if key}
        self._signing_key = _HS256.prepare_key(secret)
        self._heads = {
            kind: _encoded({"alg": ALGORITHM, "kid": self._kid, "typ": f"{kind}+jwt"})
            for kind in get_args(Kind)
        }
        self._known: dict[bytes, Claims] = {}
        self._known_before: dict[bytes, Claims] = {}

    def issue_waiting(
        self, stay: Stay, ahead: int | None, session: str | None = None
    ) -> tuple[str, float]:
        """Return a waiting token and its `exp` (Unix seconds). `ahead` is the lowest ever shown."""
        return self._issue_waiting(stay, stay.number, ahead, session)

    def renew_waiting(self, claims: Claims, ahead: int | None) -> tuple[str, float]:
        """Return a waiting token that remembers a lower `ahead`, and its `exp`."""
        return self._issue_waiting(claims, claims.number, ahead, claims.session)

    def _issue_waiting(
        self, stay: Stay | Claims, number: int | None, ahead: int | None, session: str | None
    ) -> tuple[str, float]:
        now = self._clock.now().timestamp()
        expires = math.ceil(now) + WAITING_LIFETIME_SECONDS
        whose = (stay.entry_id, stay.performance_id, stay.account_id)
        claims = Claims(*whose, number, ahead, now, expires, session)
        more = {"num": number, "ahd": ahead, "ses": session}
        return self._issue("waiting", claims, more), expires

    def issue_access(self, stay: Stay) -> str:
        """Return the access token of an admitted stay; it ends with the stay's access."""
        if stay.access_expires_at is None:
            raise ValueError("not admitted")
        now, expires = self._clock.now().timestamp(), math.ceil(stay.access_expires_at.timestamp())
        whose = (stay.entry_id, stay.performance_id, stay.account_id)
        return self._issue("access", Claims(*whose, None, None, now, expires), {})

    def read(self, kind: Kind, text: str | None, *, expired_too: bool = False) -> Claims:
        """Return what a token says; raise Rejected (401) with `token_…` and the kind.

        `expired_too` accepts one past its `exp`: for payment, while the hold lives.
        """
        if not text:
            raise Rejected(401, "token_missing", token=kind)
        if len(text) > LENGTH_MAX or not text.isascii() or text.count(".") != 2:
            raise Rejected(401, "token_malformed", token=kind)
        digest = _digest(kind, text)
        claims = self._known.get(digest) or self._known_before.get(digest)
        if claims is None:
            try:
                claims = _claims(self._verified(kind, text))
            except (jwt.PyJWTError, ValueError, TypeError, KeyError) as error:
                raise Rejected(401, _fault(text), token=kind) from error
            self._remember(digest, claims)
        if claims.expires_at <= self._clock.now().timestamp() and not expired_too:
            raise Rejected(401, "token_expired", token=kind)
        return claims

    def _remember(self, digest: bytes, claims: Claims) -> None:
        if len(self._known) >= KNOWN_MAX:
            self._known_before, self._known = self._known, {}
        self._known[digest] = claims

    def _verified(self, kind: Kind, text: str) -> dict[str, Any]:
        """Return the payload; raise a PyJWTError. Nothing is parsed twice: most tokens are the newest."""
        for kid, key in self._keys.items():
            try:
                token = jwt.decode_complete(
                    text,
                    key,
                    algorithms=[ALGORITHM],
                    audience=f"jari-{kind}",
                    issuer=ISSUER,
                    options=_CHECKED,
                )
            except jwt.InvalidSignatureError:
                continue
            if token["header"].get("kid") != kid or token["header"].get("typ") != f"{kind}+jwt":
                break
            payload: dict[str, Any] = token["payload"]
            return payload
        raise jwt.InvalidTokenError

    def _issue(self, kind: Kind, claims: Claims, more: dict[str, Any]) -> str:
        payload = {
            "iss": ISSUER,
            "aud": f"jari-{kind}",
            "sub": str(claims.account_id),
            "jti": str(new_id()),
            "iat": claims.issued_at,
            "exp": claims.expires_at,
            "ent": str(claims.entry_id),
            "prf": claims.performance_id,
        } | more
        text = self._sign(kind, payload)
        self._remember(_digest(kind, text), claims)
        return text

    def _sign(self, kind: Kind, payload: dict[str, Any]) -> str:
        """Do `jwt.encode`, which looks at the key and writes the header anew each time: two thirds of its time."""
        signed = f"{self._heads[kind]}.{_encoded(payload)}"
        signature = base64url_encode(_HS256.sign(signed.encode(), self._signing_key))
        return f"{signed}.{signature.decode()}"


def _encoded(part: dict[str, Any]) -> str:
    return base64url_encode(to_json(part)).decode()


def _digest(kind: Kind, text: str) -> bytes:
    return hashlib.sha256(f"{kind} {text}".encode()).digest()


def _fault(text: str) -> str:
    """Tell a text that is no token from one that is not ours."""
    try:
        jwt.get_unverified_header(text)
    except jwt.PyJWTError:
        return "token_malformed"
    return "token_invalid"


def _kid(secret: str) -> str:
    return hashlib.sha256(b"jari kid " + secret.encode()).hexdigest()[:12]


def _claims(payload: dict[str, Any]) -> Claims:
    return Claims(
        uuid.UUID(payload["ent"]),
        int(payload["prf"]),
        uuid.UUID(payload["sub"]),
        payload.get("num"),
        payload.get("ahd"),
        float(payload["iat"]),
        float(payload["exp"]),
        payload.get("ses"),
    )
