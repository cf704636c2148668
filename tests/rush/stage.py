"""The stage of a rush: a sale on a throw-away PostgreSQL, its crowd, and the processes that sell it.

Promises:

1. The service runs as in earnest: gunicorn with its own configuration, `python -m jobs`, commits that wait
   for the disk, and a log line for each request. No setting but the defaults.
2. Everything in the database was done by the domain, so that `verify` judges all of it: the dead holds, too.
"""

import contextlib
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import get_args

from sqlalchemy import func, select, text

from tests import builders
from tests.bench.__main__ import DURABLE, gunicorn
from tests.builders import Customer
from tests.conftest import config_for, dispose
from tests.forgeries import forge
from tests.postgres import Postgres
from tests.rush import k6
from tests.rush.people import Forgery, Hall
from tests.rush.scenarios import Scenario
from tests.servers import Scheduler, Web
from webapp import create_app
from webapp.clock import Clock
from webapp.commands import migrate_to
from webapp.db import Database, Tx
from webapp.domain import catalogue, rooms, seatmap
from webapp.domain.model import Booking, Hold, QueueEntry
from webapp.web.house import House
from webapp.web.tokens import Kind

WORKERS, THREADS = 2, 24  # the defaults
ACCOUNTS_AT_ONCE = 2_000
HOLDS_A_LINE = 2_000  # of progress
PREPARING = 4  # threads that place the dead holds
PLACED_PER_SECOND = 120.0  # at the least: so long before they expire


class Frozen(Clock):
    """A clock that stands."""

    def __init__(self, at: datetime) -> None:
        super().__init__(lambda: at)
        self._at = at

    def now(self) -> datetime:
        """Return always the same moment."""
        return self._at


def deadlocks(tx: Tx) -> int:
    """Count what the server had to break up since it started, whosever transactions they were."""
    counted = text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    return int(tx.execute(counted).scalar_one())


class Stage:
    """A sale, its crowd, and the processes that sell it."""

    def __init__(self, scenario: Scenario, server: Postgres, directory: Path) -> None:
        self.scenario = scenario
        self.url = server.create_database("rush")
        self.server = server
        self._app = create_app(config_for(self.url))
        migrate_to(self._app)
        self.db: Database = self._app.extensions["jari"].db
        self.customers = self._make_customers(scenario.people)
        self.waiting = self._make_customers(scenario.waiting)
        self.web = Web(self.url, directory / "web.log", workers=WORKERS, threads=THREADS)
        self.jobs = Scheduler(self.url, directory / "jobs.log")
        self.sale = 0
        self.other_sale = 0
        self.forgeries: list[Forgery] = []
        self.bare_port = 0  # of a bare Flask, where a scenario compares with it
        self.opens_at = self.db.clock.now()  # when the sale opens, as it says itself
        self.begins_at = 0.0  # when the first may come, by time.monotonic()

    def _make_customers(self, count: int) -> list[Customer]:
        made: list[Customer] = []
        while len(made) < count:
            made += builders.make_accounts(self.db, min(ACCOUNTS_AT_ONCE, count - len(made)))
            print(f"accounts: {len(made):,} of {count:,}", flush=True)
        return made

    @contextlib.contextmanager
    def set(self) -> Iterator["Stage"]:
        """Start the processes and put the sale up; people may come from `begins_at` on."""
        scenario = self.scenario
        hold_seconds = scenario.hold_seconds
        if scenario.dead_holds:
            seconds = scenario.dead_after + 10 + scenario.dead_holds / PLACED_PER_SECOND
            hold_seconds = round(seconds)
        with self.web, self._bare() as self.bare_port:
            self.sale = builders.make_sale(
                self.db,
                seats=scenario.seats,
                opens_in=-60.0 if scenario.dead_holds else scenario.opens_in,
                capacity=scenario.capacity,
                rate_per_minute=scenario.rate_per_minute,
                hold_seconds=hold_seconds,
                session_seconds=max(scenario.session_seconds, hold_seconds),
            )
            self.opens_at = self.db.read(catalogue.get_rules, self.sale).sales_open_at
            if scenario.waiting:
                self.other_sale = builders.make_sale(
                    self.db,
                    capacity=scenario.waiting,
                    rate_per_minute=scenario.waiting_per_minute,
                )
            if scenario.forged_per_second:
                self.forgeries = self._forge()
            if scenario.dead_holds:
                self.begins_at = self._place_dead_holds(hold_seconds)
            else:
                self.begins_at = self._when(self.opens_at)
            with self.jobs:
                yield self
        dispose(self._app)

    @contextlib.contextmanager
    def _bare(self) -> Iterator[int]:
        if not self.scenario.pressure:
            yield 0
            return
        with gunicorn("tests.bench.reference:application", self.url) as (port, _):
            yield port

    def _forge(self) -> list[Forgery]:
        house: House = self._app.extensions["jari"]
        elsewhere = builders.make_sale(self.db)
        return [
            Forgery(kind, sort, token)
            for kind in get_args(Kind)
            for sort, token in forge(house, elsewhere, kind).items()
        ]

    def _place_dead_holds(self, hold_seconds: int) -> float:
        """Place them as of one moment; return when it is `dead_after` before their end."""
        running = self.db.clock
        began = running.now()
        owners = self._make_customers(self.scenario.dead_holds)
        self.db.clock = Frozen(began)

        def place(number: int) -> None:
            admitted = builders.enter(self.db, owners[number], self.sale, 2 * hold_seconds)
            builders.place(self.db, admitted, [number])

        with ThreadPoolExecutor(PREPARING) as pool:
            for number, _ in enumerate(pool.map(place, range(len(owners))), 1):
                if number % HOLDS_A_LINE == 0 or number == len(owners):
                    print(f"holds that will expire: {number:,} of {len(owners):,}", flush=True)
        self.db.clock = running
        begins_at = self._when(began + timedelta(seconds=hold_seconds - self.scenario.dead_after))
        if begins_at < time.monotonic() + 1:
            raise RuntimeError(
                "This machine places holds too slowly for this scenario: --scale 0.2"
            )
        return begins_at

    def _when(self, moment: datetime) -> float:
        """Return a moment of the database's clock by time.monotonic()."""
        return time.monotonic() + (moment - self.db.clock.now()).total_seconds()

    def hall(self, sale: int | None = None) -> Hall:
        """Read the hall as a client would have it."""
        performance_id = sale or self.sale

        def read(tx: Tx) -> tuple[Sequence[seatmap.Place], str]:
            sale = catalogue.get_sale(tx, performance_id)
            return seatmap.load(tx, sale.rules.seatmap_id).places, sale.event_slug

        found, slug = self.db.read(read)
        rows = [f"{place.section} {place.row}" for place in found]
        return Hall(performance_id, [place.label for place in found], rows, slug)

    def let_nobody_in(self) -> None:
        """Let nobody in any more who waits for the other sale."""
        self.db.transact(rooms.change, self.other_sale, None, {"rate_per_minute": 0})

    def count_sold(self) -> int:
        """Count the wanted seats that are sold now."""
        states = self.db.lookup(seatmap.states, self.sale)
        return states[: self.scenario.wanted_seats].count(seatmap.SOLD)

    def sold_out_after(self) -> float:
        """Return how long after the opening the last wanted seat was paid, in seconds; infinity: it was not.

        Another load tool may have come later than that: then since somebody was there.
        """
        if self.count_sold() < self.scenario.wanted_seats:
            return math.inf
        last = select(func.max(Booking.paid_at)).where(Booking.performance_id == self.sale)
        first = select(func.min(QueueEntry.joined_at)).where(QueueEntry.performance_id == self.sale)
        paid_at, came_at = self.db.read(
            lambda tx: [tx.execute(q).scalar_one() for q in (last, first)]
        )
        return float((paid_at - max(came_at, self.opens_at)).total_seconds())

    def count_swept(self) -> int:
        """Count the holds that expired and that the sweeper has given back."""
        query = select(func.count()).where(
            Hold.performance_id == self.sale,
            Hold.end_reason == "expired",
            Hold.swept_at.is_not(None),
        )
        return int(self.db.read(lambda tx: tx.execute(query).scalar_one()))

    def export(self, file: Path) -> None:
        """Write what another load tool needs: where, which seats, and everybody's session."""
        hall = self.hall()
        about = {
            "base": f"http://127.0.0.1:{self.web.port}/api/v1",
            "begins_at": time.time() + self.begins_at - time.monotonic(),
            "people": self.scenario.people,
            "performance_id": self.sale,
            "event_path": hall.event_path,
            "other_performance_id": self.other_sale,
            "scaled": k6.scaled(self.scenario),
        }
        told = {
            "about": about,
            "labels": hall.labels,
            "rows": hall.rows,
            "sessions": [customer.session for customer in self.customers],
            "forgeries": [asdict(forgery) for forgery in self.forgeries],
            "waiting_sessions": [customer.session for customer in self.waiting],
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(told))


@contextlib.contextmanager
def staged(
    scenario: Scenario, directory: Path, settings: Mapping[str, str] | None = None
) -> Iterator[Stage]:
    """Start PostgreSQL, with more settings if there are any, and everything on it."""
    with Postgres({**DURABLE, **(settings or {})}) as server:
        stage = Stage(scenario, server, directory)
        with stage.set():
            yield stage
