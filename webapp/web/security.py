"""What every answer carries, and one log line for each request."""

import logging
import re
import secrets
import time

import structlog
from flask import Flask, Request, Response, g, request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from prometheus_client import Histogram

from webapp.db import TRIED_AGAIN

REQUESTS = Histogram(
    "jari_request_seconds",
    "Requests by route, method and status.",
    ["route", "method", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)

log = structlog.wrap_logger(
    logging.getLogger("jari.request"),
    processors=[
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ],
)

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


def install(app: Flask) -> None:
    """Give every request an id, a log line, a measurement and the headers."""
    app.session_interface = PagesOnly()

    @app.before_request
    def _begin() -> None:
        offered = request.headers.get("X-Request-Id", "")
        g.request_id = offered if REQUEST_ID.match(offered) else secrets.token_hex(8)
        g.started = time.perf_counter()
        TRIED_AGAIN.set(0)

    @app.after_request
    def _finish(response: Response) -> Response:
        response.headers["X-Request-Id"] = g.request_id
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if response.mimetype in ("application/json", "application/problem+json", "text/html"):
            response.headers.setdefault("Cache-Control", "no-store")
        elapsed = time.perf_counter() - g.started
        route = request.url_rule.rule if request.url_rule else "none"
        REQUESTS.labels(route, request.method, str(response.status_code)).observe(elapsed)
        person = g.get("person")
        log.info(
            "request",
            request_id=g.request_id,
            account_id=str(person.id) if person else None,
            method=request.method,
            route=route,
            status=response.status_code,
            code=g.get("problem_code"),
            milliseconds=round(elapsed * 1000, 1),
            retries=TRIED_AGAIN.get(),
        )
        return response
