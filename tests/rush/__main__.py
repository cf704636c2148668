"""Rush a sale: `python -m tests.rush [SCENARIO …] [--scale 0.1] [--seed N] [--report DIRECTORY]`.

PostgreSQL, gunicorn and the scheduler run on this machine with production settings, beside the load. The
exit status is 1 when a threshold fails.
"""

import argparse
import asyncio
import contextlib
import random
import re
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import uvloop

from tests import builders
from tests.bench.__main__ import DURABLE
from tests.builders import Customer
from tests.conftest import config_for, dispose
from tests.postgres import Postgres
from tests.rush import gate, report
from tests.rush.load import Load
from tests.rush.people import Hall, Person, forge
from tests.rush.scenarios import SCENARIOS, Scenario
from tests.rush.watch import Watch
from tests.servers import ROOT, Scheduler, Web
from webapp import create_app
from webapp.commands import migrate_to
from webapp.db import Database, Tx
from webapp.domain import audit, catalogue, seatmap

WORKERS, THREADS = 2, 6
SETTINGS = {"POOL_SIZE": THREADS, "LOG_LEVEL": "warning"}
ACCOUNTS_AT_ONCE = 2_000


class Stage:
    """A sale, its crowd, and the processes that sell it."""

    def __init__(self, scenario: Scenario, server: Postgres, directory: Path) -> None:
        self.scenario = scenario
        self.url = server.create_database("rush")
        self.server = server
        app = create_app(config_for(self.url))
        migrate_to(app)
        self.db: Database = app.extensions["jari"].db
        self._app = app
        self.customers = self._make_customers()
        self.web = Web(
            self.url, directory / "web.log", workers=WORKERS, threads=THREADS, **SETTINGS
        )
        self.jobs = Scheduler(self.url, directory / "jobs.log", LOG_LEVEL="warning")
        self.sale = 0

    def _make_customers(self) -> list[Customer]:
        made: list[Customer] = []
        while len(made) < self.scenario.people:
            count = min(ACCOUNTS_AT_ONCE, self.scenario.people - len(made))
            made += builders.make_accounts(self.db, count)
        return made

    @contextlib.contextmanager
    def set(self) -> Iterator["Stage"]:
        """Start the processes and put the sale up; the sale opens in `opens_in` seconds."""
        with self.web, self.jobs:
            self.sale = builders.make_sale(
                self.db,
                seats=self.scenario.seats,
                opens_in=self.scenario.opens_in,
                capacity=self.scenario.capacity,
                rate_per_minute=self.scenario.rate_per_minute,
                hold_seconds=self.scenario.hold_seconds,
                session_seconds=self.scenario.session_seconds,
            )
            yield self
        dispose(self._app)

    def hall(self) -> Hall:
        """Read the hall as a client would have it."""

        def places(tx: Tx) -> Sequence[seatmap.Place]:
            return seatmap.load(tx, catalogue.get_rules(tx, self.sale).seatmap_id).places

        found = self.db.read(places)
        rows = [f"{place.section} {place.row}" for place in found]
        return Hall(self.sale, [place.label for place in found], rows)

    def count_sold(self) -> int:
        """Count the seats that are sold now."""
        return self.db.lookup(seatmap.states, self.sale).count(seatmap.SOLD)

    def retries(self) -> dict[str, float]:
        """Return the service's own count of transactions run again."""
        url = f"http://127.0.0.1:{self.web.port}/metrics"
        text = urllib.request.urlopen(url, timeout=20).read().decode()
        sums: dict[str, float] = {}
        found = re.findall(r'jari_transaction_retries_total\{.*sqlstate="([^"]+)"\} (\S+)', text)
        for state, value in found:
            sums[state] = sums.get(state, 0.0) + float(value)
        return sums


async def rush(stage: Stage, seed: str) -> tuple[Load, Watch, float]:
    """Let everybody come when they come; return what happened, and how long it took."""
    scenario, hall = stage.scenario, stage.hall()
    processes = {"web": stage.web.pid, "jobs": stage.jobs.pid, "postgres": stage.server.pid}
    watch = Watch(stage.url, stage.sale, processes)
    rng = random.Random(seed)
    async with Load(stage.web.port) as load:
        watching = asyncio.create_task(watch.look())
        await asyncio.sleep(scenario.opens_in + 1)
        began = load.now
        coming = [asyncio.create_task(_forge(load, hall, stage, seed))]
        for customer, moment in zip(stage.customers, _arrivals(scenario, rng), strict=True):
            await asyncio.sleep(max(0.0, began + moment - load.now))
            person = Person(load, hall, customer, scenario.habits, f"{seed} {len(coming)}")
            coming.append(asyncio.create_task(person.come()))
        _, late = await asyncio.wait(coming, timeout=scenario.patience_seconds)
        for task in late:
            load.note("never finished")
            task.cancel()
        seconds = load.now - began
        watching.cancel()
    for task in coming:
        if not task.cancelled() and not task.cancelling():
            task.result()  # a mistake of the harness must not pass for a quiet customer
    return load, watch, seconds


async def _forge(load: Load, hall: Hall, stage: Stage, seed: str) -> None:
    """Send what is forged, evenly, while people arrive."""
    scenario = stage.scenario
    count = round(scenario.forged_per_second * sum(seconds for seconds, _ in scenario.arrivals))
    began, sent = load.now, []
    for number in range(count):
        await asyncio.sleep(max(0.0, began + number / scenario.forged_per_second - load.now))
        customer = stage.customers[number % len(stage.customers)]
        sent.append(asyncio.create_task(forge(load, hall, customer, f"{seed} forged {number}")))
    await asyncio.gather(*sent)


def _arrivals(scenario: Scenario, rng: random.Random) -> list[float]:
    """Return the seconds at which people arrive: evenly within each part, at random moments."""
    moments: list[float] = []
    start, people = 0.0, 0.0
    for seconds, share in scenario.arrivals:
        people += share * scenario.people
        while len(moments) < round(people):
            moments.append(start + rng.random() * seconds)
        start += seconds
    return sorted(moments)


def run(name: str, scenario: Scenario, seed: str, directory: Path) -> bool:
    """Rush one sale and write its report; return whether all thresholds hold."""
    print(f"{name} (seed {seed}): {scenario.about}")
    with Postgres(DURABLE) as server, tempfile.TemporaryDirectory() as logs:
        stage = Stage(scenario, server, Path(logs))
        with stage.set():
            load, watch, seconds = uvloop.run(rush(stage, seed))
            retries, sold = stage.retries(), stage.count_sold()
            checked = stage.db.read(audit.run).results
    values = gate.measure(load, seconds) | {
        "booked": len(load.events.get("booked", ())) / scenario.people,
        "sold": sold / scenario.seats,
        "integrity": sum(result.ok for result in checked) / len(checked),
    }
    verdicts = gate.judge(scenario.thresholds, load, values)
    lines = [f"{'ok' if result.ok else 'DIFFERS'}  {result.name}" for result in checked]
    sold_out = [
        second
        for second, count in zip(watch.series.seconds, watch.series.values["sold"], strict=True)
        if count == scenario.seats
    ]
    told = report.Run(
        name,
        scenario,
        seconds,
        load,
        watch.series,
        watch.cpu_total,
        verdicts,
        retries,
        lines,
        sold_out[0] if sold_out else None,
    )
    file = report.write(told, directory)
    print(f"\n\n{report.markdown(told)}\nWith plots: {file}")
    return all(verdict.holds for verdict in verdicts)


def main() -> None:
    """Rush what the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("scenario", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--scale", type=float, default=1.0, help="of people and seats")
    parser.add_argument("--seed", default=f"{time.time_ns() % 10**6}")
    parser.add_argument("--report", type=Path, default=ROOT / "var" / "rush")
    chosen = parser.parse_args()
    passed = True
    for name in chosen.scenario or SCENARIOS:
        scenario = SCENARIOS[name]
        scaled = replace(
            scenario,
            people=int(scenario.people * chosen.scale),
            seats=int(scenario.seats * chosen.scale),
        )
        passed &= run(name, scaled, chosen.seed, chosen.report)
    sys.exit(not passed)


if __name__ == "__main__":
    main()
