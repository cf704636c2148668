"""One effect per key: the retry gets the first answer, another body a refusal, a refusal is not kept."""

import uuid
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from tests.builders import make_accounts
from tests.conftest import AdvancingClock
from webapp.db import Database, Tx, new_id
from webapp.domain import idempotency, wallet
from webapp.domain.errors import IdempotencyKeyReused, TopUpClosed
from webapp.domain.idempotency import KEPT_SECONDS, Answer, Request
from webapp.domain.model import IdempotencyKey

Ask = Callable[..., Answer]


def topping_up(db: Database, request: Request, amount_minor: int = 500) -> Answer:
    """Ask as the API does: whoever comes first with the key has the effect."""
    ledger_id = new_id()

    def work(tx: Tx) -> Answer:
        balance = wallet.top_up(tx, request.account_id, ledger_id, amount_minor)
        return Answer(201, {"balance_minor": balance.balance_minor})

    return db.transact(
        idempotency.keyed(request, work),
        instead={idempotency.CONSTRAINT: idempotency.replay(request, work)},
    )


@pytest.fixture
def request_(db: Database) -> Request:
    [customer] = make_accounts(db, balance_minor=0)
    return Request(customer.id, "POST", "/wallet/top-ups", "key-1", b"body")


def balance(db: Database, request: Request) -> int:
    return db.lookup(wallet.get, request.account_id).balance_minor


def test_the_second_time_is_a_replay(db: Database, request_: Request) -> None:
    first, again = topping_up(db, request_), topping_up(db, request_)
    assert (first.replayed, again.replayed) == (False, True)
    assert (first.status, first.body) == (again.status, again.body) == (201, {"balance_minor": 500})
    assert balance(db, request_) == 500
    assert db.lookup(idempotency.find, request_) == again


def test_a_key_is_found_for_its_account_method_and_path_only(
    db: Database, request_: Request
) -> None:
    kept = topping_up(db, request_)
    [other] = make_accounts(db)
    for change in ({"account_id": other.id}, {"method": "PUT"}, {"path": "/other"}, {"key": "k"}):
        assert db.lookup(idempotency.find, replace(request_, **change)) is None
    assert db.lookup(idempotency.find, request_) == replace(kept, replayed=True)


def test_another_body_under_the_same_key_is_refused(db: Database, request_: Request) -> None:
    topping_up(db, request_)
    other = Request(request_.account_id, "POST", request_.path, request_.key, b"other body")
    with pytest.raises(IdempotencyKeyReused):
        topping_up(db, other)
    with pytest.raises(IdempotencyKeyReused):
        db.lookup(idempotency.find, other)
    assert balance(db, request_) == 500


@pytest.mark.parametrize("part", ["account", "method", "path", "key"])
def test_a_key_counts_within_account_method_and_path(
    db: Database, request_: Request, part: str
) -> None:
    [other] = make_accounts(db, balance_minor=0)
    elsewhere = Request(
        other.id if part == "account" else request_.account_id,
        "PUT" if part == "method" else request_.method,
        "/elsewhere" if part == "path" else request_.path,
        "key-2" if part == "key" else request_.key,
        b"body",
    )
    topping_up(db, request_)
    assert not topping_up(db, elsewhere).replayed


def test_a_refusal_is_not_kept(db: Database, request_: Request) -> None:
    def refuse(_: Tx) -> Answer:
        raise TopUpClosed()

    with pytest.raises(TopUpClosed):
        db.transact(idempotency.keyed(request_, refuse))
    assert db.lookup(idempotency.find, request_) is None
    assert not topping_up(db, request_).replayed


def test_an_answer_is_kept_for_a_day_and_the_key_is_free_after_it(
    db: Database, clock: AdvancingClock, request_: Request
) -> None:
    topping_up(db, request_)
    clock.advance(KEPT_SECONDS - 10)
    assert topping_up(db, request_).replayed
    clock.advance(11)
    assert db.lookup(idempotency.find, request_) is None
    assert not topping_up(db, request_).replayed  # swept or not
    assert balance(db, request_) == 1_000
    assert topping_up(db, request_).replayed


def test_only_what_has_expired_is_forgotten_and_in_bounds(
    db: Database, clock: AdvancingClock, request_: Request
) -> None:
    def ask(key: str) -> None:
        topping_up(db, Request(request_.account_id, "POST", "/", key, b""))

    for number in range(5):
        ask(f"old-{number}")
    clock.advance(KEPT_SECONDS + 1)
    for number in range(3):
        ask(f"new-{number}")
    assert db.transact(idempotency.forget_expired, 4) == 4
    assert db.transact(idempotency.forget_expired, 4) == 1
    assert db.transact(idempotency.forget_expired, 4) == 0
    kept = select(func.count()).select_from(IdempotencyKey)
    assert db.read(lambda tx: tx.execute(kept).scalar()) == 3


def test_an_unknown_key_finds_nothing(db: Database) -> None:
    assert db.lookup(idempotency.find, Request(uuid.uuid4(), "POST", "/", "k", b"")) is None
