"""An access used from two places is not refused, and is written down."""

import secrets
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from tests.builders import Customer
from tests.web.contract import Api
from tests.web.visitors import new_key, visitor
from webapp.domain import accounts
from webapp.domain.model import JournalEntry


@pytest.fixture
def api(app: Flask) -> Api:
    return Api(app)


def shared(api: Api) -> int:
    query = select(func.count()).where(JournalEntry.kind == "access_shared")
    return api.db.read(lambda tx: int(tx.execute(query).scalar_one()))


def another_sign_in(api: Api, who: Customer) -> Customer:
    token = secrets.token_urlsafe(32)
    api.db.transact(accounts.open_session, who.id, accounts.digest(token), timedelta(hours=1))
    return Customer(who.id, who.email, token)


@pytest.mark.parametrize(
    ("headers", "elsewhere", "expected"),
    [
        ({}, False, 0),
        ({"X-Forwarded-For": "203.0.113.9"}, False, 0),  # a phone on the train
        ({"User-Agent": "Another/1.0"}, False, 1),
        ({}, True, 1),
    ],
)
def test_a_use_from_elsewhere_is_in_the_journal(
    api: Api, headers: dict[str, str], elsewhere: bool, expected: int
) -> None:
    someone = visitor(api).join().choose("ST-A-1")
    who = another_sign_in(api, someone.who) if elsewhere else someone.who
    wish: dict[str, Any] = {"seats": ["ST-A-2"]}
    more = {"access": someone.access, "path": someone.path, "headers": headers}
    held = api.ok("place_hold", who, json=wish, **more)
    assert shared(api) == expected
    json = {"hold_id": held["id"]}
    api.ok("pay", who, access=someone.access, key=new_key(), json=json, headers=headers)
    assert shared(api) == 2 * expected
