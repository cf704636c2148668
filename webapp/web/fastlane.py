"""Polls in the steady state, and the crowd before a sold-out house, answered before Flask is asked.

Ten thousand people who wait ask thousands of times a minute whether it is their turn; when the last seat
is sold they all try again. What Flask does for a request costs more than either answer. Promises:

1. It answers what `api.waiting.poll_queue` and `join_queue` would have answered, or nothing: every other
   request that is new, unusual, too hasty or to be refused goes on to Flask.
2. It never asks the database and never waits: everything it needs is at hand and fresh, or it passes.
3. Its answers carry the headers of all others, and are counted and logged like them.
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

    def __call__(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        asked = _Asked(environ, start_response)
        given = asked.given
        text = given.get("HTTP_WAITING_TOKEN")
        if (text and asked.method == "GET") or asked.method == "POST":
            path = _PATH.match(given.get("PATH_INFO", ""))
            if path and asked.method == "POST":
                if self._is_refused(given, int(path[1])):
                    return _refuse(asked)
            elif path and text:
                claims = self._find_claims(given, int(path[1]), text)
                place = claims and self._look(claims, text)
                if claims and place:
                    self._house.pacing.told(claims.entry_id, place["poll_after_ms"])
                    return asked.answer(shapes.dumps(place), account_id=str(claims.account_id))
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

    def _find_claims(self, asked: Environ, performance_id: int, text: str) -> Claims | None:
        """Return what the waiting token says if it is known and this poll is neither foreign nor hasty."""
        house = self._house
        claims = house.tokens.find_known("waiting", text)
        if (
            claims is None
            or claims.performance_id != performance_id
            or not self._is_its_bearer(asked.get("HTTP_AUTHORIZATION"), claims)
            or house.pacing.is_hasty(claims.entry_id)
        ):
            return None
        return claims

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


class _Asked:
    """A request, and the answer to it."""

    def __init__(self, given: Environ, start_response: Start) -> None:
        self.given = given
        self.method: str = given["REQUEST_METHOD"]
        self._start_response = start_response
        self._began = time.perf_counter()

    def answer(
        self,
        text: str,
        status: str = "200 OK",
        kind: str = "application/json",
        *,
        account_id: str | None = None,
        code: str | None = None,
    ) -> Iterable[bytes]:
        """Answer, and note that."""
        body = text.encode()
        offered = self.given.get("HTTP_X_REQUEST_ID", "")
        request_id = offered if security.REQUEST_ID.match(offered) else secrets.token_hex(8)
        headers = [
            ("Content-Type", kind),
            *_HEADERS,
            ("X-Request-Id", request_id),
            ("Content-Length", str(len(body))),
        ]
        seconds = time.perf_counter() - self._began
        security.note(request_id, account_id, self.method, ROUTE, int(status[:3]), code, seconds)
        self._start_response(status, headers)
        return [body]


def _refuse(asked: _Asked) -> Iterable[bytes]:
    status, code, title = _SOLD_OUT.status, _SOLD_OUT.code, _SOLD_OUT.title
    body = failures.describe(status, code, title, asked.given["PATH_INFO"], _SOLD_OUT.facts)
    return asked.answer(body, "409 CONFLICT", failures.PROBLEM, code=code)


def install(app: Flask, house: House) -> None:
    """Put the fast lane before the application."""
    app.wsgi_app = FastLane(app.wsgi_app, house)  # type: ignore[method-assign]  # as Flask says it is wrapped
