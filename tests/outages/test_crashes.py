"""Processes that die in the middle of their work, and a database that goes away."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.builders import make_accounts, make_sale
from tests.conftest import config_for, dispose
from tests.faults import terminate
from tests.postgres import Postgres
from tests.races.soundness import assert_sound
from tests.servers import Scheduler, Web, until
from tests.shoppers import Shopper
from webapp import create_app
from webapp.domain import seatmap
from webapp.web.house import House

pytestmark = [pytest.mark.slow, pytest.mark.race]

HOLD_SECONDS = 4


def crash(url: str, directory: Path, server: Postgres | None) -> None:
    """Kill everything while a crowd holds and pays, and see that each seat can be sold afterwards."""
    app = create_app(config_for(url))
    house: House = app.extensions["jari"]
    sale = make_sale(house.db, seats=60, hold_seconds=HOLD_SECONDS, seats_max=60)
    labels = [place.label for place in house.seatmap_of(house.sales.get(sale)).places]
    web, scheduler = Web(url, directory / "web.log"), Scheduler(url, directory / "jobs.log")
    web.start()
    scheduler.start()
    shoppers = [Shopper(web.http, one, sale) for one in make_accounts(house.db, 12)]
    stop = threading.Event()

    def shop(number: int) -> None:
        shopper, mine = shoppers[number], labels[number * 5 : number * 5 + 5]
        shopper.join()
        while not stop.is_set():
            shopper.hold(*mine[: 1 + number % 5])

    threads = [threading.Thread(target=shop, args=(n,)) for n in range(len(shoppers))]
    try:
        for thread in threads:
            thread.start()
        until(lambda: house.db.lookup(seatmap.states, sale).count("h") > 20)
        web.kill()
        scheduler.kill()
        if server is not None:
            server.kill()
    finally:
        stop.set()
        web.kill()
        scheduler.kill()
        for thread in threads:
            thread.join()
    if server is not None:
        server.start()
    time.sleep(HOLD_SECONDS)
    assert_sound(house.db)
    with web:  # without a scheduler: nobody sweeps
        buyers = [Shopper(web.http, one, sale) for one in make_accounts(house.db, 12)]
        for number, buyer in enumerate(buyers):
            bought = buyer.buy(*labels[number * 5 : number * 5 + 5])
            assert bought.status == 201, bought
    assert house.db.lookup(seatmap.states, sale) == "s" * 60
    assert_sound(house.db)
    dispose(app)


@pytest.mark.failure("F3")
def test_every_process_is_killed_while_many_hold_on_postgresql(
    frail: Postgres, tmp_path: Path
) -> None:
    crash(frail.url("jari"), tmp_path, frail)


@pytest.mark.failure("F3")
def test_every_process_is_killed_while_many_hold_on_sqlite(sqlite_url: str, tmp_path: Path) -> None:
    crash(sqlite_url, tmp_path, None)


@pytest.mark.failure("F3")
def test_a_worker_that_dies_in_the_middle_takes_nothing_with_it(
    database_url: str, tmp_path: Path
) -> None:
    """One worker after the other is killed under load; whoever got no answer asks again and buys."""
    app = create_app(config_for(database_url))
    house: House = app.extensions["jari"]
    sale = make_sale(house.db, seats=60, session_seconds=900)
    labels = [place.label for place in house.seatmap_of(house.sales.get(sale)).places]
    customers = make_accounts(house.db, 60)
    with Web(database_url, tmp_path / "web.log") as web:
        shoppers = [Shopper(web.http, one, sale) for one in customers]
        done: list[int] = []

        def buy(mine: range) -> None:
            for number in mine:
                while not shoppers[number].join().ok:
                    time.sleep(0.05)
                while not (held := shoppers[number].hold(labels[number])).ok:
                    assert held.status in (0, 503), held  # one's own lost hold is replaced
                    time.sleep(0.05)
                while not (paid := shoppers[number].pay(held.body["id"])).ok:
                    assert paid.status in (0, 503), paid
                    time.sleep(0.05)
                done.append(number)

        threads = [threading.Thread(target=buy, args=(range(n, 60, 6),)) for n in range(6)]
        for thread in threads:
            thread.start()
        for milestone in (5, 15, 25, 35):
            until(lambda: len(done) >= milestone)  # noqa: B023 - waited for before the next
            for pid in web.workers()[:1]:
                os.kill(pid, signal.SIGKILL)
        for thread in threads:
            thread.join()
    assert house.db.lookup(seatmap.states, sale) == "s" * 60
    assert_sound(house.db)
    dispose(app)


@pytest.mark.failure("F34")
def test_a_database_that_is_gone_for_a_minute_kills_nobody(frail: Postgres, tmp_path: Path) -> None:
    """Alive all the time, not ready at once, ready again by itself, with the same workers."""
    app = create_app(config_for(frail.url("jari")))
    house: House = app.extensions["jari"]
    sale = make_sale(house.db, seats=10)
    [customer] = make_accounts(house.db)
    dispose(app)
    with Web(frail.url("jari"), tmp_path / "web.log", workers=2) as web:
        until(lambda: web.status("/readyz") == 200)
        workers = web.workers()
        frail.kill()
        gone = time.monotonic()
        until(lambda: web.status("/readyz") == 503, 3.0, "not ready within three seconds")
        while time.monotonic() < gone + 60:
            asked = time.monotonic()
            assert web.status("/healthz") == 200
            assert web.status("/readyz") == 503
            assert time.monotonic() - asked < 5
            assert Shopper(web.http, customer, sale).join().code == "busy"
            time.sleep(0.5)
        frail.start()
        until(lambda: web.status("/readyz") == 200, 10.0, "not ready again by itself")
        assert web.workers() == workers
        assert Shopper(web.http, customer, sale).buy("ST-A-1").status == 201


@pytest.mark.failure("F34")
def test_a_database_that_answers_nobody_makes_readiness_red_at_once(
    frail: Postgres, tmp_path: Path
) -> None:
    """Stopped, not dead: connections are accepted by the kernel and nothing ever comes back."""
    with Web(frail.url("jari"), tmp_path / "web.log", workers=1) as web:
        until(lambda: web.status("/readyz") == 200)
        app = create_app(config_for(frail.url("jari")))
        backends = family_of(frail.pid)
        dispose(app)
        for pid in backends:
            os.kill(pid, signal.SIGSTOP)
        try:
            for _ in range(3):
                asked = time.monotonic()
                assert web.status("/readyz") == 503
                assert time.monotonic() - asked < 3
                assert web.status("/healthz") == 200
        finally:
            for pid in backends:
                os.kill(pid, signal.SIGCONT)
        until(lambda: web.status("/readyz") == 200, 20.0)


def family_of(pid: int) -> list[int]:
    """A process and its children."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [pid, *(int(child) for child in text.split())]


@pytest.mark.failure("F34")
def test_every_connection_is_terminated_and_nobody_notices(
    postgres_url: str, tmp_path: Path
) -> None:
    app = create_app(config_for(postgres_url))
    house: House = app.extensions["jari"]
    sale = make_sale(house.db, seats=10)
    customers = make_accounts(house.db, 2)
    with Web(postgres_url, tmp_path / "web.log", workers=1) as web:
        for number, customer in enumerate(customers, 1):
            shopper = Shopper(web.http, customer, sale)
            assert shopper.buy(f"ST-A-{number}").status == 201
            pids = house.db.read(
                lambda tx: (
                    tx.connection.exec_driver_sql(
                        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                        " AND pid <> pg_backend_pid()"
                    )
                    .scalars()
                    .all()
                )
            )
            for pid in pids:
                terminate(house.db.writer, pid)
    dispose(app)
