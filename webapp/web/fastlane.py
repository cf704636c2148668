"""Polls in the steady state, and the crowd before a sold-out house, answered before Flask is asked.

Ten thousand people who wait ask thousands of times a minute whether it is their turn; when the last seat
is sold they all try again. What Flask does for a request costs more than either answer. Promises:

1. It answers what `api.waiting.poll_queue` and `join_queue` would have answered, or nothing: every other
   request that is new, unusual, too hasty or to be refused goes on to Flask.
2. It never asks the database and never waits: everything it needs is at hand and fresh, or it passes.
3. Its answers carry the headers of all others and are counted like them; they are not logged one by one.
"""

import re
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask

from webapp.domain import accounts
from webapp.domain.errors import SoldOut
from webapp.web import failures, queue, security, shapes
from webapp.web.house import House
from webapp.web.tokens import Claims

Environ = dict[str, Any]
Start = Callable[..., Any]
Wsgi = Callable[[Environ, Start], Iterable[bytes]]

ROUTE = "/api/v1/performances/<int:performance_id>/queue"
_PATH = re.compile(r"/api/v1/performances/([1-9][0-9]{0,8})/queue\Z")
_HEADERS = [("Cache-Control", "no-store"), *security.HEADERS.items()]
_SOLD_OUT = SoldOut()


class FastLane:
    """Stands before the application."""

    def __init__(self, wsgi: Wsgi, house: House) -> None:
        self._wsgi = wsgi
        self._house = house
        self._placed = security.REQUESTS.labels(ROUTE, "GET", "200")
        self._refused = security.REQUESTS.labels(ROUTE, "POST", str(_SOLD_OUT.status))

    def __call__(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        started, asked, method = time.perf_counter(), environ, environ["REQUEST_METHOD"]
        text = asked.get("HTTP_WAITING_TOKEN")
        if (text and method == "GET") or method == "POST":
            path = _PATH.match(asked.get("PATH_INFO", ""))
            if path and method == "POST":
                if self._is_refused(asked, int(path[1])):
                    return self._refuse(asked, start_response, started)
            elif path and text:
                place = self._find_place(asked, int(path[1]), text)
                if place is not None:
                    body = shapes.dumps(place)
                    self._placed.observe(time.perf_counter() - started)
                    return _answer(asked, start_response, "200 OK", "application/json", body)
        return self._wsgi(environ, start_response)

    def _is_refused(self, asked: Environ, performance_id: int) -> bool:
        """Whether this is a try to join a sold-out sale, as `replies.refusing_first` would say."""
        scheme, _, session = asked.get("HTTP_AUTHORIZATION", "").partition(" ")
        if (
            scheme.lower() != "bearer"
            or not session.strip()
            or "HTTP_IDEMPOTENCY_KEY" in asked
            or asked.get("CONTENT_LENGTH") not in (None, "", "0")
            or "HTTP_TRANSFER_ENCODING" in asked
        ):
            return False
        house = self._house
        sale = house.sales.find_fresh(performance_id)
        seats = house.availability.find_fresh(performance_id)
        if sale is None or seats is None or not seats.sold_out:
            return False
        return sale.rules.status(house.db.clock.now(), sold_out=True) == _SOLD_OUT.code

    def _refuse(self, asked: Environ, start_response: Start, started: float) -> Iterable[bytes]:
        status, code, title = _SOLD_OUT.status, _SOLD_OUT.code, _SOLD_OUT.title
        body = failures.describe(status, code, title, asked["PATH_INFO"], _SOLD_OUT.facts)
        self._refused.observe(time.perf_counter() - started)
        return _answer(asked, start_response, "409 CONFLICT", failures.PROBLEM, body)

    def _find_place(self, asked: Environ, performance_id: int, text: str) -> dict[str, Any] | None:
        """Return the queue object if it takes nothing but looking; else None."""
        house = self._house
        claims = house.tokens.find_known("waiting", text)
        if (
            claims is None
            or claims.performance_id != performance_id
            or not self._is_its_bearer(asked.get("HTTP_AUTHORIZATION"), claims)
            or house.pacing.is_hasty(claims.entry_id)
        ):
            return None
        place = self._look(claims, text)
        if place is not None:
            house.pacing.told(claims.entry_id, place["poll_after_ms"])
        return place

    def _look(self, claims: Claims, text: str) -> dict[str, Any] | None:
        house, performance_id = self._house, claims.performance_id
        sale, room = house.sales.find_fresh(performance_id), house.rooms.find_fresh(performance_id)
        if sale is None or room is None or house.db.clock.now() >= sale.rules.sales_close_at:
            return None
        if claims.number is not None:
            seats = house.availability.find_fresh(performance_id)
            if seats is None or seats.sold_out:
                return None
        return queue.look(house, claims, text, sale, room)

    def _is_its_bearer(self, authorization: str | None, claims: Claims) -> bool:
        """Whether no session is shown, or one that is known to belong to the token's owner."""
        if authorization is None:
            return True
        scheme, _, session = authorization.partition(" ")
        found = self._house.bearers.find_fresh(accounts.digest(session.strip()))
        return (
            scheme.lower() == "bearer"
            and found is not None
            and found[1] not in ("revoked", "expired")
            and found[0].id == claims.account_id
        )


def _answer(
    asked: Environ, start_response: Start, status: str, kind: str, text: str
) -> Iterable[bytes]:
    body = text.encode()
    offered = asked.get("HTTP_X_REQUEST_ID", "")
    request_id = offered if security.REQUEST_ID.match(offered) else secrets.token_hex(8)
    headers = [
        ("Content-Type", kind),
        *_HEADERS,
        ("X-Request-Id", request_id),
        ("Content-Length", str(len(body))),
    ]
    start_response(status, headers)
    return [body]


def install(app: Flask, house: House) -> None:
    """Put the fast lane before the application."""
    app.wsgi_app = FastLane(app.wsgi_app, house)  # type: ignore[method-assign]  # as Flask says it is wrapped
