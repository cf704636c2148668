"""Everything that is not a success, as problem+json (RFC 9457) or as a page.

One place decides what a caller sees. A `Refusal` is the house's answer; `Rejected` is the web's own (it
could not read the request, or does not know who asks). Everything else is a bug: 500, logged once.
"""

import json
import logging
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, g, render_template, request
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException

from webapp.db import Busy, OutcomeUnknown
from webapp.domain.errors import Refusal
from webapp.web.languages import N_, gettext

log = logging.getLogger("jari.web")

BUSY_RETRY_SECONDS = 2
PROBLEM = "application/problem+json"


class Rejected(Exception):
    """The web layer says no: malformed (400), not signed in (401), not allowed (403), too often (429)."""

    def __init__(
        self, status: int, code: str, *, headers: Mapping[str, str] | None = None, **facts: Any
    ):
        super().__init__(code)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})
        self.facts = facts

    @property
    def title(self) -> str:
        """What people read; the code is what machines read."""
        return TITLES.get(self.code) or HTTPStatus(self.status).phrase


TITLES = {
    "busy": N_("The house is very busy; please try again in a moment."),
    "outcome_unknown": N_(
        "We could not see how this ended. Ask again with the same key: it happens once."
    ),
    "internal_error": N_("Something broke on our side; it is logged."),
    "malformed": N_("This request could not be read."),
    "idempotency_key_missing": N_("This request needs an Idempotency-Key."),
    "idempotency_key_refused": N_("This request takes no Idempotency-Key."),
    "session_missing": N_("Please sign in."),
    "session_invalid": N_("This session is not known or was signed out."),
    "session_expired": N_("This session has expired; please sign in again."),
    "bad_credentials": N_("The address or the password is wrong."),
    "token_missing": N_("A token is missing."),
    "token_malformed": N_("This token could not be read."),
    "token_invalid": N_("This token is not valid here."),
    "token_expired": N_("This token has expired."),
    "token_wrong_customer": N_("This token belongs to somebody else."),
    "token_wrong_performance": N_("This token is for another performance."),
    "role_missing": N_("Your account may not do this."),
    "challenge_required": N_("Something is asked of you before you may join."),
    "poll_too_soon": N_("You asked again too soon; your place is safe."),
    "csrf": N_("This form is too old; please send it again."),
    "not_found": N_("There is nothing here."),
    "method_not_allowed": N_("This cannot be done here."),
    "too_large": N_("This request is too large."),
}

_HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "malformed"}


def plain(value: Any) -> Any:
    """Turn a fact into JSON: times as RFC 3339 in UTC, everything unknown as text."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return str(value)


def describe(status: int, code: str, title: str, path: str, facts: Mapping[str, Any]) -> str:
    """Write a problem as JSON, for a request to `path`."""
    body = {
        "type": f"/api/v1/docs#problem-{code}",
        "title": title,
        "status": status,
        "detail": title,
        "instance": path,
        "code": code,
    } | dict(facts)
    return json.dumps(body, default=plain, ensure_ascii=False)


def problem(
    status: int,
    code: str,
    title: str,
    facts: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer with problem+json, or with a page where a person is looking."""
    g.problem_code = code
    if not request.path.startswith("/api/"):
        page = render_template(
            "problem.html", status=status, code=code, title=gettext(title), facts=facts
        )
        response = Response(page, status, headers, mimetype="text/html")
        if request.method == "GET" and "Retry-After" in response.headers:
            # Who waits without scripts would be left here, and miss the turn.
            response.headers["Refresh"] = response.headers["Retry-After"]
        return response
    text = describe(status, code, title, request.path, facts)
    return Response(text, status, headers, mimetype=PROBLEM)


def told(
    error: Exception, request_id: str | None
) -> tuple[int, str, str, Mapping[str, Any], dict[str, str]]:
    """Return what a caller hears of an error: status, code, title, facts and headers.

    What no caller was meant to hear of is logged with the request's id, and is 500 `internal_error`.
    """
    headers: dict[str, str] = {}
    if isinstance(error, Refusal):
        status, code, title, facts = error.status, error.code, error.title, error.facts
    elif isinstance(error, Rejected):
        status, code, title, facts = error.status, error.code, error.title, error.facts
        headers = dict(error.headers)
    elif isinstance(error, Busy | OutcomeUnknown):
        status, code = 503, "busy" if isinstance(error, Busy) else "outcome_unknown"
        title, facts = TITLES[code], {"retry_after": BUSY_RETRY_SECONDS}
    else:
        log.error("unexpected error, request %s", request_id, exc_info=error)
        status, code, title, facts = 500, "internal_error", TITLES["internal_error"], {}
    if "retry_after" in facts:
        headers.setdefault("Retry-After", str(facts["retry_after"]))
    return status, code, title, facts, headers


def install(app: Flask) -> None:
    """Give the app its handlers."""

    @app.errorhandler(Exception)
    def _error(error: Exception) -> Response:
        return problem(*told(error, g.get("request_id")))

    @app.errorhandler(CSRFError)
    def _csrf(_error: CSRFError) -> Response:
        return problem(400, "csrf", TITLES["csrf"], {})

    @app.errorhandler(HTTPException)
    def _http(error: HTTPException) -> Response:
        status = error.code or 500
        if status < 400:  # redirects are answers
            return error.get_response()  # type: ignore[return-value]
        code = _HTTP_CODES.get(status, "malformed" if status < 500 else "internal_error")
        headers = {k: v for k, v in error.get_headers() if k in ("Allow", "Retry-After")}
        return problem(status, code, TITLES[code], {}, headers)
