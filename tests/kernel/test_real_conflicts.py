"""Two threads that truly lose against each other: write skew, deadlock, one seat, one file.

Nothing is injected here. The threads meet inside of their first attempt where the database lets them;
where it does not (SQLite has one writer at a time), the first goes on alone after a moment.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from sqlalchemy import select, update

from tests.builders import Customer, enter, make_accounts, make_sale, place
from tests.conftest import config_for, dispose
from tests.faults import LOST, Faults
from tests.kernel.counted import Rise
from webapp import create_app
from webapp.db import Busy, Database, Tx
from webapp.domain import seatmap
from webapp.domain.errors import InsufficientFunds, Refusal, SeatsTaken
from webapp.domain.model import Wallet
from webapp.troubles import RETRIES

MEET_SECONDS = 0.5


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Make the calls in threads of their own; return their results, a refusal or Busy as itself."""
    results: list[Any] = [None] * len(calls)

    def run(place: int) -> None:
        try:
            results[place] = calls[place]()
        except (Refusal, Busy) as answer:
            results[place] = answer

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    return results


class Meeting:
    """A place where the first attempts of two threads wait for each other, once."""

    def __init__(self) -> None:
        self._barrier = threading.Barrier(2)

    def wait(self) -> None:
        with suppress(threading.BrokenBarrierError):
            self._barrier.wait(MEET_SECONDS)
            self._barrier.abort()


def balances(tx: Tx, people: Sequence[Customer]) -> list[int]:
    query = select(Wallet.balance_minor).where(Wallet.account_id.in_([p.id for p in people]))
    return list(tx.execute(query).scalars())


def take(tx: Tx, person: Customer, amount: int) -> None:
    tx.execute(
        update(Wallet)
        .where(Wallet.account_id == person.id)
        .values(balance_minor=Wallet.balance_minor - amount)
    )


@pytest.mark.race
def test_of_a_write_skew_pair_only_one_commits(db: Database) -> None:
    """A rule over two rows, each transaction reading both and writing one: SERIALIZABLE alone sees it."""
    couple = make_accounts(db, 2, balance_minor=100)
    meeting = Meeting()

    def take_if_both_have_enough(tx: Tx, person: Customer) -> None:
        total = sum(balances(tx, couple))
        meeting.wait()
        if total < 200:
            raise InsufficientFunds(short_minor=200 - total)
        take(tx, person, 100)

    with Rise(RETRIES) as retries:
        results = at_once(*(lambda p=p: db.transact(take_if_both_have_enough, p) for p in couple))
    assert sorted(type(result).__name__ for result in results) == ["InsufficientFunds", "NoneType"]
    assert sum(db.read(balances, couple)) == 100
    if not db.is_sqlite:
        assert {sqlstate for sqlstate, _, _ in retries.by} == {"40001"}


@pytest.mark.race
def test_a_deadlock_is_broken_and_both_are_done(db: Database) -> None:
    one, two = make_accounts(db, 2, balance_minor=100)
    meeting = Meeting()

    def move(tx: Tx, first: Customer, second: Customer) -> None:
        take(tx, first, 10)
        meeting.wait()
        take(tx, second, 20)

    with Rise(RETRIES) as retries:
        at_once(lambda: db.transact(move, one, two), lambda: db.transact(move, two, one))
    assert db.read(balances, [one, two]) == [70, 70]
    if not db.is_sqlite:
        assert "40P01" in {sqlstate for sqlstate, _, _ in retries.by}


def test_a_backend_terminated_in_mid_transaction_is_a_retry(postgres_url: str) -> None:
    app = create_app(config_for(postgres_url))
    db: Database = app.extensions["jari"].db
    [person] = make_accounts(db, 1, balance_minor=100)
    pids: list[int] = []

    def work(tx: Tx) -> None:
        take(tx, person, 10)
        pids.append(tx.connection.connection.dbapi_connection.info.backend_pid)
        if len(pids) == 1:
            with psycopg.connect(postgres_url, autocommit=True) as operator:
                operator.execute("SELECT pg_terminate_backend(%s, 5000)", pids)
        take(tx, person, 20)

    with Rise(RETRIES) as retries:
        db.transact(work)
    assert db.read(balances, [person]) == [70]
    assert pids[0] != pids[1]
    assert [key[0] for key in retries.by] == ["57P01"]
    dispose(app)


def test_a_connection_lost_at_any_statement_of_a_hold_is_a_retry(postgres_url: str) -> None:
    app = create_app(config_for(postgres_url))
    db: Database = app.extensions["jari"].db
    sale, faults = make_sale(db), Faults(db)
    for number, person in enumerate(make_accounts(db, 4), 1):
        admitted = enter(db, person, sale)
        faults.at_statement(number, LOST)
        place(db, admitted, [number])
        assert faults.fired == 1
    assert db.lookup(seatmap.states, sale)[:6] == "fhhhhf"
    dispose(app)


# -- several processes on one file -------------------------------------------------------------------


@pytest.fixture
def processes(database_url: str) -> Iterator[list[Database]]:
    """Four doors to one database that know nothing of each other, as four processes would be."""
    apps = [create_app(config_for(database_url, pool_size=2)) for _ in range(4)]
    yield [app.extensions["jari"].db for app in apps]
    for app in apps:
        dispose(app)


@pytest.mark.race
def test_of_many_writers_one_wins_the_seat(processes: list[Database]) -> None:
    sale = make_sale(processes[0], seats=10)
    inside = [
        (db, enter(db, customer, sale))
        for db, customer in zip(processes * 2, make_accounts(processes[0], 8), strict=True)
    ]
    results = at_once(*(lambda d=db, a=admitted: place(d, a, [4]) for db, admitted in inside))
    assert sorted(isinstance(result, SeatsTaken) for result in results) == [False] + [True] * 7
    assert processes[0].lookup(seatmap.states, sale) == "ffffhfffff"


@pytest.mark.race
def test_raising_one_number_from_everywhere_loses_nothing(processes: list[Database]) -> None:
    [person] = make_accounts(processes[0], 1, balance_minor=1_000)

    def read_then_write(tx: Tx) -> None:
        [balance] = balances(tx, [person])
        tx.execute(
            update(Wallet).where(Wallet.account_id == person.id).values(balance_minor=balance - 1)
        )

    def insist(db: Database) -> None:
        for _ in range(10):
            while True:
                with suppress(Busy):
                    db.transact(read_then_write)
                    break

    at_once(*(lambda d=db: insist(d) for db in processes))
    assert processes[0].read(balances, [person]) == [1_000 - 40]
