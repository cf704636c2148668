"""One effect per key, whatever is sent again, and the first answer to all."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from werkzeug.test import TestResponse

from tests.builders import Customer, make_accounts
from tests.web.contract import Api, refused
from tests.web.visitors import door_steward, end_stay, new_key, visitor
from webapp.domain import accounts
from webapp.domain.idempotency import Request
from webapp.domain.model import IdempotencyKey
from webapp.web import actions

DAY_SECONDS = 24 * 3600


def is_replay(response: TestResponse) -> bool:
    return response.headers.get("Idempotent-Replayed") == "true"


@pytest.mark.failure("F10")
def test_a_top_up_sent_again_counts_once(api: Api) -> None:
    [who] = make_accounts(api.db, balance_minor=0)
    one: dict[str, Any] = {"key": "the key of today", "json": {"amount_minor": 700}}
    first = api.call("top_up", who, **one)
    assert first.status_code == 201
    assert not is_replay(first)
    for _ in range(3):
        again = api.call("top_up", who, **one)
        assert (again.status_code, again.json, is_replay(again)) == (201, first.json, True)
    refused(
        api.call("top_up", who, key=one["key"], json={"amount_minor": 701}),
        422,
        "idempotency_key_reused",
    )
    assert api.ok("get_wallet", who)["balance_minor"] == 700


@pytest.mark.failure("F8")
def test_a_payment_sent_again_gets_its_answer_although_its_token_has_ended(api: Api) -> None:
    v = visitor(api).join().choose("ST-A-1")
    one: dict[str, Any] = {"key": new_key(), "json": v.holding}
    first = api.ok("pay", v.who, access=v.access, **one)
    api.db.clock.advance(3_600)
    for access in (v.access, None, "undefined"):
        again = api.call("pay", v.who, access=access, **one)
        assert (again.status_code, again.json, is_replay(again)) == (201, first, True)
    assert len(api.ok("list_bookings", v.who)["items"]) == 1
    assert api.ok("get_wallet", v.who)["balance_minor"] == 999_000


@pytest.mark.failure("F8")
def test_the_slower_of_two_twins_gets_the_answer_of_the_faster(api: Api) -> None:
    """Both looked before either had paid; the slower one then meets a hold that is already booked."""
    v = visitor(api).join().choose("ST-A-1")
    admitted = api.house.tokens.read("access", v.access).admitted
    request = Request(v.who.id, "POST", "/api/v1/bookings", "twin", b"the same body")
    hold_id = uuid.UUID(v.hold["id"])
    faster, slower = (actions.pay(api.house, request, admitted, hold_id) for _ in range(2))
    assert (slower.status, slower.body, slower.replayed) == (201, faster.body, True)


def test_the_session_comes_before_the_replay(api: Api) -> None:
    v = visitor(api).join().choose("ST-A-1")
    one: dict[str, Any] = {"key": new_key(), "json": v.holding}
    api.ok("pay", v.who, access=v.access, **one)
    refused(api.call("pay", None, access=v.access, **one), 401, "session_missing")


def test_a_key_belongs_to_its_account_method_and_path(api: Api) -> None:
    one, other = make_accounts(api.db, 2, balance_minor=0)
    for who in (one, other):
        response = api.call("top_up", who, key="same", json={"amount_minor": 5})
        assert not is_replay(response)
    first = visitor(api).join().choose("ST-A-1").pay()
    response = api.call("cancel", first.who, key="same", path=first.booked)
    assert (response.status_code, is_replay(response)) == (201, False)


@pytest.mark.failure("F8")
def test_a_cancellation_sent_again_refunds_once(api: Api) -> None:
    v = visitor(api).join().choose("ST-A-1").pay()
    first = api.ok("cancel", v.who, key="c", path=v.booked)
    again = api.call("cancel", v.who, key="c", path=v.booked)
    assert (again.json, is_replay(again)) == (first, True)
    refused(api.call("cancel", v.who, key="d", path=v.booked), 409, "already_cancelled")
    assert api.ok("get_wallet", v.who)["balance_minor"] == 1_000_000


def test_a_hold_its_release_and_a_scan_may_have_a_key(api: Api) -> None:
    v = visitor(api).join()
    for wish in ({"seats": ["ST-A-1"]}, {"best_available": {"quantity": 3}}):
        one: dict[str, Any] = {"key": new_key(), "path": v.path, "json": wish}
        v.hold = api.ok("place_hold", v.who, access=v.access, **one)
        again = api.call("place_hold", v.who, **one)
        assert (again.status_code, again.json, is_replay(again)) == (201, v.hold, True)

    for replay in (False, True):
        response = api.call("release_hold", v.who, key="r", path=v.holding)
        assert (response.status_code, is_replay(response)) == (204, replay)

    v.choose().pay()
    door = door_steward(api.db)
    first = api.ok("scan", door, key="s", json=v.shown)
    again = api.call("scan", door, key="s", json=v.shown)
    assert (again.json, is_replay(again)) == (first, True)


def test_leaving_sent_again_does_not_end_a_newer_stay(api: Api) -> None:
    v = visitor(api).join()
    api.ok("leave_queue", v.who, key="l", path=v.path)
    v.join()
    assert is_replay(api.call("leave_queue", v.who, key="l", path=v.path))
    v.choose("ST-A-1")
    api.ok("leave_queue", v.who, path=v.path)
    refused(api.call("get_hold", v.who, path=v.holding), 410, "hold_expired")


def test_a_refusal_is_not_kept(api: Api) -> None:
    v = visitor(api).join()
    taken = visitor(api, v.performance_id).join().choose("ST-A-1")
    one: dict[str, Any] = {
        "key": "k",
        "access": v.access,
        "path": v.path,
        "json": {"seats": ["ST-A-1"]},
    }
    refused(api.call("place_hold", v.who, **one), 409, "seats_taken")
    api.ok("release_hold", taken.who, path=taken.holding)
    assert api.call("place_hold", v.who, **one).status_code == 201


def test_joining_takes_a_key_and_keeps_no_token(api: Api) -> None:
    v = visitor(api)
    first = api.call("join_queue", v.who, key="j", path=v.path)
    again = api.call("join_queue", v.who, key="j", path=v.path)
    assert (first.status_code, again.status_code) == (201, 200)
    v.waiting, v.access = again.json["waiting_token"], again.json["access_token"]
    end_stay(api, v, "left")
    assert api.call("join_queue", v.who, key="j", path=v.path).status_code == 201


def test_kept_answers_hold_no_tokens(api: Api) -> None:
    v = visitor(api).join()
    one: dict[str, Any] = {"access": v.access, "path": v.path, "json": {"seats": ["ST-A-1"]}}
    v.hold = api.ok("place_hold", v.who, key="h", **one)
    v.pay()
    kept = api.db.read(lambda tx: tx.execute(select(IdempotencyKey.answer)).scalars().all())
    assert len(kept) == 2
    for answer in kept:
        assert "eyJ" not in str(answer)
        assert "token" not in str(answer)


def test_a_key_is_forgotten_after_a_day(api: Api) -> None:
    [who] = make_accounts(api.db, balance_minor=0)
    api.ok("top_up", who, key="k", json={"amount_minor": 5})
    api.db.clock.advance(DAY_SECONDS + 1)
    tomorrow = Customer(who.id, who.email, f"session-{uuid.uuid4().hex}")
    digest = accounts.digest(tomorrow.session)
    api.db.transact(accounts.open_session, who.id, digest, timedelta(hours=1))
    response = api.call("top_up", tomorrow, key="k", json={"amount_minor": 6})
    assert (response.status_code, is_replay(response)) == (201, False)
    assert api.ok("get_wallet", tomorrow)["balance_minor"] == 11


def test_a_key_that_cannot_be_kept_is_refused(api: Api) -> None:
    [who] = make_accounts(api.db)
    for key in ("", "k" * 256, "tab\there", "자리", "caf\xe9", "\x7f"):
        headers = {"Idempotency-Key": key.encode().decode("latin-1")}
        response = api.call("top_up", who, headers=headers, json={"amount_minor": 5})
        [fault] = refused(response, 422, "invalid")["errors"]
        assert fault["header"] == "Idempotency-Key", key


def test_the_longest_key_is_kept(api: Api) -> None:
    [who] = make_accounts(api.db)
    one: dict[str, Any] = {"key": "~" * 255, "json": {"amount_minor": 5}}
    api.ok("top_up", who, **one)
    assert is_replay(api.call("top_up", who, **one))
