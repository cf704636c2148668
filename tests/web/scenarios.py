"""Refusals that have a story of their own: one scenario for each call and code."""

import dataclasses
import uuid
from collections.abc import Callable
from typing import Any

from werkzeug.test import TestResponse

from tests.builders import make_sale
from tests.web.contract import Api, refused
from tests.web.given import given, held, hold, paid, pay, poll, sign_in, sign_up
from tests.web.needs import ALIKE
from tests.web.visitors import (
    Visitor,
    change_performance,
    door_steward,
    end_stay,
    let_in,
    new_key,
    visitor,
)
from webapp.web import throttle
from webapp.web.challenges import ProofOfWork

Scenario = Callable[[Api], TestResponse]
SCENARIOS: dict[tuple[str, str], Scenario] = {}


def provokes(name: str, code: str) -> Callable[[Scenario], Scenario]:
    def keep(scenario: Scenario) -> Scenario:
        SCENARIOS[name, code] = scenario
        return scenario

    return keep


# -- scenarios: accounts and money ------------------------------------------------------------------


@provokes("create_account", "email_taken")
def _(api: Api) -> TestResponse:
    one = sign_up()
    api.ok("create_account", **one)
    one["json"]["email"] = one["json"]["email"].upper()
    return api.call("create_account", **one)


@provokes("create_session", "bad_credentials")
def _(api: Api) -> TestResponse:
    one = sign_in(api)
    one["json"]["password"] = "another one"
    return api.call("create_session", **one)


@provokes("create_session", "too_many_attempts")
def _(api: Api) -> TestResponse:
    one = {"json": {"email": f"{uuid.uuid4().hex}@example.com", "password": "guess"}}
    for _ in range(10):
        refused(api.call("create_session", **one), 401, "bad_credentials")
    return api.call("create_session", **one)


@provokes("create_account", "too_many_attempts")
def _(api: Api) -> TestResponse:
    one = sign_up()
    api.call("create_account", **one)
    for _ in range(throttle.SIGN_UP.hits - 1):
        refused(api.call("create_account", **one), 409, "email_taken")
    return api.call("create_account", **one)


@provokes("create_account", "outcome_unknown")
def _(api: Api) -> TestResponse:
    """The COMMIT that is lost is the account's, not that of the counting before it."""
    api.house.throttle.count = lambda *_: None
    return ALIKE["outcome_unknown"](api, "create_account")


@provokes("join_queue", "too_many_attempts")
def _(api: Api) -> TestResponse:
    one = given(api, "join_queue")
    for _ in range(throttle.JOIN.hits):
        api.call("join_queue", **one)
    for _ in range(throttle.JOIN.batch - 1):
        api.call("join_queue", **one)
    return api.call("join_queue", **one)


@provokes("top_up", "top_up_closed")
def _(api: Api) -> TestResponse:
    one, config = given(api, "top_up"), api.house.config
    api.house.config = dataclasses.replace(config, self_top_ups=False)
    try:
        return api.call("top_up", **one)
    finally:
        api.house.config = config


# -- scenarios: the waiting room --------------------------------------------------------------------


@provokes("join_queue", "challenge_required")
def _(api: Api) -> TestResponse:
    api.house.challenge = ProofOfWork(api.db.clock, "k" * 32, 8)
    try:
        return api.call("join_queue", **given(api, "join_queue"))
    finally:
        api.house.challenge = None


def _sold_out_sale(api: Api, **more: Any) -> int:
    sale = make_sale(api.db, seats=2, **more)
    visitor(api, sale).join().choose("ST-A-1", "ST-A-2").pay()
    api.house.availability.forget()
    return sale


@provokes("join_queue", "sale_not_open")
def _(api: Api) -> TestResponse:
    v = visitor(api, make_sale(api.db, opens_in=60))
    response = api.call("join_queue", v.who, path=v.path)
    assert "sales_open_at" in response.json
    return response


@provokes("join_queue", "sale_closed")
def _(api: Api) -> TestResponse:
    v = visitor(api, make_sale(api.db, closes_in=0))
    return api.call("join_queue", v.who, path=v.path)


@provokes("join_queue", "sold_out")
def _(api: Api) -> TestResponse:
    v = visitor(api, _sold_out_sale(api))
    return api.call("join_queue", v.who, path=v.path)


@provokes("poll_queue", "turn_over")
def _(api: Api) -> TestResponse:
    v = visitor(api).join()
    end_stay(api, v, "left")
    response = api.call("poll_queue", **poll(v))
    assert (response.json["reason"], response.json["may_rejoin"]) == ("left", True)
    return response


@provokes("poll_queue", "sold_out")
def _(api: Api) -> TestResponse:
    sale = make_sale(api.db, seats=2, capacity=0)
    waiting = visitor(api, sale).join()
    _sell_out_behind_the_room(api, sale)
    return api.call("poll_queue", **poll(waiting))


def _sell_out_behind_the_room(api: Api, sale: int) -> None:
    """Sell both seats to somebody who was let in by hand."""
    buyer = visitor(api, sale)
    let_in(buyer)
    buyer.choose("ST-A-1", "ST-A-2").pay()
    api.house.availability.forget()


@provokes("poll_queue", "sale_closed")
def _(api: Api) -> TestResponse:
    v = visitor(api, make_sale(api.db, capacity=0)).join()
    change_performance(api, v.performance_id, closes_in=-1)
    return api.call("poll_queue", **poll(v))


@provokes("poll_queue", "poll_too_soon")
def _(api: Api) -> TestResponse:
    one = poll(visitor(api).join())
    api.ok("poll_queue", **one)
    response = api.call("poll_queue", **one)
    assert int(response.headers["Retry-After"]) == response.json["retry_after"] > 0
    return response


# -- scenarios: holds -------------------------------------------------------------------------------


@provokes("place_hold", "not_admitted")
def _(api: Api) -> TestResponse:
    v = visitor(api).join()
    end_stay(api, v, "left")
    return api.call("place_hold", **hold(v))


@provokes("place_hold", "not_found")
def no_such_performance(api: Api) -> TestResponse:
    return api.call("place_hold", **(given(api, "place_hold") | {"path": {"performance_id": -1}}))


@provokes("place_hold", "sale_paused")
def _(api: Api) -> TestResponse:
    v = visitor(api).join()
    change_performance(api, v.performance_id, paused=True)
    return api.call("place_hold", **hold(v))


@provokes("place_hold", "sale_closed")
def _(api: Api) -> TestResponse:
    v = visitor(api).join()
    change_performance(api, v.performance_id, closes_in=-1)
    return api.call("place_hold", **hold(v))


@provokes("place_hold", "seat_unknown")
def _(api: Api) -> TestResponse:
    one = given(api, "place_hold") | {"json": {"seats": ["ST-A-1", "ST-Z-99"]}}
    response = api.call("place_hold", **one)
    assert response.json["seats"] == ["ST-Z-99"]
    return response


@provokes("place_hold", "seats_taken")
def _(api: Api) -> TestResponse:
    first = visitor(api).join().choose("ST-A-2", "ST-A-3")
    second = visitor(api, first.performance_id).join()
    one = hold(second) | {"json": {"seats": ["ST-A-1", "ST-A-2"]}}
    response = api.call("place_hold", **one)
    assert response.json["seats"] == ["ST-A-2"]
    return response


@provokes("place_hold", "too_many_seats")
def _(api: Api) -> TestResponse:
    v = visitor(api, make_sale(api.db, seats_max=2)).join()
    one = hold(v) | {"json": {"seats": ["ST-A-1", "ST-A-2", "ST-A-3"]}}
    response = api.call("place_hold", **one)
    assert response.json["seats_max"] == 2
    return response


@provokes("place_hold", "leaves_single_seat")
def _(api: Api) -> TestResponse:
    v = visitor(api, make_sale(api.db, single_seat_rule="strict")).join()
    response = api.call("place_hold", **(hold(v) | {"json": {"seats": ["ST-A-2"]}}))
    assert response.json["seats"] == ["ST-A-1"]
    return response


@provokes("place_hold", "not_enough_seats")
def _(api: Api) -> TestResponse:
    v = visitor(api, make_sale(api.db, seats=3, seats_max=8)).join()
    return api.call("place_hold", **(hold(v) | {"json": {"best_available": {"quantity": 4}}}))


def _hold_over(name: str) -> None:
    """The three ways in which a hold is over, for a call about that hold."""

    def ask(api: Api, v: Visitor) -> TestResponse:
        if name == "pay":
            return api.call(name, **pay(v))
        return api.call(name, v.who, path=v.holding)

    @provokes(name, "hold_expired")
    def _(api: Api) -> TestResponse:
        v = visitor(api, make_sale(api.db, hold_seconds=60, session_seconds=60)).join().choose()
        api.db.clock.advance(61)
        return ask(api, v)

    @provokes(name, "hold_replaced")
    def _(api: Api) -> TestResponse:
        v = visitor(api).join().choose()
        first = v.hold
        newer = v.choose().hold["id"]
        v.hold = first
        response = ask(api, v)
        assert response.json["hold_id"] == newer
        return response

    @provokes(name, "already_booked")
    def _(api: Api) -> TestResponse:
        v = paid(api)
        response = ask(api, v)
        assert response.json["reference"] == v.booking["reference"]
        return response


for _name in ("get_hold", "release_hold", "pay"):
    _hold_over(_name)


# -- scenarios: bookings and the door ---------------------------------------------------------------


@provokes("pay", "not_admitted")
def _(api: Api) -> TestResponse:
    here = held(api)
    elsewhere = Visitor(api, here.who, make_sale(api.db)).join()
    return api.call("pay", **(pay(here) | {"access": elsewhere.access}))


@provokes("pay", "insufficient_funds")
def _(api: Api) -> TestResponse:
    v = visitor(api, balance_minor=500).join().choose()
    response = api.call("pay", **pay(v))
    assert response.json["short_minor"] == 1_500
    assert api.ok("get_hold", v.who, path=v.holding)["total_minor"] == 2_000
    return response


@provokes("cancel", "already_cancelled")
def _(api: Api) -> TestResponse:
    v = paid(api).cancel()
    return api.call("cancel", v.who, key=new_key(), path=v.booked)


@provokes("cancel", "too_late")
def _(api: Api) -> TestResponse:
    v = paid(api)
    change_performance(api, v.performance_id, cancel_in=-1)
    return api.call("cancel", v.who, key=new_key(), path=v.booked)


@provokes("cancel", "already_scanned")
def _(api: Api) -> TestResponse:
    v = paid(api).scan()
    return api.call("cancel", v.who, key=new_key(), path=v.booked)


@provokes("scan", "ticket_unknown")
def _(api: Api) -> TestResponse:
    sale = make_sale(api.db)
    for code in ("NOSUCH22", "", "https://example.com/poster", "a\x00b", "자리"):
        shown = {"performance_id": sale, "code": code}
        response = api.call("scan", door_steward(api.db), json=shown)
        refused(response, 404, "ticket_unknown")
    return response


@provokes("scan", "already_scanned")
def _(api: Api) -> TestResponse:
    v = paid(api).scan()
    response = api.call("scan", door_steward(api.db), json=v.shown)
    assert "scanned_at" in response.json
    return response


@provokes("scan", "ticket_voided")
def _(api: Api) -> TestResponse:
    return api.call("scan", door_steward(api.db), json=paid(api).cancel().shown)


@provokes("scan", "wrong_performance")
def _(api: Api) -> TestResponse:
    shown = paid(api).shown | {"performance_id": make_sale(api.db)}
    return api.call("scan", door_steward(api.db), json=shown)
