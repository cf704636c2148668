"""Measure what everybody looks at against a Flask hello: availability, seat map, a sold-out house's refusal.

    python -m tests.bench.snapshots [--rounds 5] [--requests 4000] [--connections 48] [--seats 20000]

Each is answered from the process's own snapshots. Rounds alternate between the hello and the service, under
the same gunicorn settings, so that a slow minute of the machine hits both: read the ratios. A large answer
costs its copying; that is part of it, so halls of two sizes are asked for.
"""

import argparse
import contextlib
import json
import random
import sys
import urllib.request

from tests import builders
from tests.bench import client, goals
from tests.bench.__main__ import DURABLE, THREADS, WARM_UP, WORKERS, cpu_seconds, gunicorn
from tests.bench.waiting import Table
from tests.conftest import config_for, dispose
from tests.postgres import Postgres
from webapp import create_app
from webapp.commands import migrate_to
from webapp.db import Database

SMALL = 1_000
PACKED = {"Accept-Encoding": "gzip"}


def sell_some(db: Database, sale: int, parties: int) -> None:
    """Sell pairs here and there, so that the states are those of a sale under way."""
    rng = random.Random(1)
    buyers = builders.make_accounts(db, parties)
    for buyer, first in zip(buyers, rng.sample(range(0, SMALL, 4), parties), strict=True):
        admitted = builders.enter(db, buyer, sale)
        builders.pay(db, admitted, builders.place(db, admitted, [first, first + 1]))


def sell_out(db: Database) -> int:
    """Make a sale of two seats and sell both."""
    sale = builders.make_sale(db, seats=2)
    [buyer] = builders.make_accounts(db)
    admitted = builders.enter(db, buyer, sale)
    builders.pay(db, admitted, builders.place(db, admitted, [0, 1]))
    return sale


def look_ups(
    port: int, small: int, large: int, gone: int, session: dict[str, str]
) -> dict[str, bytes]:
    """Prepare what is asked for, by what the table calls it."""
    made = {}
    for size, sale in (("small", small), ("large", large)):
        path = f"/api/v1/performances/{sale}"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}/availability") as answer:
            seen = json.load(answer)
        version = seen["seatmap_version"]
        made[f"availability, {size} hall"] = client.request("GET", f"{path}/availability", PACKED)
        made[f"availability, {size} hall, what changed"] = client.request(
            "GET", f"{path}/availability?since={seen['version']}", PACKED
        )
        made[f"seat map, {size} hall, packed"] = client.request(
            "GET", f"{path}/seatmap?v={version}", PACKED
        )
    made["joining a sold-out sale"] = client.request(
        "POST", f"/api/v1/performances/{gone}/queue", session
    )
    return made


def measure(url: str, chosen: argparse.Namespace) -> dict[str, float]:
    """Run the rounds and print; return what has a goal."""
    app = create_app(config_for(url))
    migrate_to(app)
    db: Database = app.extensions["jari"].db
    small = builders.make_sale(db, seats=SMALL)
    large = builders.make_sale(db, seats=chosen.seats)
    for sale in (small, large):
        sell_some(db, sale, 60)
    gone = sell_out(db)
    [somebody] = builders.make_accounts(db)
    dispose(app)
    hello = [client.request("GET", "/hello", {})] * chosen.requests
    table = Table()
    with contextlib.ExitStack() as stack:
        bare, _ = stack.enter_context(gunicorn("tests.bench.reference:application", url))
        port, workers = stack.enter_context(gunicorn("wsgi:application", url))
        wanted = look_ups(port, small, large, gone, somebody.bearer)
        client.run(bare, hello[:WARM_UP], chosen.connections)
        for request in wanted.values():
            client.run(port, [request] * WARM_UP, chosen.connections)
        for _ in range(chosen.rounds):
            for name, request in wanted.items():
                reference = client.run(bare, hello, chosen.connections)
                found = client.run(port, [request] * chosen.requests, chosen.connections)
                table.add(name, found, reference)
        print(f"Halls of {SMALL:,} and {chosen.seats:,} seats.", *table.lines(), "", sep="\n")
        print(f"CPU seconds of the workers: {cpu_seconds(workers)}")
    return table.figures()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=4_000, help="per round and row")
    parser.add_argument("--connections", type=int, default=WORKERS * THREADS)
    parser.add_argument("--seats", type=int, default=20_000, help="in the large hall")
    with Postgres(DURABLE) as server:
        figures = measure(server.create_database("snapshots"), parser.parse_args())
    sys.exit(not goals.judge(figures))


if __name__ == "__main__":
    main()
