"""Joining the line and asking where one stands in it, answered ahead of Flask.

Twenty thousand people join in the same minute and then ask thousands of times a minute whether it is their
turn; when the last seat is sold they all try again. What Flask does for a request costs more than the
answer itself. Promises:

1. It answers what `api.waiting.join_queue` and `poll_queue` would have answered, by the same functions, down
   to refusals and errors. Whatever is unusual goes on to Flask: a key, a body, a missing token, another method.
2. Who is to be refused for what is known here, the crowd before a sold-out house above all, costs no query.
3. Its answers carry the headers of all others, and are counted and logged like them.
"""

import re
import secrets
import time
import uuid
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from flask import Flask

from webapp.db import TRIED_AGAIN
from webapp.web import actions, bearers, failures, guards, queue, security, shapes
from webapp.web.house import House
from webapp.web.queue import Joining

Environ = dict[str, Any]
Start = Callable[..., Any]
Wsgi = Callable[[Environ, Start], Iterable[bytes]]

ROUTE = "/api/v1/performances/<int:performance_id>/queue"
_PATH = re.compile(r"/api/v1/performances/([1-9][0-9]{0,8})/queue\Z")
_HEADERS = [("Cache-Control", "no-store"), *security.HEADERS.items()]
_STATUS = {status.value: f"{status.value} {status.phrase.upper()}" for status in HTTPStatus}


class FastLane:
    """Stands before the application."""

    def __init__(self, wsgi: Wsgi, house: House) -> None:
        self._wsgi = wsgi
        self._house = house

    def __call__(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        if method in ("GET", "POST"):
            path = _PATH.match(environ.get("PATH_INFO", ""))
            work = path and (self._joining if method == "POST" else self._polling)(environ)
            if path and work:
                return _Asked(environ, start_response).answer(work, int(path[1]))
        return self._wsgi(environ, start_response)

    def _joining(self, given: Environ) -> "Work | None":
        """Return what to do for somebody who joins, None if that is Flask's matter."""
        session = bearers.read(given.get("HTTP_AUTHORIZATION", ""))
        if (
            not session
            or "HTTP_IDEMPOTENCY_KEY" in given
            or given.get("CONTENT_LENGTH") not in (None, "", "0")
            or "HTTP_TRANSFER_ENCODING" in given
        ):
            return None
        house = self._house

        def join(asked: "_Asked", performance_id: int) -> tuple[int, dict[str, Any]]:
            actions.refuse_joining(house, performance_id)
            answer = given.get("HTTP_CHALLENGE_ANSWER", "")
            address = given.get("REMOTE_ADDR")
            joining = Joining(performance_id, address, answer, session, asked.is_from)
            place, new = queue.join(house, bearers.digest(session), joining)
            return 201 if new else 200, place

        return join

    def _polling(self, given: Environ) -> "Work | None":
        """Return what to do for somebody who asks where he stands, None if that is Flask's matter."""
        text = given.get("HTTP_WAITING_TOKEN")
        if not text:
            return None
        house = self._house

        def poll(asked: "_Asked", performance_id: int) -> tuple[int, dict[str, Any]]:
            claims = house.tokens.read("waiting", text)
            asked.is_from(claims.account_id)
            guards.refuse_other_room("waiting", claims, performance_id)
            session = bearers.read(given.get("HTTP_AUTHORIZATION", ""))
            return 200, queue.poll(house, claims, text, session)

        return poll


class _Asked:
    """A request, and the answer to it."""

    def __init__(self, given: Environ, start_response: Start) -> None:
        self._account_id: str | None = None
        self._given = given
        self._start_response = start_response
        self._began = time.perf_counter()

    def is_from(self, account_id: uuid.UUID) -> None:
        """Remember for the log whose request it is."""
        self._account_id = str(account_id)

    def answer(self, work: "Work", performance_id: int) -> Iterable[bytes]:
        """Do the work, answer with what comes of it, and note that."""
        offered = self._given.get("HTTP_X_REQUEST_ID", "")
        request_id = offered if security.REQUEST_ID.match(offered) else secrets.token_hex(8)
        TRIED_AGAIN.set(0)
        code: str | None = None
        more: dict[str, str] = {}
        try:
            status, body = work(self, performance_id)
            text, kind = shapes.dumps(body), "application/json"
        except Exception as error:  # noqa: BLE001 - as Flask's handlers would, whatever it is
            status, code, title, facts, more = failures.told(error, request_id)
            text, kind = (
                failures.describe(status, code, title, self._given["PATH_INFO"], facts),
                failures.PROBLEM,
            )
        encoded = text.encode()
        headers = [
            ("Content-Type", kind),
            *_HEADERS,
            *more.items(),
            ("X-Request-Id", request_id),
            ("Content-Length", str(len(encoded))),
        ]
        seconds = time.perf_counter() - self._began
        method, retries = self._given["REQUEST_METHOD"], TRIED_AGAIN.get()
        security.note(request_id, self._account_id, method, ROUTE, status, code, seconds, retries)
        self._start_response(_STATUS[status], headers)
        return [encoded]


Work = Callable[[_Asked, int], tuple[int, dict[str, Any]]]


def install(app: Flask, house: House) -> None:
    """Put the fast lane before the application."""
    app.wsgi_app = FastLane(app.wsgi_app, house)  # type: ignore[method-assign]  # as Flask says it is wrapped
