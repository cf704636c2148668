"""How a view of the API answers, and answers once: keyed requests are replayed before anything else."""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, TypeVar, cast

from flask import Response, g, request
from flask.typing import ResponseReturnValue

from webapp.domain.idempotency import Answer, Request
from webapp.web import actions, inputs, shapes
from webapp.web.failures import Rejected
from webapp.web.guards import person, session_token

T = TypeVar("T")
S = TypeVar("S")
View = Callable[..., ResponseReturnValue]


def reply(
    body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with JSON."""
    return Response(shapes.dumps(body), status, headers, mimetype="application/json")


def reply_kept(answer: Answer) -> Response:
    """Answer with what was, or would be, kept under an Idempotency-Key."""
    headers = {"Idempotent-Replayed": "true"} if answer.replayed else {}
    if answer.status == 204:
        return Response(status=204, headers=headers)
    return reply(answer.body, answer.status, headers)


def paged(
    found: Sequence[T], limit: int, cursor_of: Callable[[T], object], shape: Callable[[T], S]
) -> Response:
    """Answer with a part of a list: one more than `limit` was asked for to see whether there are more."""
    shown = found[:limit]
    following = str(cursor_of(shown[-1])) if len(found) > limit else None
    part: shapes.Listed[S] = {"items": [shape(item) for item in shown], "next_cursor": following}
    return reply(part)


def once(view: View, *, required: bool) -> View:
    """Make `view` answer a request that succeeded before under its key with the kept answer.

    Right after the session and before any other token or the body is looked at: a payment's retry must
    get its answer although the payment ended the access token.
    """

    @wraps(view)
    def answer_once(**kwargs: Any) -> ResponseReturnValue:
        key = inputs.idempotency_key()
        if key is None and required:
            raise Rejected(400, "idempotency_key_missing")
        g.keyed = None
        if key is not None:
            digest = actions.request_digest(request.get_data())
            g.keyed = Request(person().id, request.method, request.path, key, digest)
            if g.kept is not None:  # the guard has looked it up
                return reply_kept(g.kept.answer_to(g.keyed))
        return view(**kwargs)

    return answer_once


def refusing_first(first: Callable[..., object], view: View) -> View:
    """Let `first` refuse from memory before the session is looked up.

    Floods of bad tokens and crowds before a sold-out house must not reach the database. A keyed request
    is left alone: its kept answer comes before everything but the session.
    """

    @wraps(view)
    def early(**kwargs: Any) -> ResponseReturnValue:
        if session_token() and "Idempotency-Key" not in request.headers:
            first(**kwargs)
        return view(**kwargs)

    return early


def with_key_checked(view: View) -> View:
    """Let `view` take a key that can be kept, and keep nothing: asking twice does no more than once."""

    @wraps(view)
    def checked(**kwargs: Any) -> ResponseReturnValue:
        inputs.idempotency_key()
        return view(**kwargs)

    return checked


def without_key(view: View) -> View:
    """Let `view` refuse an Idempotency-Key: its answer holds a secret or belongs to nobody yet."""

    @wraps(view)
    def keyless(**kwargs: Any) -> ResponseReturnValue:
        if "Idempotency-Key" in request.headers:
            raise Rejected(400, "idempotency_key_refused")
        return view(**kwargs)

    return keyless


def keyed() -> Request:
    """Return the keyed request that `once` met, where the key is required."""
    return cast(Request, g.keyed)


def find_keyed() -> Request | None:
    """Return the keyed request that `once` met; None when it came without a key."""
    return cast(Request | None, g.keyed)
