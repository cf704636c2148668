"""The fast lane: the same answers as Flask gives, without a query, or none at all."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.builders import make_accounts, make_sale
from tests.web.contract import Api
from tests.web.visitors import Visitor, let_time_pass, ush, visitor
from tests.web.watching import Watch
from webapp.web import fastlane, security
from webapp.web.fastlane import FastLane


@pytest.fixture
def api(app: Flask) -> Api:
    return Api(app)


@pytest.fixture
def passed(app: Flask) -> list[str]:
    """What Flask was asked, by path."""
    lane, seen = app.wsgi_app, []
    assert isinstance(lane, FastLane)
    flask = lane._wsgi

    def listen(environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        seen.append(environ["PATH_INFO"])
        return flask(environ, start)

    lane._wsgi = listen
    return seen


def line(api: Api, count: int = 3, **sale: Any) -> list[Visitor]:
    """People in line, each of whom has polled once and may do so again."""
    performance = make_sale(api.db, **({"capacity": 0} | sale))
    people = [visitor(api, performance).join() for _ in range(count)]
    ush(api)
    let_time_pass(api)
    for person in people:
        poll(api, person)
    let_again(api)
    return people


def poll(api: Api, person: Visitor, **more: Any) -> TestResponse:
    response = api.call("poll_queue", waiting=person.waiting, path=person.path, **more)
    if response.status_code == 200:
        person.waiting = response.json["waiting_token"]
    return response


def let_again(api: Api) -> None:
    """Let everybody ask again; the snapshots stay as they are."""
    api.house.pacing._not_before.clear()


@pytest.mark.failure("F24")
def test_in_the_steady_state_polls_ask_neither_flask_nor_the_database(
    api: Api, passed: list[str]
) -> None:
    people = line(api)
    poll(api, people[2])  # this process has seen the newest token now
    let_again(api)
    passed.clear()
    with Watch(api.db) as watch:
        place = poll(api, people[2]).json
    assert (place["number"], place["ahead"], place["status"]) == (3, 2, "waiting")
    assert watch.idle
    assert passed == []


def test_its_answer_is_flasks_answer(api: Api, app: Flask, passed: list[str]) -> None:
    person = line(api)[1]
    poll(api, person)
    let_again(api)
    passed.clear()
    fast = poll(api, person, headers={"X-Request-Id": "a-request-of-mine"})
    let_again(api)
    api.house.sales.forget()
    slow = poll(api, person, headers={"X-Request-Id": "a-request-of-mine"})
    assert len(passed) == 1
    assert fast.headers["X-Request-Id"] == "a-request-of-mine"
    assert dict(fast.headers) | {"Content-Length": ""} == dict(slow.headers) | {
        "Content-Length": ""
    }
    assert fast.json | {"poll_after_ms": 0} == slow.json | {"poll_after_ms": 0}


def test_before_the_opening_nobody_is_looked_up(api: Api, passed: list[str]) -> None:
    early = api.db.clock.now() - timedelta(seconds=5)
    person = line(api, 1, prequeue_opens_at=early, opens_in=600.0)[0]
    passed.clear()
    with Watch(api.db) as watch:
        place = poll(api, person).json
    assert (place["status"], place["number"], place["ahead"]) == ("waiting", None, None)
    assert watch.idle
    assert passed == []


@pytest.mark.failure("F25")
def test_the_hasty_go_on_to_flask_which_refuses_them_without_a_query(
    api: Api, passed: list[str]
) -> None:
    person = line(api)[1]
    poll(api, person)
    passed.clear()
    with Watch(api.db) as watch:
        assert poll(api, person).status_code == 429
    assert watch.idle
    assert len(passed) == 1


def test_a_session_that_is_known_passes_and_a_strangers_does_not(
    api: Api, passed: list[str]
) -> None:
    person = line(api)[1]
    [stranger] = make_accounts(api.db)
    for who in (person.who, stranger):
        let_again(api)
        poll(api, person, who=who)  # now both are known here
    let_again(api)
    passed.clear()
    assert poll(api, person, who=person.who).status_code == 200
    assert passed == []
    let_again(api)
    assert poll(api, person, who=stranger).status_code == 403
    assert len(passed) == 1


@pytest.mark.parametrize("change", ["admitted", "left", "closed", "sold out", "another", "expired"])
def test_whatever_is_not_steady_is_flasks_matter(api: Api, passed: list[str], change: str) -> None:
    person, other = line(api, 2, seats=1)
    poll(api, person)
    let_time_pass(api)
    if change == "admitted":
        other_sale = person.performance_id
        api.db.transact(
            lambda tx: tx.connection.exec_driver_sql(
                f"UPDATE performance SET capacity = 5 WHERE id = {other_sale}"
            )
        )
        ush(api)
    elif change == "left":
        api.ok("leave_queue", person.who, path=person.path)
    elif change in ("closed", "expired"):
        api.db.clock.advance(90_000)
    elif change == "sold out":
        api.db.transact(lambda tx: tx.connection.exec_driver_sql("UPDATE seat SET blocked = true"))
    else:
        person.waiting = other.waiting[:-4] + "AAAA"
    for snapshots in (api.house.sales, api.house.rooms, api.house.availability):
        snapshots.get(person.performance_id)
    passed.clear()
    poll(api, person)
    assert len(passed) == 1


def sold_out(api: Api) -> Visitor:
    """Somebody who comes too late, to a sale of which this process knows that."""
    sale = make_sale(api.db, seats=2)
    visitor(api, sale).join().choose("ST-A-1", "ST-A-2").pay()
    let_time_pass(api)
    late = visitor(api, sale)
    assert try_to_join(api, late).status_code == 409
    return late


def try_to_join(api: Api, person: Visitor, **more: Any) -> TestResponse:
    return api.call("join_queue", person.who, path=person.path, **more)


@pytest.mark.failure("F30")
def test_the_crowd_before_a_sold_out_house_asks_neither_flask_nor_the_database(
    api: Api, passed: list[str]
) -> None:
    late = sold_out(api)
    headers = {"X-Request-Id": "a-request-of-mine"}
    passed.clear()
    with Watch(api.db) as watch:
        fast = try_to_join(api, late, headers=headers)
    assert watch.idle
    assert passed == []
    api.house.sales.forget()
    slow = try_to_join(api, late, headers=headers)
    assert len(passed) == 1
    assert dict(fast.headers) == dict(slow.headers)
    assert (fast.status, fast.json) == (slow.status, slow.json)


@pytest.mark.parametrize(
    "change", ["a seat is back", "closed", "unknown", "keyed", "nobody", "body"]
)
def test_who_may_join_or_is_refused_for_something_else_is_flasks_matter(
    api: Api, passed: list[str], change: str
) -> None:
    late = sold_out(api)
    more: dict[str, Any] = {}
    if change == "a seat is back":
        api.db.transact(
            lambda tx: tx.connection.exec_driver_sql(
                "UPDATE seat SET ticket_id = NULL WHERE seat_no = 0"
            )
        )
        let_time_pass(api)
    elif change == "closed":
        api.db.clock.advance(90_000)
    elif change == "unknown":
        late.performance_id += 1_000
    elif change == "keyed":
        more = {"key": "k" * 20}
    elif change == "body":
        more = {"json": {}}
    if change != "unknown":
        api.house.sales.get(late.performance_id)
        api.house.availability.get(late.performance_id)
    who = None if change == "nobody" else late.who
    passed.clear()
    answer = api.call("join_queue", who, path=late.path, **more)
    assert len(passed) == 1
    assert (answer.status_code == 201) == (change == "a seat is back")


def test_each_has_its_line_in_the_log(
    api: Api, passed: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    person, late = line(api)[1], sold_out(api)
    poll(api, person)
    with caplog.at_level("INFO", "jari.request"):
        for lane in ("fast", "flask"):
            let_again(api)
            if lane == "flask":
                api.house.rooms.forget()
                api.house.sales.forget()
            passed.clear()
            headers = {"X-Request-Id": "a-request-of-mine"}
            assert poll(api, person, headers=headers).status_code == 200
            assert try_to_join(api, late, headers=headers).status_code == 409
            assert len(passed) == (2 if lane == "flask" else 0)
    lines = [json.loads(record.message) for record in caplog.records]
    for one in lines:
        assert one.pop("milliseconds") >= 0
        assert one.pop("timestamp")
    fast, slow = lines[:2], lines[2:]
    assert fast == slow
    assert [one["account_id"] for one in fast] == [str(person.who.id), None]
    assert [one["status"] for one in fast] == [200, 409]


def test_the_lane_counts_under_the_routes_own_name(app: Flask) -> None:
    assert fastlane.ROUTE in {rule.rule for rule in app.url_map.iter_rules()}
    assert set(security.HEADERS) <= {name for name, _ in fastlane._HEADERS}
