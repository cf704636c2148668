"""What the waiting page's script is told: the part of the page, ahead of Flask, and no more than it needs."""

import re
from typing import Any

import pytest
from flask import Flask

from tests.builders import enter, make_accounts, make_sale
from tests.conftest import AdvancingClock
from tests.web.surfer import Surfer
from tests.web.test_sale_pages import usher_round
from tests.web.watching import Watch
from webapp import nowait
from webapp.db import Database, new_id
from webapp.domain import waiting_room
from webapp.domain.waiting_room import Arrival
from webapp.web import actions, languages, security
from webapp.web.guards import COOKIE
from webapp.web.place_part import WAITING_COOKIE
from webapp.web.queue import RENEW_BEFORE_SECONDS
from webapp.web.tokens import Claims


@pytest.fixture
def sale(db: Database) -> int:
    return make_sale(db, capacity=1)


@pytest.fixture
def surfer(app: Flask, db: Database, sale: int) -> Surfer:
    """Somebody in line behind another, whose newest token says their number."""
    first, second = make_accounts(db, 2)
    enter(db, first, sale)
    surfer = Surfer(app, second)
    surfer.send(f"/performances/{sale}", "/queue")
    usher_round(db)
    surfer.get(f"/performances/{sale}/queue")
    let_again(app)
    return surfer


def let_again(app: Flask) -> None:
    app.extensions["jari"].pacing._not_before.clear()


def part(text: str) -> str:
    """The part in a page, without what is of the moment."""
    found = re.search(r'<div id="place".*?</div>\s*(?=<p id="news"|\Z)', text, re.DOTALL)
    assert found
    text = re.sub(r'<p class="muted">.*?</p>', "", found[0], flags=re.DOTALL)
    return re.sub(r"\d+(?=\" data-title)", "", text).strip()


@pytest.mark.parametrize("language", list(languages.LANGUAGES))
def test_it_is_the_part_that_the_page_has(
    app: Flask, surfer: Surfer, sale: int, passed: list[str], language: str
) -> None:
    """In the page's language, with its headers, and without a word to Flask or to the database."""
    surfer.client.set_cookie(languages.COOKIE, language)
    page = surfer.look(f"/performances/{sale}/queue")
    let_again(app)
    passed.clear()
    with Watch(app.extensions["jari"].db) as watch:
        told = surfer.look(f"/performances/{sale}/queue/place")
    assert (passed, watch.idle) == ([], True)
    assert part(told.text) == part(page.text)
    assert languages.catalogue(language).gettext("People ahead of you") in told.words
    headers = told.response.headers
    of_their_own = ("Content-Length", "X-Request-Id", "Set-Cookie")
    shared = {k: v for k, v in page.response.headers if k not in of_their_own}
    assert shared == {k: v for k, v in headers if k not in of_their_own}
    assert set(security.HEADERS) <= shared.keys()


def test_it_speaks_as_the_browser_asks_and_leaves_others_their_language(
    app: Flask, surfer: Surfer, sale: int
) -> None:
    here = f"/performances/{sale}/queue"
    korean = surfer.client.get(f"{here}/place", headers={"Accept-Language": "fr, ko;q=0.8"})
    assert korean.headers["Content-Language"] == "ko"
    let_again(app)
    assert surfer.look(here).response.headers["Content-Language"] == "en"


def test_the_cookie_is_sent_again_when_another_token_is_in_it(
    app: Flask, db: Database, sale: int, clock: AdvancingClock
) -> None:
    """When fewer are ahead, when the token ends soon, and when it is the turn; else not."""
    first, second, third = make_accounts(db, 3)
    inside = enter(db, first, sale)
    db.transact(waiting_room.join, Arrival(new_id(), sale, second.id))
    surfer, here = Surfer(app, third), f"/performances/{sale}/queue"
    surfer.send(f"/performances/{sale}", "/queue")
    usher_round(db)
    surfer.get(here)

    def token(status: int = 200) -> Claims | None:
        let_again(app)
        answer = surfer.get(f"{here}/place", status).response
        assert answer.headers["Cache-Control"] == "no-store"
        sent = answer.headers.get("Set-Cookie")
        if sent is None:
            return None
        name, value, *attributes = re.split("[=;] ?", sent)
        assert name == WAITING_COOKIE
        assert {here, "HttpOnly", "Lax"} <= set(attributes)
        return app.extensions["jari"].tokens.read("waiting", value)

    assert token() is None
    actions.leave(app.extensions["jari"], second.id, sale)
    fewer = token()
    assert fewer is not None
    assert fewer.ahead == 0
    assert token() is None
    clock.advance(fewer.expires_at - clock.now().timestamp() - RENEW_BEFORE_SECONDS + 60)
    renewed = token()
    assert renewed is not None
    assert renewed.expires_at > fewer.expires_at
    actions.leave(app.extensions["jari"], inside.account_id, sale)
    usher_round(db)
    assert token(204) is not None


def test_nothing_is_waited_for_once_a_poll_is_counted(
    app: Flask, surfer: Surfer, sale: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a thread would do it again, and be told that it comes too soon."""
    house = app.extensions["jari"]
    told = house.pacing.told

    def forget(*args: Any) -> None:
        told(*args)
        house.sales.forget()
        monkeypatch.setattr(house.db.clock, "now", nowait.check)

    monkeypatch.setattr(house.pacing, "told", forget)
    with app.test_request_context(
        f"/performances/{sale}/queue/place", headers={"Cookie": cookies(surfer, sale)}
    ) as context:
        environ = context.request.environ
    lane = app.extensions["jari.fastlane"]
    answered = lane.answer_at_once(environ, lambda status, _: assert_ok(status))
    assert answered is not None


def assert_ok(status: str) -> None:
    assert status == "200 OK"


def cookies(surfer: Surfer, sale: int) -> str:
    path = f"/performances/{sale}/queue"
    kept = [surfer.client.get_cookie(COOKIE), surfer.client.get_cookie(WAITING_COOKIE, path=path)]
    return "; ".join(f"{one.key}={one.value}" for one in kept if one is not None)


@pytest.mark.parametrize(
    ("spoilt", "status"),
    [("signed out", 401), ("no token", 401), ("another's session", 403), ("another room", 403)],
)
def test_who_may_not_ask_is_refused_without_flask(
    app: Flask, db: Database, surfer: Surfer, sale: int, passed: list[str], spoilt: str, status: int
) -> None:
    client, here = surfer.client, f"/performances/{sale}/queue"
    [other] = make_accounts(db)
    cookie = client.get_cookie(WAITING_COOKIE, path=here)
    assert cookie is not None
    if spoilt == "signed out":
        client.delete_cookie(COOKIE)
    elif spoilt == "no token":
        client.delete_cookie(WAITING_COOKIE, path=here)
    elif spoilt == "another's session":
        client.set_cookie(COOKIE, other.session)
    else:
        here = f"/performances/{make_sale(db)}/queue"
        client.set_cookie(WAITING_COOKIE, cookie.value, path=here)
    passed.clear()
    answer = surfer.get(f"{here}/place", status)
    assert passed == []
    assert 'id="place"' not in answer.text
