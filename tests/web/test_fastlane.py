"""The fast lane: the same answers as Flask gives, down to every header and the line in the log."""

import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.builders import Customer, make_sale
from tests.web.contract import Api
from tests.web.visitors import (
    Visitor,
    change_performance,
    expired_session,
    expired_token,
    keep_to,
    let_time_pass,
    stand_within_a_window,
    ush,
    visitor,
)
from tests.web.watching import Watch
from webapp.db import Busy, OutcomeUnknown
from webapp.domain import accounts
from webapp.domain.errors import TooManyAttempts
from webapp.web import fastlane, security
from webapp.web.challenges import ProofOfWork
from webapp.web.fastlane import FastLane


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


Ask = Callable[[], TestResponse]
# What no two answers have in common.
OF_THE_MOMENT = ("poll_after_ms", "waiting_token", "access_token", "expires_at", "retry_after")


def both(api: Api, app: Flask, passed: list[str], ask: Ask) -> tuple[TestResponse, TestResponse]:
    """Ask the same thing of the fast lane and of Flask."""
    let_again(api)
    passed.clear()
    fast = ask()
    assert passed == []
    lane = app.wsgi_app
    assert isinstance(lane, FastLane)
    let_again(api)
    app.wsgi_app = lane._wsgi  # type: ignore[method-assign]
    try:
        slow = ask()
    finally:
        app.wsgi_app = lane  # type: ignore[method-assign]
    assert len(passed) == 1
    return fast, slow


def told(answer: TestResponse) -> tuple[Any, ...]:
    """What an answer says, without what is of the moment."""
    headers = {k: v for k, v in answer.headers if k not in ("Content-Length", "Retry-After")}
    body = {k: v for k, v in answer.json.items() if k not in OF_THE_MOMENT}
    named = sorted(k for k in (*answer.json, *answer.headers.keys()) if k)
    return answer.status, headers, body, named


def asking(api: Api, situation: str) -> Ask:
    """Prepare somebody who polls in a situation."""
    person, other = line(api, 2, seats=1)
    more: dict[str, Any] = {"headers": ID} | (SITUATIONS[situation](api, person, other) or {})
    return lambda: api.call("poll_queue", waiting=person.waiting, path=person.path, **more)


def _be_admitted(api: Api, person: Visitor, _: Visitor) -> None:
    capacity = f"UPDATE performance SET capacity = 5 WHERE id = {person.performance_id}"
    api.db.transact(lambda tx: tx.connection.exec_driver_sql(capacity))
    let_time_pass(api)
    ush(api)
    let_time_pass(api)


def _leave(api: Api, person: Visitor, _: Visitor) -> None:
    api.ok("leave_queue", person.who, path=person.path)
    let_time_pass(api)


def _close(api: Api, person: Visitor, _: Visitor) -> None:
    change_performance(api, person.performance_id, closes_in=-1.0)


def _expire(api: Api, _person: Visitor, _: Visitor) -> None:
    api.db.clock.advance(90_000)


def _sell_out(api: Api, _person: Visitor, _: Visitor) -> None:
    api.db.transact(lambda tx: tx.connection.exec_driver_sql("UPDATE seat SET blocked = true"))
    let_time_pass(api)


def _spoil(_: Api, person: Visitor, other: Visitor) -> None:
    person.waiting = other.waiting[:-4] + "AAAA"


def _forget(_: Api, person: Visitor, _other: Visitor) -> None:
    person.waiting = "undefined"


def _go_elsewhere(api: Api, person: Visitor, _: Visitor) -> None:
    person.performance_id = make_sale(api.db)


def _with(authorization: str) -> dict[str, Any]:
    return {"headers": ID | {"Authorization": authorization}}


SITUATIONS: dict[str, Callable[[Api, Visitor, Visitor], dict[str, Any] | None]] = {
    "steady": lambda *_: None,
    "admitted": _be_admitted,
    "left": _leave,
    "closed": _close,
    "expired": _expire,
    "sold out": _sell_out,
    "spoilt": _spoil,
    "malformed": _forget,
    "another room": _go_elsewhere,
    "own session": lambda _, person, _other: {"who": person.who},
    "another session of one's own": lambda api, person, _: {"who": signed_in_again(api, person)},
    "a stranger's session": lambda _, _person, other: {"who": other.who},
    "an expired session": lambda api, person, _: {"who": expired_session(api.db, person.who)},
    "an unknown session": lambda *_: _with("Bearer " + "x" * 43),
    "no session": lambda *_: _with("Bearer"),
}


ID = {"X-Request-Id": "a-request-of-mine"}


def signed_in_again(api: Api, person: Visitor) -> Customer:
    token = f"session-{uuid.uuid4().hex}"
    lifetime = timedelta(hours=1)
    api.db.transact(accounts.open_session, person.who.id, accounts.digest(token), lifetime)
    return Customer(person.who.id, person.who.email, token)


@pytest.mark.parametrize(
    ("situation", "status"),
    [
        ("steady", 200),
        ("admitted", 200),
        ("left", 410),
        ("closed", 409),
        ("expired", 401),
        ("sold out", 409),
        ("spoilt", 401),
        ("malformed", 401),
        ("another room", 403),
        ("own session", 200),
        ("another session of one's own", 200),
        ("a stranger's session", 403),
        ("an unknown session", 401),
        ("no session", 200),
        ("an expired session", 401),
    ],
)
def test_a_poll_is_answered_as_flask_would(
    api: Api, app: Flask, passed: list[str], situation: str, status: int
) -> None:
    fast, slow = both(api, app, passed, asking(api, situation))
    assert told(fast) == told(slow)
    assert fast.status_code == status
    assert fast.headers["X-Request-Id"] == ID["X-Request-Id"]


def joining(api: Api, situation: str) -> Ask:
    """Prepare somebody who joins in a situation."""
    late = sold_out(api) if situation == "sold out" else visitor(api)
    more: dict[str, Any] = {}
    if situation == "again":
        late.join()
    elif situation == "admitted at once":
        late.performance_id = make_sale(api.db, capacity=None)
        late.join()
    elif situation == "not open":
        late.performance_id = make_sale(api.db, opens_in=600.0)
    elif situation == "closed":
        api.db.clock.advance(90_000)
        late.who = signed_in_again(api, late)
    elif situation == "unknown":
        late.performance_id += 1_000
    elif situation == "an unknown session":
        more["headers"] = ID | {"Authorization": "Bearer " + "x" * 43}
    elif situation == "a malformed session":
        more["headers"] = ID | {"Authorization": "Bearer {}"}
    elif situation == "too often":
        with suppress(TooManyAttempts):
            while True:
                api.house.throttle.count_joining(late.who.id, None)
    elif situation == "challenged":
        stand_within_a_window(api)
        api.house.challenge = ProofOfWork(api.db.clock, "s" * 32, 8)
    who = None if "headers" in more else late.who
    return lambda: api.call("join_queue", who, path=late.path, **({"headers": ID} | more))


@pytest.mark.parametrize(
    ("situation", "status"),
    [
        ("again", 200),
        ("admitted at once", 200),
        ("sold out", 409),
        ("not open", 409),
        ("closed", 409),
        ("unknown", 404),
        ("an unknown session", 401),
        ("a malformed session", 401),
        ("too often", 429),
        ("challenged", 403),
    ],
)
def test_a_join_is_answered_as_flask_would(
    api: Api, app: Flask, passed: list[str], situation: str, status: int
) -> None:
    fast, slow = both(api, app, passed, joining(api, situation))
    assert told(fast) == told(slow)
    assert fast.status_code == status


def test_a_new_stay_is_201_in_both(api: Api, app: Flask, passed: list[str]) -> None:
    sale = make_sale(api.db, capacity=0)
    people = iter([visitor(api, sale), visitor(api, sale)])

    def ask() -> TestResponse:
        one = next(people)
        return api.call("join_queue", one.who, path=one.path, headers=ID)

    fast, slow = both(api, app, passed, ask)
    assert told(fast) == told(slow)
    assert fast.status_code == 201


TOKENS: dict[str, Callable[[Api, Visitor, Visitor], str | None]] = {
    "one's own": lambda api, one, _: one.waiting,
    "one's own, expired": lambda api, one, _: expired_token(
        api.house.tokens, "waiting", one.waiting
    ),
    "another's": lambda api, _, other: other.waiting,
    "a spoilt one": lambda api, one, _: one.waiting[:-4] + "AAAA",
    "none": lambda *_: None,
}


@pytest.mark.failure("F17")
@pytest.mark.parametrize(
    ("token", "ahead"),
    [
        ("one's own", 2),
        ("one's own, expired", 2),
        ("another's", 3),
        ("a spoilt one", 3),
        ("none", 3),
    ],
)
def test_who_joins_again_is_shown_no_more_people_ahead_than_the_token_says(
    api: Api, app: Flask, passed: list[str], token: str, ahead: int
) -> None:
    """Though this process has not looked since somebody left. A token that says nothing is no fault."""
    first, second, _, last = line(api, 4)
    rooms = api.house.rooms
    old = rooms.get(last.performance_id)
    api.ok("leave_queue", first.who, path=first.path)
    rooms.forget()
    assert [poll(api, one).json["ahead"] for one in (second, last)] == [0, 2]
    keep_to(api.house, old)
    sent = TOKENS[token](api, last, second)
    for answer in both(api, app, passed, lambda: try_to_join(api, last, waiting=sent)):
        assert (answer.status_code, answer.json["number"], answer.json["ahead"]) == (200, 4, ahead)


def test_what_goes_wrong_is_told_as_flask_would(
    api: Api, app: Flask, passed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    person = visitor(api)
    lane = app.wsgi_app
    assert isinstance(lane, FastLane)
    for error, status in ((Busy("join"), 503), (OutcomeUnknown(), 503), (ZeroDivisionError(), 500)):

        def fail(_arrival: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(api.house.joins, "join", fail)
        answers = []
        for stands in (lane, lane._wsgi):
            app.wsgi_app = stands  # type: ignore[method-assign]
            path = f"/api/v1/performances/{person.performance_id}/queue"
            answers.append(api.client.post(path, headers=ID | person.who.bearer))
        app.wsgi_app = lane  # type: ignore[method-assign]
        fast, slow = answers
        assert (fast.status, fast.json, dict(fast.headers)) == (
            slow.status,
            slow.json,
            dict(slow.headers),
        )
        assert fast.status_code == status


def test_before_the_opening_nobody_is_looked_up(api: Api, passed: list[str]) -> None:
    early = api.db.clock.now() - timedelta(seconds=5)
    person = line(api, 1, prequeue_opens_at=early, opens_in=600.0)[0]
    passed.clear()
    with Watch(api.db) as watch:
        place = poll(api, person).json
    assert (place["status"], place["number"], place["ahead"]) == ("waiting", None, None)
    assert watch.idle
    assert passed == []


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


@pytest.mark.failure("F25")
def test_the_hasty_are_refused_without_a_query(api: Api, passed: list[str]) -> None:
    person = line(api)[1]
    poll(api, person)
    passed.clear()
    with Watch(api.db) as watch:
        assert poll(api, person).status_code == 429
    assert watch.idle
    assert passed == []


@pytest.mark.failure("F30")
def test_the_crowd_before_a_sold_out_house_asks_neither_flask_nor_the_database(
    api: Api, passed: list[str]
) -> None:
    late = sold_out(api)
    passed.clear()
    with Watch(api.db) as watch:
        assert try_to_join(api, late).status_code == 409
    assert watch.idle
    assert passed == []


def test_the_session_that_joined_is_known_by_the_token(api: Api) -> None:
    person = line(api)[1]
    poll(api, person, who=person.who)
    let_again(api)
    api.house.bearers.forget()
    with Watch(api.db) as watch:
        assert poll(api, person, who=person.who).status_code == 200
    assert watch.idle


@pytest.mark.parametrize("unusual", ["keyed", "nobody", "body", "basic", "HEAD", "no token"])
def test_whatever_is_unusual_is_flasks_matter(api: Api, passed: list[str], unusual: str) -> None:
    person = line(api)[0]
    path = f"/api/v1/performances/{person.performance_id}/queue"
    passed.clear()
    if unusual == "HEAD":
        api.client.head(path, headers={"Waiting-Token": person.waiting})
    elif unusual == "no token":
        api.client.get(path)
    else:
        headers = {
            "keyed": person.who.bearer | {"Idempotency-Key": "k" * 20},
            "body": person.who.bearer,
            "basic": {"Authorization": "Basic x"},
            "nobody": {},
        }[unusual]
        api.client.post(path, headers=headers, data=b"{}" if unusual == "body" else None)
    assert len(passed) == 1


def test_each_has_its_line_in_the_log(
    api: Api, app: Flask, passed: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    situations = [asking(api, name) for name in ("steady", "left", "malformed", "another room")]
    situations += [joining(api, name) for name in ("again", "sold out", "too often")]
    with caplog.at_level("INFO", "jari.request"):
        for ask in situations:
            caplog.clear()
            both(api, app, passed, ask)
            fast, slow = (dict(record.said) for record in caplog.records)
            for one in (fast, slow):
                assert one.pop("milliseconds") >= 0
            assert fast == slow


def test_the_lane_counts_under_the_routes_own_name(app: Flask) -> None:
    assert set(fastlane.ROUTES.values()) <= {rule.rule for rule in app.url_map.iter_rules()}
    assert set(security.HEADERS) <= {name for name, _ in fastlane._HEADERS}
