"""Who is asking, and may they: one of four guards stands before every route.

`public`, `customer` (signed in), `organiser`, `door`. A route without a guard does not start: `create_app`
refuses it, and a test enumerates them. Waiting and access tokens are `get_claims`' matter.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, TypeVar, cast

from flask import Flask, g, redirect, request, url_for

from webapp.domain.accounts import Person
from webapp.domain.visits import Visit
from webapp.domain.waiting_room import Pass
from webapp.web import bearers, inputs
from webapp.web.failures import Rejected
from webapp.web.house import house
from webapp.web.tokens import Claims, Kind

View = TypeVar("View", bound=Callable[..., Any])

COOKIE = "jari_session"
HEADERS: dict[Kind, str] = {"waiting": "Waiting-Token", "access": "Access-Token"}


def _guarded(view: View, name: str) -> View:
    view.guard = name  # type: ignore[attr-defined]
    return view


def public(view: View) -> View:
    """Anybody may ask."""
    return _guarded(view, "public")


def customer(view: View) -> View:
    """Somebody who is signed in; `person()` says who."""
    return _require(view, "customer", None)


def organiser(view: View) -> View:
    """Somebody who sells."""
    return _require(view, "organiser", "organiser")


def door(view: View) -> View:
    """Somebody who stands at the door."""
    return _require(view, "door", "door")


def _require(view: View, name: str, role: str | None) -> View:
    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            g.person = get_person(_find_session)
        except Rejected:
            if _is_api():
                raise
            return redirect(url_for("pages.sign_in", next=request.full_path.rstrip("?")))
        if role is not None and g.person.role != role:
            raise Rejected(403, "role_missing", role=role)
        return view(*args, **kwargs)

    return cast(View, _guarded(guarded, name))


def _is_api() -> bool:
    return request.path.startswith("/api/")


Find = Callable[[bytes], tuple[Person, str] | None]


def get_person(find: Find | None = None) -> Person:
    """Return who is signed in, by bearer token (API) or cookie (pages); raise Rejected (401).

    `find` looks a token's digest up elsewhere than in the database.
    """
    find = find or house().sessions.find
    return bearers.judge(find(bearers.digest(session_token())))


def _find_session(digest: bytes) -> tuple[Person, str] | None:
    """Look a session up; with it, for `replies.once`, what is kept under the request's key."""
    key = inputs.find_key() if _is_api() else None
    if key is None:
        return house().sessions.find(digest)
    found = house().visits.find(Visit(digest, request.method, request.path, key))
    if found is None:
        return None
    bearer, g.kept = found
    return bearer


def session_token() -> str | None:
    """Return the session token of the request. The API never reads the cookie: no CSRF there."""
    if not _is_api():
        return request.cookies.get(COOKIE)
    return bearers.read(request.headers.get("Authorization", ""))


def find_person() -> Person | None:
    """Return who is signed in, for pages that greet but do not require."""
    try:
        return get_person()
    except Rejected:
        return None


def person() -> Person:
    """Return who the guard let in."""
    return cast(Person, g.person)


def get_claims(kind: Kind, performance_id: int | None, *, expired_too: bool = False) -> Claims:
    """Return the claims of the request's token, bound to performance and bearer.

    Raises Rejected: 401 for a bad token, 403 for one of another performance or customer.
    """
    claims: Claims | None = g.get(f"{kind}_claims")
    if claims is None:
        text = request.headers.get(HEADERS[kind])
        claims = house().tokens.read(kind, text, expired_too=expired_too)
        setattr(g, f"{kind}_claims", claims)
    if performance_id is not None:
        refuse_other_room(kind, claims, performance_id)
    bearer = g.get("person")
    if bearer is not None and bearer.id != claims.account_id:
        raise Rejected(403, "token_wrong_customer", token=kind)
    return claims


def refuse_other_room(kind: Kind, claims: Claims, performance_id: int) -> None:
    """Raise Rejected (403) for a token of another performance."""
    if claims.performance_id != performance_id:
        raise Rejected(403, "token_wrong_performance", token=kind)


def get_pass(performance_id: int | None, *, expired_too: bool = False) -> Pass:
    """Return what the request's access token proves, and from where it is used."""
    claims = get_claims("access", performance_id, expired_too=expired_too)
    return replace(claims.admitted, used_from=place_of_use())


def place_of_use() -> str:
    """Return what tells this sign-in on this device from others: a keyed digest, never an address.

    A phone changes its address on the way; it does not change its browser or sign in again.
    """
    told = f"{session_token()} {request.headers.get('User-Agent', '')}".encode()
    key = house().config.secret_key.encode()[: hashlib.blake2b.MAX_KEY_SIZE]
    return hashlib.blake2b(told, key=key, digest_size=8).hexdigest()


def refuse_unguarded(app: Flask) -> None:
    """Raise RuntimeError naming the routes that no guard stands before."""
    unguarded = [
        rule.rule
        for rule in app.url_map.iter_rules()
        if rule.endpoint != "static" and not hasattr(app.view_functions[rule.endpoint], "guard")
    ]
    if unguarded:
        raise RuntimeError(f"routes without a guard: {', '.join(unguarded)}")
