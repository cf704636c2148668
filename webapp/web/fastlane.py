"""Joining the line, asking where one stands in it, and looking at seats and hall, answered ahead of Flask.

Twenty thousand people join in the same minute and then ask thousands of times a minute whether it is their
turn; when the last seat is sold they all try again, and whoever chooses looks at the seats. What Flask does
for a request costs more than the answer itself. Promises:

1. It answers what the views of `api.waiting` and `api.catalogue` would have answered, by the same functions, down
   to refusals and errors; holds only where `api.sale` would refuse them early; the waiting page's script as
   `sale_pages.place` would, but refuses as the API does: nobody reads a page there. Whatever is unusual goes on to
   Flask: a key, a body, a missing token, another method, another question.
2. Who is to be refused for what is known here, the crowd before a sold-out house above all, costs no query.
3. Its answers carry the headers of all others, and are counted and logged like them.
"""

import re
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Any

from flask import Flask
from jinja2 import Environment

from webapp import nowait
from webapp.db import TRIED_AGAIN
from webapp.ids import random_bytes
from webapp.web import (
    bearers,
    choosing,
    failures,
    guards,
    inputs,
    lookups,
    place_part,
    queue,
    security,
    shapes,
    sold_out,
)
from webapp.web.crowd import Joined, Newcomer
from webapp.web.failures import Rejected
from webapp.web.house import House
from webapp.web.lookups import Answer
from webapp.web.queue import Joining

Environ = dict[str, Any]
Start = Callable[..., Any]
Wsgi = Callable[[Environ, Start], Iterable[bytes]]

ROUTES = {
    kind: f"/api/v1/performances/<int:performance_id>{kind and '/'}{kind}"
    for kind in ("", "queue", "holds", "seats", "availability", "seatmap")
} | {"event": "/api/v1/events/<slug>", "place": "/performances/<int:performance_id>/queue/place"}
_EVENT = re.compile(r"/api/v1/events/([0-9a-z-]{1,100})\Z")
_PATH = re.compile(
    r"/api/v1/performances/([1-9][0-9]{0,8})(?:/(queue|holds|seats|availability|seatmap))?\Z"
)
_PLACE = re.compile(r"/performances/([1-9][0-9]{0,8})/queue/place\Z")
_WISH_LENGTH = re.compile(r"[1-9][0-9]{0,3}\Z")
_HEADERS = list(security.HEADERS.items())
_NOT_KEPT = ("Cache-Control", "no-store")
_BODILESS = (204, 304)
_STATUS = {status.value: f"{status.value} {status.phrase.upper()}" for status in HTTPStatus}


class FastLane:
    """Stands before the application."""

    def __init__(self, wsgi: Wsgi, house: House, templates: Environment) -> None:
        self._wsgi = wsgi
        self._house = house
        self._templates = templates

    def __call__(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        found = self._find_work(environ)
        if found is None:
            return self._wsgi(environ, start_response)
        work, kind, of = found
        answered = _Asked(environ, start_response, kind).answer(work, of)
        return self._wsgi(environ, start_response) if answered is None else answered

    def answer_at_once(
        self, environ: Environ, start_response: Start
    ) -> "Iterable[bytes] | Join | None":
        """Answer if nothing has to be waited for. Else return what several who join can do together
        (`join_together`), or None; then nothing has happened.
        """
        found = self._find_work(environ)
        if found is None or (_has_body(environ) and found[1] != "holds"):
            return None
        work, kind, of = found
        asked = _Asked(environ, start_response, kind)
        try:
            return nowait.work(lambda: asked.answer(work, of))
        except nowait.MustWait as waiting:
            newcomer = waiting.wish
            return Join(self._house, asked, newcomer) if isinstance(newcomer, Newcomer) else None

    def may_refuse(self, performance_id: int) -> bool:
        """Whether who wants seats there is probably refused from memory."""
        return sold_out.was(self._house, performance_id)

    def join_together(self, joins: "Sequence[Join]") -> None:
        """Do what these, of one room, have in common, in one transaction; then each has an answer."""
        TRIED_AGAIN.set(0)
        outcomes = self._house.joins.join_together([one.newcomer for one in joins])
        joins[0].tried_again = TRIED_AGAIN.get()
        for one, outcome in zip(joins, outcomes, strict=True):
            one.outcome = outcome

    def _find_work(self, given: Environ) -> "tuple[Work, str, Any] | None":
        """Return what to do here, of which kind and for which performance or event; None if it is Flask's matter."""
        method = given["REQUEST_METHOD"]
        path = _PATH.match(given.get("PATH_INFO", "")) if method in ("GET", "POST") else None
        if path is None:
            return self._find_part(given) or self._find_event(given) if method == "GET" else None
        kind, performance_id, work = path[2] or "", int(path[1]), None
        if kind == "queue":
            work = self._joining(given) if method == "POST" else self._polling(given)
        elif kind == "holds":
            work = self._refusing(given) if method == "POST" else None
        elif method == "GET":
            work = self._looking(kind, given)
        return (work, kind, performance_id) if work else None

    def _find_part(self, given: Environ) -> "tuple[Work, str, Any] | None":
        path = _PLACE.match(given.get("PATH_INFO", ""))
        if path is None:
            return None

        def tell(asked: "_Asked", performance_id: int) -> Answer:
            return place_part.answer(
                self._house, self._templates, performance_id, given, asked.is_from
            )

        return tell, "place", int(path[1])

    def _find_event(self, given: Environ) -> "tuple[Work, str, str] | None":
        path = _EVENT.match(given.get("PATH_INFO", ""))
        if path is None or given.get("QUERY_STRING") or _has_body(given):
            return None
        return lambda _, slug: lookups.get_event(self._house, slug), "event", path[1]

    def _refusing(self, given: Environ) -> "Work | None":
        """Return what to do for somebody who wants seats, as far as he is to be refused without a look at the
        database: without a token, or in a sold-out house. All else is Flask's matter.
        """
        session = bearers.read(given.get("HTTP_AUTHORIZATION", ""))
        if not session or "HTTP_IDEMPOTENCY_KEY" in given:
            return None
        house = self._house

        def refuse(_: "_Asked", performance_id: int) -> Answer | None:
            claims = house.tokens.read("access", given.get("HTTP_ACCESS_TOKEN"))
            guards.refuse_other_room("access", claims, performance_id)
            length = _WISH_LENGTH.match(given.get("CONTENT_LENGTH", ""))
            if (
                length is None
                or "HTTP_TRANSFER_ENCODING" in given
                or given.get("CONTENT_TYPE") != "application/json"
            ):
                return None
            sale = sold_out.find(house, performance_id)
            if sale is None:
                return None
            wish = inputs.read_json(inputs.HoldWish, _read_body(given, int(length[0])))
            sold_out.refuse(house, sale, choosing.read_wish(wish))

        return refuse

    def _looking(self, kind: str, given: Environ) -> "Work | None":
        """Return what to do for somebody who looks at seats or hall, None if that is Flask's matter."""
        wanted = lookups.QUERIES[kind].match(given.get("QUERY_STRING", ""))
        if wanted is None or _has_body(given):
            return None
        look = lookups.LOOKS[kind]
        return lambda _, performance_id: look(self._house, performance_id, wanted[1], given)

    def _joining(self, given: Environ) -> "Work | None":
        """Return what to do for somebody who joins, None if that is Flask's matter."""
        session = bearers.read(given.get("HTTP_AUTHORIZATION", ""))
        if not session or "HTTP_IDEMPOTENCY_KEY" in given or _has_body(given):
            return None
        house = self._house

        def join(asked: "_Asked", performance_id: int) -> Answer:
            joining = _read_joining(asked, performance_id)
            return _told_joined(*queue.join(house, bearers.digest(session), joining))

        return join

    def _polling(self, given: Environ) -> "Work | None":
        """Return what to do for somebody who asks where he stands, None if that is Flask's matter."""
        text = given.get("HTTP_WAITING_TOKEN")
        if not text:
            return None
        house = self._house

        def poll(asked: "_Asked", performance_id: int) -> Answer:
            claims = house.tokens.read("waiting", text)
            asked.is_from(claims.account_id)
            guards.refuse_other_room("waiting", claims, performance_id)
            session = bearers.read(given.get("HTTP_AUTHORIZATION", ""))
            return _told(200, queue.poll(house, claims, text, session))

        return poll


class _Asked:
    """A request, and the answer to it."""

    def __init__(self, given: Environ, start_response: Start, kind: str) -> None:
        self._account_id: str | None = None
        self.given = given
        self._kind = kind
        self._start_response = start_response
        self._began = time.perf_counter()

    def is_from(self, account_id: uuid.UUID) -> None:
        """Remember for the log whose request it is."""
        self._account_id = str(account_id)

    def answer(self, work: "Work", of: Any, tried_again: int = 0) -> Iterable[bytes] | None:
        """Do the work, answer with what comes of it, and note that; None if it is Flask's matter after all."""
        offered = self.given.get("HTTP_X_REQUEST_ID", "")
        request_id = offered if security.REQUEST_ID.match(offered) else random_bytes(8).hex()
        TRIED_AGAIN.set(tried_again)
        code: str | None = None
        try:
            answer = work(self, of)
        except Exception as error:  # noqa: BLE001 - as Flask's handlers would, whatever it is
            status, code, title, facts, more = failures.told(error, request_id)
            text = failures.describe(status, code, title, self.given["PATH_INFO"], facts)
            headers = [("Content-Type", failures.PROBLEM), _NOT_KEPT, *more.items()]
            answer = Answer(status, headers, text.encode())
        if answer is None:
            return None
        headers = [*answer.headers, *_HEADERS, ("X-Request-Id", request_id)]
        if answer.body or answer.status not in _BODILESS:
            headers.append(("Content-Length", str(len(answer.body))))
        seconds = time.perf_counter() - self._began
        method, route, retries = (
            self.given["REQUEST_METHOD"],
            ROUTES[self._kind],
            TRIED_AGAIN.get(),
        )
        who, status = self._account_id, answer.status
        security.note(request_id, who, method, route, status, code, seconds, retries)
        self._start_response(_STATUS[status], headers)
        return [answer.body]


class Join:
    """A join that is done together with others (`FastLane.join_together`), and then answered."""

    outcome: Joined
    tried_again = 0

    def __init__(self, house: House, asked: _Asked, newcomer: Newcomer) -> None:
        self.newcomer = newcomer
        self._house, self._asked = house, asked

    def answer(self) -> Iterable[bytes]:
        """Answer with what came of it. For who has a stay already that takes a transaction."""
        answered = self._asked.answer(self._tell, self.newcomer.performance_id, self.tried_again)
        assert answered is not None
        return answered

    def _tell(self, asked: _Asked, performance_id: int) -> Answer:
        joining = _read_joining(asked, performance_id)
        return _told_joined(*queue.answer_joined(self._house, self.outcome, joining))


def _read_joining(asked: _Asked, performance_id: int) -> Joining:
    given = asked.given
    return Joining(
        performance_id,
        given.get("REMOTE_ADDR"),
        given.get("HTTP_CHALLENGE_ANSWER", ""),
        bearers.read(given.get("HTTP_AUTHORIZATION", "")),
        given.get("HTTP_WAITING_TOKEN"),
        asked.is_from,
    )


def _told_joined(place: dict[str, Any], new: bool) -> Answer:
    return _told(201 if new else 200, place)


def _told(status: int, body: dict[str, Any]) -> Answer:
    headers = [("Content-Type", "application/json"), _NOT_KEPT]
    return Answer(status, headers, shapes.dumps(body).encode())


def _has_body(given: Environ) -> bool:
    return given.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in given


def _read_body(given: Environ, length: int) -> bytes:
    try:
        body: bytes = given["wsgi.input"].read(length)
    except OSError as gone:
        raise Rejected(400, "malformed") from gone  # as Flask says to who went away
    return body


Work = Callable[[_Asked, Any], Answer | None]  # of whom, and for which performance or event


def install(app: Flask, house: House) -> FastLane:
    """Put the fast lane before the application; return it."""
    lane = FastLane(app.wsgi_app, house, app.jinja_env)
    app.extensions["jari.fastlane"] = lane
    app.wsgi_app = lane  # type: ignore[method-assign]  # as Flask says it is wrapped
    return lane
