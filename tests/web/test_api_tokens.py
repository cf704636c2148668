"""Bad tokens of every kind are refused at once, with a reason, and the database hears nothing of it."""

import base64
import json
import uuid
from typing import Any

import jwt
import pytest

from tests.builders import Customer, make_sale
from tests.conftest import SECRET
from tests.web.contract import Api, refused
from tests.web.visitors import (
    Visitor,
    expired_token,
    let_time_pass,
    new_key,
    ush,
    visitor,
)
from tests.web.watching import Watch
from webapp.web.tokens import Kind, _kid

BAD_TOKENS = {
    "empty": "token_missing",
    "undefined": "token_malformed",
    "8 KB": "token_malformed",
    "8 KB with dots": "token_malformed",
    "not UTF-8": "token_malformed",
    "two dots and no more": "token_malformed",
    "cut in the middle": "token_malformed",
    "cut at the end": "token_invalid",
    "forged": "token_invalid",
    "alg none": "token_invalid",
    "another algorithm": "token_invalid",
    "of the other kind": "token_invalid",
    "called the other kind": "token_invalid",
    "called nothing": "token_invalid",
    "of an unknown key": "token_invalid",
    "of another key": "token_invalid",
    "without exp": "token_invalid",
    "exp as text": "token_invalid",
    "without iat": "token_invalid",
    "without jti": "token_invalid",
    "without sub": "token_invalid",
    "another audience": "token_invalid",
    "another issuer": "token_invalid",
    "two audiences": "token_invalid",
    "no entry": "token_invalid",
    "a list": "token_invalid",
    "expired": "token_expired",
}
OTHER: dict[Kind, Kind] = {"waiting": "access", "access": "waiting"}


def bad_token(api: Api, kind: Kind, good: dict[Kind, str], name: str) -> str:
    payload = jwt.decode(good[kind], options={"verify_signature": False})
    head, body, signature = good[kind].split(".")

    def signed(
        change: dict[str, Any] | None = None,
        without: str = "",
        key: str = SECRET,
        algorithm: str = "HS256",
        **header: str | None,
    ) -> str:
        claims = {k: v for k, v in (payload | (change or {})).items() if k != without}
        headers = {"kid": _kid(SECRET), "typ": f"{kind}+jwt"} | header
        return jwt.encode(claims, key, algorithm, headers=headers)

    def none() -> str:
        header = {"alg": "none", "typ": f"{kind}+jwt", "kid": _kid(SECRET)}
        encoded = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
        return f"{encoded}.{body}."

    def a_list() -> str:
        encoded = base64.urlsafe_b64encode(b"[]").rstrip(b"=").decode()
        key = api.house.tokens._keys[_kid(SECRET)]
        alg = jwt.get_algorithm_by_name("HS256")
        sign = alg.sign(f"{head}.{encoded}".encode(), alg.prepare_key(key))
        return f"{head}.{encoded}." + base64.urlsafe_b64encode(sign).rstrip(b"=").decode()

    makers = {
        "empty": lambda: "",
        "undefined": lambda: "undefined",
        "8 KB": lambda: "x" * 8192,
        "8 KB with dots": lambda: f"{head}.{'x' * 8192}.{signature}",
        "not UTF-8": lambda: "\xff\xfe.\xe9.\xff",
        "two dots and no more": lambda: "..",
        "cut in the middle": lambda: good[kind][: len(head) // 2],
        "cut at the end": lambda: good[kind][:-11],
        "forged": lambda: f"{head}.{body[:-6]}AAAAAA.{signature}",
        "alg none": none,
        "another algorithm": lambda: signed(algorithm="HS384"),
        "of the other kind": lambda: good[OTHER[kind]],
        "called the other kind": lambda: signed(typ=f"{OTHER[kind]}+jwt"),
        "called nothing": lambda: signed(typ=None),
        "of an unknown key": lambda: signed(kid="0123456789ab"),
        "of another key": lambda: signed(key="another-secret-" + "z" * 40),
        "without exp": lambda: signed(without="exp"),
        "exp as text": lambda: signed({"exp": "soon"}),
        "without iat": lambda: signed(without="iat"),
        "without jti": lambda: signed(without="jti"),
        "without sub": lambda: signed(without="sub"),
        "another audience": lambda: signed({"aud": f"jari-{OTHER[kind]}"}),
        "another issuer": lambda: signed({"iss": "somebody"}),
        "two audiences": lambda: signed({"aud": [f"jari-{kind}", "other"]}),
        "no entry": lambda: signed({"ent": "none"}),
        "a list": a_list,
        "expired": lambda: expired_token(api.house.tokens, kind, good[kind]),
    }
    assert set(makers) == set(BAD_TOKENS)
    return makers[name]()


def _tokens(v: Visitor) -> dict[Kind, str]:
    assert v.access is not None
    return {"waiting": v.waiting, "access": v.access}


@pytest.mark.failure("F12")
@pytest.mark.failure("F16")
def test_a_bad_waiting_token_is_refused_without_a_statement(api: Api) -> None:
    v = visitor(api).join()
    for name, code in BAD_TOKENS.items():
        token = bad_token(api, "waiting", _tokens(v), name)
        for who in (None, v.who, Customer(uuid.uuid4(), "", "x" * 40)):
            with Watch(api.db) as watch:
                response = api.call("poll_queue", who, waiting=token, path=v.path)
            assert refused(response, 401, code)["token"] == "waiting", name
            assert watch.idle, name
    assert api.ok("poll_queue", v.who, waiting=v.waiting, path=v.path)["status"] == "admitted"


@pytest.mark.failure("F12")
@pytest.mark.failure("F16")
def test_a_bad_access_token_is_refused_without_a_statement(api: Api, passed: list[str]) -> None:
    v = visitor(api).join()
    one = {"path": v.path, "json": {"seats": ["ST-A-1"]}}
    for name, code in BAD_TOKENS.items():
        token = bad_token(api, "access", _tokens(v), name)
        with Watch(api.db) as watch:
            response = api.call("place_hold", v.who, access=token, **one)
        assert refused(response, 401, code)["token"] == "access", name
        assert watch.idle, name
    assert passed == []  # not even Flask was asked
    api.ok("place_hold", v.who, access=v.access, **one)


@pytest.mark.failure("F12")
def test_a_bad_access_token_pays_nothing_and_begins_no_transaction(api: Api) -> None:
    v = visitor(api).join().choose("ST-A-1")
    for name, code in BAD_TOKENS.items():
        if name == "expired":
            continue
        token = bad_token(api, "access", _tokens(v), name)
        with Watch(api.db) as watch:
            response = api.call("pay", v.who, access=token, key=new_key(), json=v.holding)
        assert refused(response, 401, code)["token"] == "access", name
        assert watch.borrowed == 1, name  # who asks, with whether this was answered before
    v.pay()


@pytest.mark.failure("F12")
def test_a_session_token_that_was_never_given_out_is_refused_without_a_statement(api: Api) -> None:
    tokens = ("undefined", "null", "x", "x" * 8192, "\xff\xfe\xe9" * 14, "ab cd" * 10, "a.b.c" * 10)
    for token in tokens:
        with Watch(api.db) as watch:
            response = api.call("get_wallet", Customer(uuid.uuid4(), "", token))
        refused(response, 401, "session_invalid")
        assert watch.idle
    for headers in (
        {},
        {"Authorization": ""},
        {"Authorization": "Basic eDp5"},
        {"Cookie": "jari_session=x"},
    ):
        with Watch(api.db) as watch:
            response = api.call("get_wallet", headers=headers)
        refused(response, 401, "session_missing")
        assert watch.idle


def test_a_token_counts_at_its_own_performance_and_for_its_owner_only(api: Api) -> None:
    v, other = visitor(api).join(), make_sale(api.db)
    stranger = visitor(api).who
    elsewhere = {"performance_id": other}
    response = api.call("poll_queue", waiting=v.waiting, path=elsewhere)
    refused(response, 403, "token_wrong_performance")
    response = api.call("poll_queue", stranger, waiting=v.waiting, path=v.path)
    refused(response, 403, "token_wrong_customer")
    wish = {"json": {"seats": ["ST-A-1"]}}
    response = api.call("place_hold", v.who, access=v.access, path=elsewhere, **wish)
    refused(response, 403, "token_wrong_performance")
    response = api.call("place_hold", stranger, access=v.access, path=v.path, **wish)
    refused(response, 403, "token_wrong_customer")
    response = api.call("place_hold", stranger, access=v.access, path=v.path, key=new_key(), **wish)
    refused(response, 403, "token_wrong_customer")


@pytest.mark.failure("F25")
def test_who_asks_too_soon_is_refused_without_a_statement(api: Api) -> None:
    v = visitor(api, make_sale(api.db, capacity=0)).join()
    ush(api)  # who has a number in a room that stands is told to wait longer than a test takes
    api.ok("poll_queue", v.who, waiting=v.waiting, path=v.path)
    for who in (v.who, None):
        with Watch(api.db) as watch:
            response = api.call("poll_queue", who, waiting=v.waiting, path=v.path)
        refused(response, 429, "poll_too_soon")
        assert watch.idle


def test_polling_asks_the_database_nothing_in_the_steady_state(api: Api) -> None:
    v = visitor(api, make_sale(api.db, capacity=0)).join()
    ush(api)
    place = api.ok("poll_queue", v.who, waiting=v.waiting, path=v.path)
    assert place["number"] == 1
    let_time_pass(api)
    place = api.ok("poll_queue", v.who, waiting=place["waiting_token"], path=v.path)
    api.house.pacing = type(api.house.pacing)()
    with Watch(api.db) as watch:
        again = api.ok("poll_queue", v.who, waiting=place["waiting_token"], path=v.path)
    assert watch.idle
    assert (again["number"], again["ahead"]) == (1, 0)


@pytest.mark.failure("F30")
def test_the_crowd_before_a_sold_out_house_costs_no_statement(api: Api) -> None:
    sale = make_sale(api.db, seats=2)
    visitor(api, sale).join().choose("ST-A-1", "ST-A-2").pay()
    let_time_pass(api)
    late = visitor(api, sale)
    refused(api.call("join_queue", late.who, path=late.path), 409, "sold_out")
    with Watch(api.db) as watch:
        refused(api.call("join_queue", late.who, path=late.path), 409, "sold_out")
    assert watch.idle


def test_an_access_token_past_its_end_still_pays_while_its_hold_lives(api: Api) -> None:
    sale = make_sale(api.db, session_seconds=60, hold_seconds=300)
    v = visitor(api, sale).join().choose("ST-A-1")
    api.db.clock.advance(61)
    wish = {"access": v.access, "path": v.path, "json": {"seats": ["ST-A-2"]}}
    refused(api.call("place_hold", v.who, **wish), 401, "token_expired")
    v.pay()


@pytest.mark.failure("F2")
def test_a_hold_past_its_end_is_not_paid_and_its_seats_are_anybodys(api: Api) -> None:
    v = visitor(api, make_sale(api.db, session_seconds=60, hold_seconds=60)).join().choose("ST-A-1")
    api.db.clock.advance(61)
    response = api.call("pay", v.who, access=v.access, key=new_key(), json=v.holding)
    refused(response, 410, "hold_expired")
    visitor(api, v.performance_id).join().choose("ST-A-1")
