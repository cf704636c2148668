"""Everybody wants the same seats: one owner each, no deadlock, no error, no needless retry.

A crowd of 1,000 is 80 to 100 threads in four processes that run through 1,000 customers: as many at once
as a gunicorn of that size would let through. A thousand threads would only measure the scheduler.
"""

import random
from collections.abc import Sequence

import pytest

from tests.builders import make_accounts, make_sale
from tests.races import errands
from tests.races.crowd import Crowd, Race
from tests.races.soundness import assert_sound
from webapp.db import Database
from webapp.domain import seatmap

pytestmark = pytest.mark.race


@pytest.mark.failure("F4")
@pytest.mark.failure("F7")
@pytest.mark.parametrize("customers", [2, 10, 100, 1_000])
def test_one_seat_has_one_winner(
    db: Database, database_url: str, crowd: Crowd, customers: int
) -> None:
    sale = make_sale(db, seats=50)
    calls = [(customer.id, sale, [7]) for customer in make_accounts(db, customers)]
    race = crowd.run(database_url, errands.join_and_hold, calls, threads=20)
    assert len(race.values) == 1
    assert race.refused == {"seats_taken": customers - 1}  # nobody hears "busy"
    assert db.lookup(seatmap.states, sale) == "f" * 7 + "h" + "f" * 42
    assert_sound(db)


@pytest.mark.failure("F7")
def test_ten_seats_have_ten_owners(db: Database, database_url: str, crowd: Crowd) -> None:
    sale = make_sale(db, seats=10)
    calls = [(c.id, sale, [number % 10]) for number, c in enumerate(make_accounts(db, 100))]
    race = crowd.run(database_url, errands.buy, calls, threads=20)
    assert len(race.values) == 10
    assert race.refused["seats_taken"] + race.refused["sold_out"] == 90
    assert db.lookup(seatmap.states, sale) == seatmap.SOLD * 10
    assert_sound(db)


@pytest.mark.failure("F4")
@pytest.mark.failure("F7")
def test_overlapping_choices_in_every_order_never_lock_each_other_up(
    db: Database, database_url: str, crowd: Crowd
) -> None:
    sale = make_sale(db, seats=12)
    rng = random.Random(7)
    calls = [
        (customer.id, sale, [rng.sample(range(12), rng.randint(2, 4)) for _ in range(40)])
        for customer in make_accounts(db, 48)
    ]
    race = crowd.run(database_url, errands.hold_anew, calls, threads=12)
    assert race.refused == {}
    assert any(len(got) > 1 for got in race.values), "nobody replaced a hold"
    assert_sound(db)


@pytest.mark.failure("F4")
@pytest.mark.failure("F7")
def test_holders_who_swap_seats_never_lock_each_other_up(
    db: Database, database_url: str, crowd: Crowd
) -> None:
    """Sixteen customers in a ring, each with two seats, move on by one seat at once, either way."""
    seats, customers = 33, make_accounts(db, 16)  # one seat is free, or nobody could begin
    sale = make_sale(db, seats=seats)
    calls = []
    for number, customer in enumerate(customers):
        direction = 1 if number % 2 else -1
        steps = [2 * number + direction * step for step in range(40)]
        calls.append((customer.id, sale, [[step % seats, (step + 1) % seats] for step in steps]))
    race = crowd.run(database_url, errands.hold_anew, calls, threads=4)
    assert race.refused == {}
    assert sum(len(got) - 1 for got in race.values) > 16, "hardly anybody moved"
    assert_sound(db)


@pytest.mark.failure("F6")
def test_different_seats_of_one_performance_do_not_conflict(
    db: Database, database_url: str, crowd: Crowd
) -> None:
    """As across many performances: it is the cause that counts, a transaction run again."""

    def sell(performances: int, quantity: int) -> Race:
        sales = [make_sale(db, seats=quantity) for _ in range(performances)]
        customers = make_accounts(db, quantity)
        calls = [(c.id, sales[n % performances], [n]) for n, c in enumerate(customers)]
        race = crowd.run(database_url, errands.buy, calls, threads=4)
        assert race.refused == {}
        return race

    one, many = sell(1, 1_000), sell(20, 400)
    assert many.conflicts < 4  # one in a hundred
    assert one.conflicts < 10
    assert_sound(db)


@pytest.mark.failure("F6")
def test_customers_who_change_their_minds_do_not_conflict(
    db: Database, database_url: str, crowd: Crowd
) -> None:
    """Each has seats of his own to choose from, so there is nothing to wait for."""
    sale = make_sale(db, seats=800)
    calls = [
        (customer.id, sale, [[4 * n + step] for step in range(4)])
        for n, customer in enumerate(make_accounts(db, 200))
    ]
    race = crowd.run(database_url, errands.hold_anew, calls, threads=4)
    assert [len(got) for got in race.values] == [4] * 200
    assert race.conflicts < 8
    assert_sound(db)


@pytest.mark.failure("F40")
def test_a_herd_for_the_best_seats_gets_all_of_them(
    db: Database, database_url: str, crowd: Crowd
) -> None:
    sale = make_sale(db, seats=8_000)
    parties = [8] * 900 + [2, 3, 4] * 88 + [8]
    assert sum(parties) == 8_000  # so whoever is refused was refused with seats free
    calls = [(c.id, sale, n) for c, n in zip(make_accounts(db, len(parties)), parties, strict=True)]
    race = run_herd(crowd, database_url, calls)
    assert race.refused == {}
    assert db.lookup(seatmap.states, sale) == seatmap.HELD * 8_000
    assert_sound(db)


@pytest.mark.failure("F40")
def test_the_last_seats_go_before_anybody_hears_that_there_are_too_few(
    db: Database, database_url: str, crowd: Crowd
) -> None:
    sale = make_sale(db, seats=100)
    race = run_herd(crowd, database_url, [(c.id, sale, 3) for c in make_accounts(db, 160)])
    assert len(race.values) == 33
    assert race.refused == {"not_enough_seats": 127}
    assert db.lookup(seatmap.states, sale).count(seatmap.FREE) == 1
    assert_sound(db)


def run_herd(crowd: Crowd, url: str, calls: Sequence[tuple[object, ...]]) -> Race:
    """Let 160 at once ask for the best seats, 40 in each process, over 20 connections; nobody is busy for want of time."""
    patience = {"pool_timeout_seconds": 30.0, "transaction_seconds": 30.0}
    return crowd.run(url, errands.join_and_hold_best, calls, threads=40, pool_size=20, **patience)
