"""Holds in a sold-out house: refused from memory, as the database would have refused them."""

import json
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.builders import make_sale
from tests.web.contract import Api, refused
from tests.web.visitors import Visitor, change_performance, let_time_pass, new_key, visitor
from tests.web.watching import Watch

LONG_AGO = float("-inf")

# What somebody wants, and how the house says no.
WISHES: dict[str, tuple[dict[str, Any], int, str]] = {
    "a seat": ({"seats": ["ST-A-2"]}, 409, "seats_taken"),
    "seats": ({"seats": ["ST-A-3", "ST-A-1"]}, 409, "seats_taken"),
    "a blocked one too": ({"seats": ["ST-B-1", "ST-A-2"]}, 409, "seats_taken"),
    "the best": ({"best_available": {"quantity": 1}}, 409, "not_enough_seats"),
    "too many of the best": ({"best_available": {"quantity": 9}}, 409, "not_enough_seats"),
    "seats that there are not": ({"seats": ["ST-A-1", "XX-1"]}, 404, "seat_unknown"),
    "too many": ({"seats": ["ST-A-1", "ST-A-2", "ST-A-3"]}, 409, "too_many_seats"),
    "one twice": ({"seats": ["ST-A-1", "ST-A-1"]}, 422, "invalid"),
    "nothing": ({}, 422, "invalid"),
}


@pytest.fixture
def late(api: Api) -> Visitor:
    """Somebody inside a house whose last seats somebody else has paid; this process has seen that."""
    sale = make_sale(api.db, seats=4, blocked=[3], seats_max=2)
    buyers = [visitor(api, sale).join() for _ in range(2)]
    late = visitor(api, sale).join()
    buyers[0].choose("ST-A-1", "ST-A-2").pay()
    buyers[1].choose("ST-A-3").pay()
    look_again(api, late)
    return late


MINE = {"X-Request-Id": "a-request-of-mine"}
# More that is refused ahead of Flask, and what only Flask looks at.
TOKENS = {"no token": None, "spoilt": "undefined", "of the wrong kind": "waiting"}
UNUSUAL: dict[str, dict[str, Any]] = {
    "keyed": {"key": "k" * 20},
    "of another type": {"content_type": "text/plain"},
    "long": {"data": b'{"seats": ["ST-A-1"]' + b" " * 10_000 + b"}"},
    "nobody's": {"headers": {"Authorization": ""}},
}


@pytest.mark.parametrize("name", [*WISHES, "not JSON", *TOKENS])
def test_it_is_refused_ahead_of_flask_as_flask_would(
    api: Api, late: Visitor, passed: list[str], caplog: pytest.LogCaptureFixture, name: str
) -> None:
    more: dict[str, Any] = {"headers": MINE}
    if name == "not JSON":
        more |= {"json": None, "data": b"{", "content_type": "application/json"}
    elif name in TOKENS:
        more["access"] = late.waiting if TOKENS[name] == "waiting" else TOKENS[name]
    wish = WISHES.get(name, WISHES["a seat"])[0]
    with caplog.at_level("INFO", "jari.request"):
        fast = want(late, wish, **more)
        assert passed == []
        with api.through_flask():
            slow = want(late, wish, **more)
    assert len(passed) == 1
    assert (fast.status, fast.json) == (slow.status, slow.json)
    assert dict(fast.headers) == dict(slow.headers)
    lines = [dict(record.said) for record in caplog.records]
    for line in lines:
        assert line.pop("milliseconds") >= 0
    assert lines[0] == lines[1]


@pytest.mark.parametrize("name", UNUSUAL)
def test_what_is_unusual_is_flasks_matter(
    api: Api, late: Visitor, passed: list[str], name: str
) -> None:
    body = json.dumps(WISHES["a seat"][0]).encode()
    given = {"json": None, "data": body, "content_type": "application/json"} | UNUSUAL[name]
    assert want(late, {}, **given).status_code >= 400
    assert len(passed) == 1


def test_a_hold_in_a_house_that_sells_is_flasks_matter(api: Api, passed: list[str]) -> None:
    someone = visitor(api).join()
    api.ok("get_availability", path=someone.path)
    passed.clear()
    someone.choose("ST-A-1")
    assert len(passed) == 1


def look_again(api: Api, someone: Visitor) -> None:
    let_time_pass(api)
    api.ok("get_availability", path=someone.path)
    api.ok("get_seatmap", path=someone.path)


def grow_old(api: Api) -> None:
    """Let what is remembered of the seats be remembered still, and too old to be told."""
    for slot in api.house.availability._slots.values():
        slot.read_at = LONG_AGO


def want(late: Visitor, wish: dict[str, Any], **more: Any) -> TestResponse:
    given = {"access": late.access, "path": late.path, "json": wish} | more
    return late.api.call("place_hold", late.who, **given)


@pytest.mark.failure("F30")
@pytest.mark.parametrize("name", WISHES)
def test_whoever_wants_seats_of_a_sold_out_house_costs_no_statement(
    api: Api, late: Visitor, name: str
) -> None:
    wish, status, code = WISHES[name]
    with Watch(api.db) as watch:
        from_memory = refused(want(late, wish), status, code)
    assert watch.idle, watch.statements
    api.house.availability.forget()
    with Watch(api.db) as watch:
        from_the_database = refused(want(late, wish), status, code)
    assert not watch.idle
    assert from_memory == from_the_database


@pytest.mark.failure("F30")
def test_a_sold_out_house_is_looked_at_once_in_a_while_for_all_who_want_seats(
    api: Api, late: Visitor
) -> None:
    grow_old(api)
    with Watch(api.db) as watch:
        for wish, status, code in WISHES.values():
            refused(want(late, wish), status, code)
    assert len([text for text in watch.statements if "seat" in text]) == 1
    assert not [text for text in watch.statements if "queue_entry" in text]


def test_a_house_that_sells_is_not_looked_at_for_a_hold(api: Api) -> None:
    someone = visitor(api).join()
    api.ok("get_availability", path=someone.path)
    grow_old(api)
    someone.choose("ST-A-1")
    [slot] = api.house.availability._slots.values()
    assert slot.read_at == LONG_AGO


def test_a_seat_that_comes_back_is_anybodys(api: Api) -> None:
    sale = make_sale(api.db, seats=2)
    buyer, late = visitor(api, sale).join(), visitor(api, sale).join()
    buyer.choose("ST-A-1", "ST-A-2").pay()
    look_again(api, late)
    refused(want(late, WISHES["a seat"][0]), 409, "seats_taken")
    buyer.cancel()
    grow_old(api)
    assert late.choose("ST-A-2").hold["seats"][0]["seat"] == "ST-A-2"


def test_a_sale_that_is_paused_or_closed_has_its_own_words(api: Api, late: Visitor) -> None:
    wish = WISHES["a seat"][0]
    change_performance(api, late.performance_id, paused=True)
    look_again(api, late)
    refused(want(late, wish), 409, "sale_paused")
    change_performance(api, late.performance_id, closes_in=0)
    look_again(api, late)
    refused(want(late, wish), 409, "sale_closed")


def test_the_token_is_looked_at_first_and_a_kept_answer_before_anything(
    api: Api, late: Visitor
) -> None:
    wish = WISHES["a seat"][0]
    refused(want(late, wish, access="undefined"), 401, "token_malformed")
    refused(want(late, wish, access=late.waiting), 401, "token_invalid")
    refused(want(late, wish, path={"performance_id": 999}), 403, "token_wrong_performance")
    sale = make_sale(api.db, seats=2)
    buyer, key = visitor(api, sale).join(), new_key()
    first = want(buyer, {"seats": ["ST-A-1", "ST-A-2"]}, key=key)
    buyer.hold = first.json
    buyer.pay()
    look_again(api, buyer)
    again = want(buyer, {"seats": ["ST-A-1", "ST-A-2"]}, key=key)
    assert (again.status_code, again.json) == (201, first.json)
