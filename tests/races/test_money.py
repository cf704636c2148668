"""Money moves once: whatever is asked twice, at once, or with too little in the wallet."""

from uuid import UUID

import pytest

from tests.builders import Customer, enter, make_accounts, make_sale, pay, place
from tests.races import errands
from tests.races.crowd import Crowd
from tests.races.soundness import assert_sound
from webapp.db import Database
from webapp.domain import holds, wallet

pytestmark = pytest.mark.race


def hold_for(db: Database, customer: Customer, sale: int, seats: list[int]) -> errands.Hold:
    admitted = enter(db, customer, sale)
    held = place(db, admitted, seats)
    return errands.Hold(held.id, admitted, tuple(held.seat_nos), held.total_minor)


def balance(db: Database, account_id: UUID) -> int:
    return db.lookup(wallet.get, account_id).balance_minor


@pytest.mark.failure("F8")
@pytest.mark.parametrize("one_key", [False, True])
def test_a_hold_is_paid_once(db: Database, database_url: str, crowd: Crowd, one_key: bool) -> None:
    [customer] = make_accounts(db, balance_minor=50_000)
    held = hold_for(db, customer, make_sale(db), [1, 2])
    calls = [(held, "key" if one_key else f"key-{number}") for number in range(100)]
    race = crowd.run(database_url, errands.pay, calls, threads=20)
    if one_key:
        assert race.refused == {}
        assert all(answer == race.values[0] for answer in race.values)
    else:
        assert len(race.values) == 1
        assert race.refused == {"already_booked": 99}
    assert balance(db, customer.id) == 48_000
    assert_sound(db)


@pytest.mark.failure("F8")
@pytest.mark.parametrize("one_key", [False, True])
def test_a_booking_is_refunded_once(
    db: Database, database_url: str, crowd: Crowd, one_key: bool
) -> None:
    [customer] = make_accounts(db, balance_minor=50_000)
    admitted = enter(db, customer, make_sale(db))
    reference = pay(db, admitted, place(db, admitted, [1, 2])).reference
    calls = [(customer.id, reference, "key" if one_key else f"key-{n}") for n in range(100)]
    race = crowd.run(database_url, errands.cancel, calls, threads=20)
    if one_key:
        assert race.refused == {}
        assert all(answer.body == race.values[0].body for answer in race.values)
    else:
        assert len(race.values) == 1
        assert race.refused == {"already_cancelled": 99}
    assert balance(db, customer.id) == 50_000
    assert_sound(db)


@pytest.mark.failure("F9")
def test_five_payments_of_two_thousand_out_of_five_thousand(
    db: Database, database_url: str, crowd: Crowd
) -> None:
    customers = make_accounts(db, 10, balance_minor=5_000)
    sales = [make_sale(db) for _ in range(5)]
    helds = [
        hold_for(db, customer, sale, [2 * number, 2 * number + 1])
        for number, customer in enumerate(customers)
        for sale in sales
    ]
    race = crowd.run(
        database_url, errands.pay, [(held, str(held.id)) for held in helds], threads=13
    )
    for number, customer in enumerate(customers):
        of_one = race.outcomes[5 * number : 5 * number + 5]
        refused = sorted(outcome.refused or "" for outcome in of_one)
        assert refused == ["", ""] + ["insufficient_funds"] * 3
        assert balance(db, customer.id) == 1_000
    assert_sound(db)


@pytest.mark.failure("F9")
def test_under_any_mix_the_ledger_is_the_balance(
    db: Database, database_url: str, crowd: Crowd
) -> None:
    customers = make_accounts(db, 4, balance_minor=5_000)
    sales = [make_sale(db) for _ in range(5)]
    calls: list[tuple[object, ...]] = []
    for number, customer in enumerate(customers):
        for sale in sales:
            held = hold_for(db, customer, sale, [2 * number, 2 * number + 1])
            calls += [
                ("pay", held, f"first-{sale}"),
                ("top up", held, 300, str(sale)),
                ("pay", held, f"second-{sale}"),
            ]
    race = crowd.run(database_url, errands.in_a_tab, calls, threads=15)
    assert set(race.refused) <= {"insufficient_funds", "already_booked"}
    for number, customer in enumerate(customers):
        of_one = zip(
            calls[15 * number :], race.outcomes[15 * number : 15 * number + 15], strict=False
        )
        paid = sum(call[0] == "pay" and outcome.refused is None for call, outcome in of_one)
        assert paid in (2, 3)  # 5,000 are enough for two, with all top-ups for a third
        assert balance(db, customer.id) == 5_000 + 5 * 300 - paid * 2_000
    assert_sound(db)


@pytest.mark.failure("F10")
def test_a_key_tops_up_once(db: Database, database_url: str, crowd: Crowd) -> None:
    [customer] = make_accounts(db, balance_minor=0)
    calls = [(customer.id, 700, "key")] * 300
    race = crowd.run(database_url, errands.top_up, calls, threads=20)
    assert race.refused == {}
    assert all(answer.body == race.values[0].body for answer in race.values)
    assert race.values[0].body["balance_minor"] == 700
    assert sum(not answer.replayed for answer in race.values) == 1
    assert balance(db, customer.id) == 700
    assert_sound(db)


@pytest.mark.failure("F10")
def test_a_key_with_two_bodies_serves_the_first(
    db: Database, database_url: str, crowd: Crowd
) -> None:
    [customer] = make_accounts(db, balance_minor=0)
    calls = [(customer.id, amount, "key") for amount in (700, 900)] * 50
    race = crowd.run(database_url, errands.top_up, calls, threads=20)
    assert race.refused == {"idempotency_key_reused": 50}
    assert {answer.body["amount_minor"] for answer in race.values} == {balance(db, customer.id)}
    assert_sound(db)


@pytest.mark.failure("F11")
def test_too_little_money_keeps_the_hold(db: Database, database_url: str, crowd: Crowd) -> None:
    [customer] = make_accounts(db, balance_minor=1_500)
    sale = make_sale(db)
    held = hold_for(db, customer, sale, [1, 2])
    before = db.read(holds.find_live, sale, customer.id)
    poor = crowd.run(database_url, errands.pay, [(held, f"poor-{n}") for n in range(20)])
    assert {(o.refused, o.facts["short_minor"]) for o in poor.outcomes} == {
        ("insufficient_funds", 500)
    }
    assert db.read(holds.find_live, sale, customer.id) == before
    tabs = (
        [("pay", held, "rich")] * 10 + [("top up", held, 500, "key")] + [("pay", held, "rich")] * 9
    )
    crowd.run(database_url, errands.in_a_tab, tabs)
    [paid] = crowd.run(database_url, errands.pay, [(held, "rich")]).values
    assert paid["total_minor"] == 2_000
    assert balance(db, customer.id) == 0
    assert_sound(db)
