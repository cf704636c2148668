"""What the pages' forms share: keys against sending twice, and where to go afterwards.

Promises:

1. A form that moves money carries a key made when it was rendered; sent twice, it acts once.
2. Nobody is sent to another site: `next` is a path of this one or is ignored.
3. A refused form comes back with a sentence for each fault, in words of ours.
"""

import secrets
from typing import Any, cast
from urllib.parse import urlsplit

from flask import Response, current_app, redirect, render_template, request
from werkzeug.exceptions import HTTPException, NotFound

from webapp.domain.errors import Invalid, Refusal
from webapp.domain.idempotency import Request
from webapp.web import actions
from webapp.web.failures import Rejected
from webapp.web.guards import person
from webapp.web.inputs import KEY_LENGTH_MAX
from webapp.web.languages import gettext

NEXT_LENGTH_MAX = 500
SENT_BY_SCRIPT = "Jari-Form"


def new_key() -> str:
    """Make the key of a form that is being rendered."""
    return secrets.token_urlsafe(18)


def keyed_request(content: str) -> Request:
    """Return the sent form as a keyed request; raise Rejected (400) when its key is missing or odd.

    `content` is what the form asks for: the same key with other content is refused.
    """
    key = request.form.get("key", "")
    if not 1 <= len(key) <= KEY_LENGTH_MAX or not key.isascii() or not key.isprintable():
        raise Rejected(400, "idempotency_key_missing")
    return Request(person().id, "POST", request.path, key, actions.request_digest(content.encode()))


def see_other(address: str) -> Response:
    """Answer a form with the page that shows what became of it (303).

    A script that sends a form itself cannot see where a 303 leads; it says so, and is told (204).
    """
    if SENT_BY_SCRIPT in request.headers:
        return Response(status=204, headers={"Location": address})
    return cast(Response, redirect(address, 303))


def page(template: str, status: int = 200, **values: Any) -> Response:
    """Answer with a page."""
    return Response(render_template(template, **values), status, mimetype="text/html")


def faults(refusal: Refusal | Rejected | None, sentences: dict[str, str]) -> list[str]:
    """Return what to say above a form: our sentence for each fault, or the refusal's title."""
    if refusal is None:
        return []
    if not isinstance(refusal, Invalid):
        return [gettext(refusal.title)]
    pointers = (fault.get("pointer", "") for fault in refusal.facts.get("errors", ()))
    names = dict.fromkeys(pointer.split("/")[1] if "/" in pointer else "" for pointer in pointers)
    return [gettext(sentences.get(name, refusal.title)) for name in names or [""]]


# -- where to go afterwards ---------------------------------------------------------------------


def local_path(text: str | None) -> str | None:
    """Return `text` if it is an address of this site, else None.

    Browsers drop tabs and line ends from addresses and read a backslash as a slash, so neither is
    let through: `/\\evil.example` and `/<tab>/evil.example` lead away.
    """
    if not text or len(text) > NEXT_LENGTH_MAX or not text.startswith("/"):
        return None
    if text.startswith("//") or "\\" in text or not text.isprintable():
        return None
    parts = urlsplit(text)
    return None if parts.scheme or parts.netloc else text


def after_sign_in() -> str:
    """Return where a sign-in that was asked for on the way leads: `next`, or the page above it.

    Somebody whose session ended while a form was open comes from an address that only takes POST.
    """
    text = local_path(request.values.get("next"))
    if text is None:
        return "/"
    adapter = current_app.url_map.bind("")
    path = urlsplit(text).path
    first = path
    while path:
        try:
            adapter.match(path, method="GET")
        except NotFound:
            path = path.rpartition("/")[0]
        except HTTPException:  # only POST here
            path = path.rpartition("/")[0]
        else:
            return text if path == first else path
    return "/"
