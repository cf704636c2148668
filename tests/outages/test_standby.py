"""A primary with a synchronous standby, both real: one is lost, and no acknowledged booking with it."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import select

from tests.builders import make_accounts, make_sale
from tests.conftest import config_for, dispose
from tests.outages.conftest import DURABLE
from tests.postgres import Postgres
from tests.races.soundness import assert_sound
from tests.servers import Scheduler, Web, until
from tests.shoppers import Reply, Shopper
from webapp import create_app, engines
from webapp.commands import migrate_to
from webapp.db import Busy, OutcomeUnknown, new_id
from webapp.domain import wallet
from webapp.domain.model import Booking
from webapp.web.house import House

pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.race]

GOES_ON_SECONDS = 30.0


class Standby(Postgres):
    """A server made of a running one's base backup, which follows it and can take its place."""

    def __init__(self, primary: Postgres) -> None:
        self._primary = primary
        super().__init__(DURABLE)

    def _initdb(self, settings: dict[str, str]) -> None:
        data = self.directory / "data"
        source = ["-h", "127.0.0.1", "-p", str(self._primary.port), "-U", "postgres"]
        subprocess.run(
            [self.binaries / "pg_basebackup", *source, "-D", data, "-c", "fast", "-X", "stream"],
            check=True,
            capture_output=True,
            **self._as,
        )
        line = f"host=127.0.0.1 port={self._primary.port} user=postgres application_name=follower"
        with (data / "postgresql.conf").open("a") as conf:
            conf.write(f"primary_conninfo = '{line}'\n")
        (data / "standby.signal").touch()


@contextmanager
def pair() -> Iterator[tuple[Postgres, Postgres]]:
    """Start a primary whose commits wait for its standby, and that standby."""
    with Postgres(DURABLE) as primary:
        primary.create_database("jari")
        app = create_app(config_for(primary.url("jari")))
        migrate_to(app)
        dispose(app)
        with Standby(primary) as standby:
            primary.execute("ALTER SYSTEM SET synchronous_standby_names = 'follower'")
            primary.execute("SELECT pg_reload_conf()")
            until(lambda: in_step(primary), 20.0, standby.log())
            yield primary, standby


def in_step(primary: Postgres) -> bool:
    """Whether commits are waiting for the standby by now."""
    with psycopg.connect(primary.url(), autocommit=True) as connection:
        rows = connection.execute("SELECT sync_state FROM pg_stat_replication").fetchall()
    return rows == [("sync",)]


def either(*servers: Postgres) -> str:
    """The address of whichever server may be written to, as docs/operations.md gives it."""
    hosts = "&".join(f"host=127.0.0.1:{server.port}" for server in servers)
    return f"postgresql://postgres@/jari?{hosts}&target_session_attrs=read-write"


class Sale:
    """Customers who buy one seat after the other, and write down what they were told."""

    def __init__(self, web: Web, house: House, count: int) -> None:
        self.id = make_sale(house.db, seats=3_000, seats_max=1_000, session_seconds=3_600)
        hall = house.seatmap_of(house.sales.get(self.id))
        labels = [place.label for place in hall.places]
        self.told: list[tuple[float, str]] = []  # when, which booking
        self.wrong: list[Reply] = []
        self.stop = threading.Event()
        shoppers = [Shopper(web.http, one, self.id) for one in make_accounts(house.db, count)]
        self.threads = [
            threading.Thread(target=self._shop, args=(shopper, iter(labels[n::count])))
            for n, shopper in enumerate(shoppers)
        ]

    def _shop(self, shopper: Shopper, labels: Iterator[str]) -> None:
        while not self.stop.is_set():
            self._insist(shopper.join)
            held = self._insist(shopper.hold, next(labels))
            paid = held and self._insist(shopper.pay, held.body["id"])
            if paid:
                self.told.append((time.monotonic(), paid.body["reference"]))

    def _insist(self, step: Callable[..., Reply], *words: str) -> Reply | None:
        """Ask until there is an answer, as a patient client does."""
        while not self.stop.is_set():
            reply = step(*words)
            if reply.ok:
                return reply
            if reply.status not in (0, 503):
                self.wrong.append(reply)
                return None
            time.sleep(0.1)
        return None

    def __enter__(self) -> "Sale":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.failure("F45")
def test_the_primary_is_killed_under_load_and_the_standby_goes_on_selling(tmp_path: Path) -> None:
    with pair() as (primary, standby):
        url = either(primary, standby)
        app = create_app(config_for(primary.url("jari")))
        with (
            Web(url, tmp_path / "web.log") as web,
            Scheduler(url, tmp_path / "jobs.log"),
            Sale(web, app.extensions["jari"], 8) as sale,
        ):
            until(lambda: len(sale.told) > 40)
            dispose(app)
            primary.kill()
            killed = time.monotonic()
            standby.execute("SELECT pg_promote()")
            until(lambda: sale.told[-1][0] > killed + 1, GOES_ON_SECONDS, web.said()[-2_000:])
            before = len(sale.told)
            first = next(told for told, _ in sale.told if told > killed)
            print(f"{before} acknowledged; sold again {first - killed:.1f} s after the kill")
            until(lambda: len(sale.told) > before + 40)
        assert sale.wrong == []
        app = create_app(config_for(standby.url("jari")))
        house: House = app.extensions["jari"]
        kept = house.db.read(lambda tx: set(tx.execute(select(Booking.reference)).scalars()))
        assert {reference for _, reference in sale.told} <= kept
        assert_sound(house.db)
        dispose(app)


@pytest.mark.failure("F45")
@pytest.mark.failure("F52")
def test_a_standby_that_is_gone_keeps_nobody_waiting_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A COMMIT that waits for it is left after a while, in doubt; the retry tells the truth later."""
    monkeypatch.setattr(engines, "COMMIT_SECONDS", 1.0)
    with pair() as (primary, standby):
        app = create_app(config_for(primary.url("jari"), transaction_seconds=4.0))
        house: House = app.extensions["jari"]
        [customer] = make_accounts(house.db)
        standby.kill()
        began = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            house.db.transact(wallet.top_up, customer.id, new_id(), 500)
        with pytest.raises((Busy, OutcomeUnknown)):
            house.db.transact(wallet.top_up, customer.id, new_id(), 70)
        assert time.monotonic() - began < 20
        standby.start()
        until(lambda: in_step(primary), 20.0)
        house.db.transact(wallet.top_up, customer.id, new_id(), 1)
        until(lambda: house.db.lookup(wallet.get, customer.id).balance_minor >= 1_000_501)
        assert house.db.lookup(wallet.get, customer.id).balance_minor in (1_000_501, 1_000_571)
        assert_sound(house.db)
        dispose(app)
