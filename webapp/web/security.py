"""What every answer carries, and one log line for each request."""

import logging
import re
import time

from flask import Flask, Request, Response, g, request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from prometheus_client import Histogram

from webapp.db import TRIED_AGAIN
from webapp.ids import random_bytes

REQUESTS = Histogram(
    "jari_request_seconds",
    "Requests by route, method and status.",
    ["route", "method", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)

log = logging.getLogger("jari.request")

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,64}\Z")


class PagesOnly(SecureCookieSessionInterface):
    """Flask's cookie session, for the pages; the API neither reads nor sets a cookie."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Return the session of a page's request; None makes Flask refuse to write one."""
        return None if request.path.startswith("/api/") else super().open_session(app, request)


def _account_id() -> str | None:
    """Whose request it was, by session or by the waiting token of a poll."""
    if person := g.get("person"):
        return str(person.id)
    claims = g.get("waiting_claims")
    return str(claims.account_id) if claims else None


def note(
    request_id: str,
    account_id: str | None,
    method: str,
    route: str,
    status: int,
    code: str | None,
    seconds: float,
    retries: int = 0,
) -> None:
    """Measure a request that was answered, and log it."""
    REQUESTS.labels(route, method, str(status)).observe(seconds)
    said = {
        "request_id": request_id,
        "account_id": account_id,
        "method": method,
        "route": route,
        "status": status,
        "code": code,
        "milliseconds": round(seconds * 1000, 1),
        "retries": retries,
    }
    log.info("request", extra={"said": said})


def install(app: Flask) -> None:
    """Give every request an id, a log line, a measurement and the headers."""
    app.session_interface = PagesOnly()

    @app.before_request
    def _begin() -> None:
        offered = request.headers.get("X-Request-Id", "")
        g.request_id = offered if REQUEST_ID.match(offered) else random_bytes(8).hex()
        g.started = time.perf_counter()
        TRIED_AGAIN.set(0)

    @app.after_request
    def _finish(response: Response) -> Response:
        response.headers["X-Request-Id"] = g.request_id
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if response.mimetype in ("application/json", "application/problem+json", "text/html"):
            response.headers.setdefault("Cache-Control", "no-store")
        note(
            g.request_id,
            _account_id(),
            request.method,
            request.url_rule.rule if request.url_rule else "none",
            response.status_code,
            g.get("problem_code"),
            time.perf_counter() - g.started,
            TRIED_AGAIN.get(),
        )
        return response
