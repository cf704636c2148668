"""The pages that anybody may see, the way in, and what holds for every page."""

import re
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.builders import make_accounts, make_sale
from tests.conftest import config_for, dispose
from tests.web.surfer import Page, Surfer
from webapp import create_app
from webapp.db import Database
from webapp.domain.catalogue import Price
from webapp.domain.errors import Refusal
from webapp.web.failures import TITLES
from webapp.web.guards import COOKIE
from webapp.web.phrases import NEXT_STEPS, next_step

PASSWORD = "a long enough password"


# -- events -------------------------------------------------------------------------------------


def test_the_events_are_listed_with_dates_and_prices(app: Flask, db: Database) -> None:
    levels = [Price("s", "S", 12_000), Price("r", "R", 132_000)]
    make_sale(db, title="봄 음악회", levels=levels)
    page = Surfer(app).get("/")
    assert "봄 음악회" in page.words
    assert "₩12,000 – ₩132,000" in page.words
    assert "KST (UTC+9)" in page.words
    assert "On sale" in page.words


def test_more_events_are_a_link_away(app: Flask, db: Database) -> None:
    [organiser] = make_accounts(db, role="organiser")
    for number in range(21):
        make_sale(db, title=f"Concert {number:02}", seats=1, organiser=organiser)
    first = Surfer(app).get("/")
    assert "Concert 19" in first.words
    assert "Concert 20" not in first.words
    [more] = re.findall(r'href="(/\?cursor=\d+)"', first.text)
    assert "Concert 20" in Surfer(app).get(more).words


def test_an_event_shows_its_performances(app: Flask, db: Database) -> None:
    sale = make_sale(db, slug="autumn", title="Autumn concert", opens_in=600)
    page = Surfer(app).get("/events/autumn")
    assert page.heading == "Autumn concert"
    assert f'href="/performances/{sale}"' in page.text
    assert "The sale opens on" in page.words


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/events/nothing",
        "/events/a%00b",
        "/events/%ff%fe",
        "/performances/999",
        "/performances/0",
        "/performances/99999999999999999999",
        "/performances/2147483648",
        "/bookings/a%00b",
        "/bookings/" + "A" * 500,
        "/bookings/NOTMINE2/tickets/x%00.svg",
    ],
)
def test_where_nothing_is_the_page_says_so(app: Flask, db: Database, path: str) -> None:
    surfer = Surfer(app, make_accounts(db)[0])
    page = surfer.get(path, 404)
    assert page.heading == "There is nothing here."
    assert "To the events" in page.words


def test_odd_query_strings_are_refused_kindly(app: Flask, db: Database) -> None:
    surfer = Surfer(app, make_accounts(db)[0])
    for path in ("/?cursor=x", "/?cursor=999999999999", "/bookings?cursor=1", "/wallet?cursor=%00"):
        assert surfer.get(path, 422).heading == "The values given do not fit."


# -- the way in ---------------------------------------------------------------------------------


def sign_up(surfer: Surfer, status: int = 303, **changes: str) -> None:
    values = {"name": "김민서", "email": "Min@Example.com", "password": PASSWORD} | changes
    surfer.send("/sign-up", "", status, **values)


def test_signing_up_signs_in(app: Flask, db: Database) -> None:
    surfer = Surfer(app)
    sign_up(surfer)
    assert "김민서" in surfer.get("/").words
    assert "₩0" in surfer.get("/wallet").words


def test_the_session_cookie_is_kept_from_scripts_and_other_sites(app: Flask, db: Database) -> None:
    surfer = Surfer(app)
    sign_up(surfer)
    first = surfer.client.get_cookie(COOKIE)
    assert first is not None
    assert first.http_only
    assert first.same_site == "Lax"
    assert not first.secure  # the tests' config: no TLS
    surfer.send("/", "/sign-out")
    assert surfer.client.get_cookie(COOKIE) is None
    surfer.send("/sign-in", "", email="min@example.com", password=PASSWORD)
    second = surfer.client.get_cookie(COOKIE)
    assert second is not None
    assert second.value != first.value
    surfer.client.set_cookie(COOKIE, first.value)
    assert surfer.get("/wallet", 302).location == "/sign-in?next=/wallet"


def test_cookies_are_secure_where_configured(sqlite_url: str) -> None:
    app = create_app(config_for(sqlite_url, cookie_secure=True))
    client = app.test_client()
    asked = Page(client.get("/sign-up", base_url="https://localhost"))
    values = {"name": "A", "email": "a@example.com", "password": PASSWORD}
    answer = client.post(
        "/sign-up",
        data=dict(asked.form("").fields) | values,
        headers={"Referer": "https://localhost/sign-up"},
        base_url="https://localhost",
    )
    dispose(app)
    assert answer.status_code == 303
    set_cookies = [
        *asked.response.headers.getlist("Set-Cookie"),
        *answer.headers.getlist("Set-Cookie"),
    ]
    assert {cookie.partition("=")[0] for cookie in set_cookies} == {COOKIE, "session"}
    assert all("Secure" in cookie for cookie in set_cookies)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": ""}, "Please tell us your name"),
        ({"name": "a\0b"}, "Please tell us your name"),
        ({"email": "nobody"}, "Please enter an e-mail address"),
        ({"email": "a\0@example.com"}, "Please enter an e-mail address"),
        ({"password": "short"}, "The password needs 8 to 200 characters"),
    ],
)
def test_what_does_not_fit_comes_back_with_a_sentence(
    app: Flask, db: Database, changes: dict[str, str], says: str
) -> None:
    surfer = Surfer(app)
    values = {"name": "Min", "email": "min@example.com", "password": PASSWORD} | changes
    page = surfer.send("/sign-up", "", 422, **values)
    assert says in page.words
    assert PASSWORD not in page.text


def test_an_address_has_one_account(app: Flask, db: Database) -> None:
    sign_up(Surfer(app))
    page = Surfer(app).send(
        "/sign-up", "", 409, name="Other", email="min@example.com", password=PASSWORD
    )
    assert "This address already has an account." in page.words
    assert 'value="min@example.com"' in page.text


def test_a_wrong_password_says_no_more_than_a_wrong_address(app: Flask, db: Database) -> None:
    sign_up(Surfer(app))
    for email in ("min@example.com", "nobody@example.com", "a\0", "x" * 300):
        page = Surfer(app).send("/sign-in", "", 401, email=email, password="wrong password")
        assert "The address or the password is wrong." in page.words


def test_trying_too_often_has_to_wait(app: Flask, db: Database) -> None:
    for _ in range(10):
        Surfer(app).send("/sign-in", "", 401, email="min@example.com", password="wrong")
    page = Surfer(app).send("/sign-in", "", 429, email="min@example.com", password="wrong")
    assert "Too many attempts" in page.words
    assert int(page.response.headers["Retry-After"]) > 0


LEADS = [
    ("/wallet", "/wallet"),
    ("/?cursor=3", "/?cursor=3"),
    ("", "/"),
    ("/performances/1/hold", "/performances/1"),  # takes only POST: the page above it
    ("/performances/1/queue/leave", "/performances/1/queue"),
    ("/nowhere/at/all", "/"),
    ("https://evil.example/", "/"),
    ("//evil.example", "/"),
    ("///evil.example", "/"),
    ("//evil.example/wallet", "/"),
    ("https://evil.example/wallet", "/"),
    ("/\t/evil.example/wallet", "/"),
    ("/\\evil.example", "/"),
    ("\\\\evil.example", "/"),
    ("/\t/evil.example", "/"),
    ("/\n/evil.example", "/"),
    ("/\0/evil.example", "/"),
    (" //evil.example", "/"),
    ("javascript:alert(1)", "/"),
    ("http:evil.example", "/"),
    ("/" + "a" * 5_000, "/"),
]


def test_signing_in_leads_on_but_never_to_another_site(app: Flask, db: Database) -> None:
    sign_up(Surfer(app))
    for asked, led in LEADS:
        surfer = Surfer(app)
        form = surfer.get("/sign-in")
        sent = surfer.send(form, "", email="min@example.com", password=PASSWORD, next=asked)
        assert sent.location == led, asked
        again = surfer.client.get("/sign-in", query_string={"next": asked})
        assert again.headers["Location"] == led, asked


def test_a_page_for_customers_asks_strangers_to_sign_in_and_comes_back(
    app: Flask, db: Database
) -> None:
    surfer = Surfer(app)
    page = surfer.get("/bookings", 302)
    assert page.location == "/sign-in?next=/bookings"
    assert dict(surfer.get(page.location).form("").fields)["next"] == "/bookings"


# -- every page ---------------------------------------------------------------------------------


def posts(app: Flask) -> Iterator[str]:
    """The path of every form there is."""
    for rule in app.url_map.iter_rules():
        if "POST" in (rule.methods or ()) and not rule.rule.startswith("/api/"):
            path = rule.rule.replace("<int:performance_id>", "1")
            yield path.replace("<reference>", "ABCDEFGH")


def test_a_form_without_its_token_is_refused(app: Flask, db: Database) -> None:
    make_sale(db)
    surfer = Surfer(app, make_accounts(db)[0])
    paths = list(posts(app))
    assert len(paths) >= 13
    for path in paths:
        answer = surfer.client.post(path, data={"email": "a", "key": "k"})
        assert answer.status_code == 400, path
        assert "This form is too old" in answer.text


HOSTILE = [
    {},
    {"seat": "", "quantity": "", "hold_id": "", "key": "", "amount": "", "code": ""},
    {"quantity": "9" * 5_000, "hold_id": "9" * 50, "key": "k" * 300, "amount": "9" * 5_000},
    {"quantity": "-1", "amount": "-5", "key": "k", "hold_id": "0", "price_level": "\0"},
    {"quantity": "99999999999999999999", "amount": "999999999999999", "key": "k"},
    {"quantity": "2", "section": "\0", "price_level": "ﷺ" * 400, "key": "\0", "amount": "1\0"},
    {"seat": ["ST-A-1", "ST-A-1"], "key": "ключ", "amount": "١٢", "code": "\0"},
    {"seat": "\0", "hold_id": "00000000-0000-0000-0000-000000000000", "key": "k", "amount": "1e9"},
    {"seat": ["x"] * 900, "code": "A" * 5_000, "at": "\0", "part": "9" * 5_000},
    {"email": "\0", "password": "\0" * 8, "name": "\0", "next": "\0"},
    {"seat": b"\xff\xfe", "email": b"\xc3\x28", "key": b"\xff", "code": b"\xff", "amount": b"\xff"},
]


@pytest.mark.parametrize("role", ["customer", "organiser", "door"])
def test_no_form_breaks_the_house(app: Flask, db: Database, role: str) -> None:
    surfer = Surfer(app, make_accounts(db, role=role)[0])
    surfer.send(f"/performances/{make_sale(db)}", "/queue")
    for values in HOSTILE:
        token = dict(surfer.get("/wallet").form("/sign-out").fields)["csrf_token"]
        for path in posts(app):
            if path == "/sign-out" or path.endswith("/leave"):
                continue
            answer = surfer.client.post(path, data={"csrf_token": token, **values})
            assert answer.status_code < 500, (path, values)
            assert "This form is too old" not in answer.text


def test_a_body_that_is_too_large_is_refused(app: Flask, db: Database) -> None:
    surfer = Surfer(app, make_accounts(db)[0])
    answer = surfer.client.post("/wallet/top-ups", data={"amount": "1" * 100_000})
    assert answer.status_code == 413
    assert "This request is too large." in answer.text


def test_a_wrong_method_is_a_page_too(client: FlaskClient) -> None:
    answer = client.delete("/wallet")
    assert answer.status_code == 405
    assert "POST" not in answer.headers["Allow"]
    assert "<h1>" in answer.text


@pytest.mark.failure("F22")
def test_a_busy_house_says_so_without_asking_the_database(database_url: str) -> None:
    app = create_app(config_for(database_url, pool_size=1, pool_timeout_seconds=0.05))
    house = app.extensions["jari"]
    house.db.clock.now()
    client = app.test_client()
    client.set_cookie(COOKIE, "a-session-token-of-somebody-who-waits")
    with house.db.reader.connect():
        answers = [client.get("/"), client.get("/wallet")]
    dispose(app)
    for answer in answers:
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.headers["Refresh"] == answer.headers["Retry-After"]
        assert "The house is very busy" in answer.text
        assert "Then this page tries again by itself." in answer.text


def leaves(family: type[Refusal]) -> Iterator[type[Refusal]]:
    for kind in family.__subclasses__():
        yield from leaves(kind)
        if not kind.__subclasses__():
            yield kind


def test_every_refusal_has_a_next_step() -> None:
    api_only = {code for code in TITLES if code.startswith(("token_", "session_", "idempotency_"))}
    api_only |= {"poll_too_soon"}
    codes = {kind.code for kind in leaves(Refusal)} | (set(TITLES) - api_only) | {"invalid"}
    assert codes <= set(NEXT_STEPS)
    for code in codes:
        assert next_step(code, {}).endswith(".")


def test_pages_keep_to_the_policy(app: Flask, db: Database) -> None:
    sale = make_sale(db)
    surfer = Surfer(app, make_accounts(db)[0])
    for path in ("/", f"/performances/{sale}", "/sign-up", "/bookings", "/wallet", "/nothing"):
        text = surfer.client.get(path).text
        assert '<html lang="en">' in text
        assert 'class="skip" href="#main"' in text
        assert " style=" not in text
        assert "<style" not in text
        assert not re.search(r"<script(?![^>]* src=)", text)
        assert not re.search(r" on\w+=", text)
