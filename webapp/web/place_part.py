"""Where somebody stands, as the waiting page's script asks for it: the part of the page that changes.

Answered ahead of Flask (`fastlane`); the view of it is for what is unusual, such as HEAD. Promises:

1. It costs what the API's poll does, and the writing of the part: no query while one waits.
2. The script hears 204 when it is one's turn, and only then; whatever else is no place, the page itself explains.
3. The cookie is sent again only when another token is in it.
"""

import math
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from jinja2 import Environment
from werkzeug.http import dump_cookie, parse_cookie

from webapp.domain.catalogue import Sale
from webapp.domain.errors import TurnOver
from webapp.web import guards, languages, queue
from webapp.web.failures import Rejected
from webapp.web.house import House
from webapp.web.lookups import Answer

TEMPLATE = "sale/place.html"
WAITING_COOKIE = "jari_waiting"
_PAGE = "{}/performances/{}/queue"  # of the waiting page; the part's address is below it


def answer(
    house: House,
    templates: Environment,
    performance_id: int,
    given: dict[str, Any],
    met: Callable[[uuid.UUID], None] = lambda _: None,
) -> Answer:
    """Answer by the waiting token and the session that it was issued to; `met` hears whose it is.

    Raises what `queue.poll` raises, TurnOver, and Rejected without one of the two.
    """
    cookies = parse_cookie(given)
    token = cookies.get(WAITING_COOKIE, "")
    claims = house.tokens.read("waiting", token)
    met(claims.account_id)
    guards.refuse_other_room("waiting", claims, performance_id)
    session = cookies.get(guards.COOKIE)
    if session is None:  # signed out
        raise Rejected(401, "session_missing")
    # Before the poll, which is counted: where nobody may wait, nothing after it may have to be waited for.
    sale, now = house.sales.get(performance_id), house.db.clock.now()
    place = queue.poll(house, claims, token, session)
    headers = [("Cache-Control", "no-store")]
    if place["waiting_token"] != token:
        path = _PAGE.format(given.get("SCRIPT_NAME", ""), performance_id)
        headers.append(("Set-Cookie", waiting_cookie(house, place, path)))
    if place["status"] == "admitted":
        if not is_turn(place, now):
            raise TurnOver(reason="expired", may_rejoin=False)
        return Answer(204, headers)
    language = languages.choose(cookies, given.get("HTTP_ACCEPT_LANGUAGE", ""))
    with languages.speaking(language):
        text = templates.get_template(TEMPLATE).render(shown_values(sale, place, now))
    headers += [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Language", language),
        ("Vary", ", ".join(languages.CHOSEN_BY)),
    ]
    return Answer(200, headers, text.encode())


def is_turn(place: Mapping[str, Any], now: datetime) -> bool:
    """Whether seats may be chosen; otherwise only those still held are left, to be paid."""
    return bool(now < place["access_expires_at"])


def shown_values(sale: Sale, place: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Return what the template needs, in this part and in the whole page."""
    refresh_seconds = math.ceil(place["poll_after_ms"] / 1000)
    return {"sale": sale, "place": place, "refresh_seconds": refresh_seconds, "now": now}


def waiting_cookie(house: House, place: Mapping[str, Any], path: str) -> str:
    """Write the cookie that keeps the newest waiting token where only the waiting page and its part see it."""
    return dump_cookie(
        WAITING_COOKIE,
        place["waiting_token"],
        expires=place["expires_at"],
        path=path,
        secure=house.config.cookie_secure,
        httponly=True,
        samesite="Lax",
    )
