"""What strangers try: other people's sessions, other sites, many passwords, secrets that are none."""

import re
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from flask import Flask

from tests.builders import make_accounts, make_sale
from tests.conftest import SECRET, AdvancingClock, config_for, dispose
from tests.servers import Web
from tests.shoppers import Shopper
from tests.web.contract import Api, refused
from tests.web.surfer import Surfer
from tests.web.visitors import visitor
from webapp import create_app
from webapp.config import Config, ConfigError
from webapp.db import Database
from webapp.domain.errors import TooManyAttempts
from webapp.web import throttle
from webapp.web.forms import local_path
from webapp.web.guards import COOKIE
from webapp.web.house import House
from webapp.web.security import HEADERS, POLICY
from webapp.web.throttle import Limit, public_address

SOMEWHERE, ELSEWHERE = "8.8.8.8", "9.9.9.9"
NEW = {"email": "min@example.com", "password": "long enough", "name": "Min"}


@pytest.mark.parametrize(
    "text",
    [
        "https://evil.example/",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "javascript:alert(1)",
        "wallet",
        "",
        "/" + "x" * 501,
    ],
)
def test_nobody_is_sent_to_another_site(text: str) -> None:
    assert local_path(text) is None


# -- how often one may try ------------------------------------------------------------------------------


def house_of(url: str, **changes: object) -> House:
    house: House = create_app(config_for(url, **changes)).extensions["jari"]
    return house


def test_tries_are_counted_over_all_workers(database_url: str) -> None:
    """Two workers that share nothing but the database let ten through together, not each."""
    workers = [house_of(database_url).throttle for _ in range(2)]
    let_through = Counter[str]()
    for number in range(24):
        for who in ("min", "other") if number == 0 else ("min",):
            with suppress(TooManyAttempts):
                workers[number % 2].count(throttle.SIGN_IN, who)
                let_through[who] += 1
    assert let_through == {"min": throttle.SIGN_IN.hits, "other": 1}


def test_a_refused_one_costs_the_database_nothing_and_may_come_back(
    db: Database, app: Flask, clock: AdvancingClock
) -> None:
    counting = app.extensions["jari"].throttle
    limit = Limit("test", 2, 60)
    for _ in range(2):
        counting.count(limit, "min")
    with pytest.raises(TooManyAttempts):
        counting.count(limit, "min")
    dispose(app)
    checked_out = db.writer.pool.checkedin()
    for _ in range(100):
        with pytest.raises(TooManyAttempts):
            counting.count(limit, "min")
    assert db.writer.pool.checkedin() == checked_out
    clock.advance(61)
    counting.count(limit, "min")


def test_one_address_tries_many_accounts(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "SIGN_IN_FROM", Limit("sign-in from", 3, 300))
    for number in range(3):
        guess = {"email": f"c{number}@example.com", "password": "guess"}
        response = sign_in(api, SOMEWHERE, guess)
        refused(response, 401, "bad_credentials")
    guess = {"email": "another@example.com", "password": "guess"}
    refused(sign_in(api, SOMEWHERE, guess), 429, "too_many_attempts")
    refused(sign_in(api, ELSEWHERE, guess), 401, "bad_credentials")


def sign_in(api: Api, address: str, body: dict[str, str]) -> object:
    api.client.environ_base["REMOTE_ADDR"] = address
    return api.call("create_session", json=body)


def test_one_address_opens_many_accounts(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "SIGN_UP_FROM", Limit("sign-up from", 2, 300))
    api.client.environ_base["REMOTE_ADDR"] = SOMEWHERE
    for number in range(2):
        api.ok("create_account", json=NEW | {"email": f"c{number}@example.com"})
    response = api.call("create_account", json=NEW | {"email": "another@example.com"})
    refused(response, 429, "too_many_attempts")


def test_joining_over_and_over_is_refused_by_account_and_by_address(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = make_sale(api.db)
    monkeypatch.setattr(throttle, "JOIN", Limit("join", 6, 60, batch=3))
    one = visitor(api, sale)
    statuses = [api.call("join_queue", one.who, path=one.path).status_code for _ in range(12)]
    assert statuses == [201] + [200] * 7 + [429] * 4  # the third batch is the first one over
    monkeypatch.setattr(throttle, "JOIN_FROM", Limit("join from", 4, 60, batch=2))
    api.client.environ_base["REMOTE_ADDR"] = SOMEWHERE
    crowd = [visitor(api, sale) for _ in range(8)]
    statuses = [api.call("join_queue", one.who, path=one.path).status_code for one in crowd]
    assert statuses == [201] * 5 + [429] * 3


def test_an_address_that_is_not_public_is_nobodys() -> None:
    for text in ("127.0.0.1", "10.0.0.7", "192.168.1.1", "172.20.0.2", "::1", "fd00::1", "", None):
        assert public_address(text) is None
    assert public_address("8.8.8.8") == "8.8.8.8"
    assert public_address("2001:4860:4860:1:2:3:4:5") == "2001:4860:4860:1::/64"
    assert public_address("2001:4860:4860:1:9:9:9:9") == "2001:4860:4860:1::/64"


@pytest.mark.parametrize(("proxies", "believed"), [(0, "10.0.0.1"), (1, SOMEWHERE)])
def test_only_the_proxies_that_there_are_say_for_whom_they_ask(
    database_url: str, proxies: int, believed: str
) -> None:
    app = create_app(config_for(database_url, trusted_proxies=proxies))
    seen: list[str | None] = []
    house: House = app.extensions["jari"]
    house.throttle.count = lambda limit, who: seen.append(who)
    headers = {
        "X-Forwarded-For": f"{ELSEWHERE}, {SOMEWHERE}"
    }  # what the client claimed, and who it was
    client = app.test_client()
    body = {"email": "a@example.com", "password": "guess"}
    sent = {"json": body, "headers": headers, "environ_base": {"REMOTE_ADDR": "10.0.0.1"}}
    client.post("/api/v1/sessions", **sent)
    assert seen[0] == public_address(believed)
    dispose(app)


# -- sessions -------------------------------------------------------------------------------------------


@pytest.mark.failure("F47")
def test_a_session_that_somebody_else_chose_is_not_taken_over(app: Flask, db: Database) -> None:
    """Fixation: the attacker plants a cookie, the victim signs in, the attacker is nobody still."""
    planted = "p" * 43
    surfer = Surfer(app)
    surfer.client.set_cookie(COOKIE, planted)
    fields = {name: value for name, value in NEW.items() if name != "csrf_token"}
    surfer.send("/sign-up", "", 303, **fields)
    own = surfer.client.get_cookie(COOKIE)
    assert own is not None
    assert own.value != planted
    thief = app.test_client()
    thief.set_cookie(COOKIE, planted)
    assert "/sign-in" in thief.get("/wallet").headers["Location"]


def test_signing_in_again_is_another_session(api: Api) -> None:
    api.ok("create_account", json=NEW)
    body = {"email": NEW["email"], "password": NEW["password"]}
    tokens = {api.ok("create_session", json=body)["session_token"] for _ in range(3)}
    assert len(tokens) == 3


def test_the_cookies_are_safe(app: Flask, db: Database) -> None:
    app.config["SESSION_COOKIE_SECURE"] = True
    surfer = Surfer(app)
    answer = surfer.client.get("/sign-up", base_url="https://localhost")
    cookie = answer.headers["Set-Cookie"]
    for word in ("Secure", "HttpOnly", "SameSite=Lax"):
        assert word in cookie


def test_every_answer_carries_the_headers_and_no_policy_allows_inline(api: Api) -> None:
    paths = ("/", "/sign-in", "/nowhere", "/healthz", "/api/v1/events", "/api/v1/nowhere")
    sale = make_sale(api.db)
    for path in (*paths, f"/performances/{sale}", f"/api/v1/performances/{sale}"):
        answer = api.client.get(path)
        assert HEADERS.items() <= dict(answer.headers).items(), path
        assert not re.search(r"<(script|style)>|\son\w+=|\sstyle=", answer.text), path
    assert "unsafe" not in POLICY
    assert "default-src 'none'" in POLICY
    assert "frame-ancestors 'none'" in POLICY


# -- secrets --------------------------------------------------------------------------------------------

GOOD, OTHER = "0123456789abcdef" * 2, "fedcba9876543210" * 2


@pytest.mark.parametrize("name", ["SECRET_KEY", "SECRET_KEY_PREVIOUS"])
@pytest.mark.parametrize("secret", ["short", "k" * 64, "abcabc" * 10, "changeme" * 3])
def test_a_weak_secret_is_refused(name: str, secret: str) -> None:
    with pytest.raises(ConfigError, match=name):
        Config.from_env({"SECRET_KEY": GOOD} | {name: secret})


def test_no_secret_at_all_is_refused_and_the_one_before_must_be_another() -> None:
    with pytest.raises(ConfigError, match="SECRET_KEY"):
        Config.from_env({})
    with pytest.raises(ConfigError, match="SECRET_KEY_PREVIOUS"):
        Config.from_env({"SECRET_KEY": GOOD, "SECRET_KEY_PREVIOUS": GOOD})
    assert Config.from_env({"SECRET_KEY": GOOD, "SECRET_KEY_PREVIOUS": OTHER}).secret_key == GOOD


@pytest.mark.failure("F47")
def test_keys_rotate_in_the_middle_of_a_sale(database_url: str) -> None:
    """What the old key signed is good on servers with the new one, until the old one is dropped."""
    new = "another-secret-0123456789-" + "z" * 20
    settings = [
        {},
        {"secret_key": new, "secret_key_previous": SECRET},
        {"secret_key": new},
    ]
    before, during, after = (create_app(config_for(database_url, **one)) for one in settings)
    one = visitor(Api(before)).join()
    wish = {"access": one.access, "path": one.path, "json": {"seats": ["ST-A-1"]}}
    refused(Api(after).call("place_hold", one.who, **wish), 401, "token_invalid")
    api = Api(during)
    hold = api.ok("place_hold", one.who, **wish)
    place = api.ok("poll_queue", one.who, waiting=one.waiting, path=one.path)
    access = {"access": place["access_token"], "key": "k", "json": {"hold_id": hold["id"]}}
    Api(after).ok("pay", one.who, **access)
    for app in (before, during, after):
        dispose(app)


# -- what is written down ---------------------------------------------------------------------------------


def test_no_token_and_no_personal_data_in_logs_or_metrics(
    postgres_url: str, tmp_path: Path
) -> None:
    app = create_app(config_for(postgres_url))
    house: House = app.extensions["jari"]
    sale = make_sale(house.db)
    [customer] = make_accounts(house.db)
    with Web(postgres_url, tmp_path / "web.log", workers=1, LOG_LEVEL="debug") as web:
        shopper = Shopper(web.http, customer, sale)
        shopper.join()
        held = shopper.hold("ST-A-1").body
        bought = shopper.pay(held["id"], key="a-key-of-the-customers").body
        shopper.ask("GET", f"/bookings/{bought['reference']}?session={customer.session}")
        shopper.ask("POST", "/sessions", {"email": customer.email, "password": "a-secret-password"})
        shopper.ask(
            "POST", "/bookings", {"hold_id": "x"}, key="k", Access_Token=shopper.access[:-3]
        )
        metrics = web.http.request("GET", "/metrics").data.decode()
    said = web.said()
    dispose(app)
    secrets = {
        customer.session,
        customer.email,
        shopper.access,
        shopper.access[:-3],
        shopper.waiting,
        bought["tickets"][0]["code"],
        "a-secret-password",
        "a-key-of-the-customers",
        SECRET,
        "Customer ",
    }
    assert str(customer.id) in said  # the log says who by id, and by nothing else
    for secret in secrets:
        assert secret not in said
        assert secret not in metrics
    assert not re.search(r"eyJ[\w-]{10,}", said + metrics)
    assert str(customer.id) not in metrics
