"""What the waiting page's script is told: the part of the page, ahead of Flask, and no more than it needs."""

import re

import pytest
from flask import Flask

from tests.builders import enter, make_accounts, make_sale
from tests.web.surfer import Surfer
from tests.web.test_sale_pages import usher_round
from tests.web.watching import Watch
from webapp.db import Database
from webapp.web import languages, security
from webapp.web.guards import COOKIE
from webapp.web.place_part import WAITING_COOKIE


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
    assert surfer.look(f"{here}/place", 429).status == 429  # the page has told when to come


def test_the_cookie_is_sent_again_when_another_token_is_in_it(
    app: Flask, db: Database, surfer: Surfer, sale: int
) -> None:
    here = f"/performances/{sale}/queue"
    for _ in range(2):
        assert "Set-Cookie" not in surfer.look(f"{here}/place").response.headers
        let_again(app)
    usher_leaves_room(db, sale)
    answer = surfer.get(f"{here}/place", 204).response
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"{WAITING_COOKIE}=")
    assert f"Path={here};" in cookie
    assert "HttpOnly" in cookie
    assert answer.data == b""


def usher_leaves_room(db: Database, sale: int) -> None:
    change = f"UPDATE performance SET capacity = 2 WHERE id = {sale}"
    db.transact(lambda tx: tx.connection.exec_driver_sql(change))
    usher_round(db)


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
