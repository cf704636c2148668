"""Measure what one core buys: the CPU time of web and database for each kind of request, and its inverse.

    python -m tests.bench.sizing [--rounds 3] [--requests 1500] [--connections 48] [--seats 20000]

CPU time hardly depends on what else the machine does, so these figures are steadier than rates. The load
generator's own time is not in them. The formula that they go into is in docs/operations.md.
"""

import argparse
import contextlib
import statistics
from collections.abc import Sequence

from tests import builders
from tests.bench import client
from tests.bench.__main__ import (
    DURABLE,
    THREADS,
    WARM_UP,
    WORKERS,
    gunicorn,
    prepare_holds,
    prepare_payments,
)
from tests.bench.waiting import fill, joiners, let_one_in, pollers, usher, warm
from tests.conftest import config_for, dispose
from tests.postgres import Postgres
from tests.rush.watch import cpu_seconds, family
from webapp import create_app
from webapp.commands import migrate_to
from webapp.web.house import House

WAITING = 1_000


class Costs:
    """CPU milliseconds a request, of web and of database, one pair a round."""

    def __init__(self, workers: Sequence[int], database: int) -> None:
        self._workers, self._database = workers, database
        self.rows: dict[str, list[tuple[float, float]]] = {}

    def run(
        self, name: str, port: int, requests: Sequence[bytes], connections: int
    ) -> client.Result:
        """Send the requests and note what they cost; raise RuntimeError when one was refused."""
        before = self._used()
        result = client.run(port, requests, connections, keep_bodies=True)
        if not set(result.statuses) <= {200, 201}:
            raise RuntimeError(f"{name}: {result.statuses}")
        web, database = (
            (new - old) * 1000 / len(requests)
            for old, new in zip(before, self._used(), strict=True)
        )
        self.rows.setdefault(name, []).append((web, database))
        return result

    def _used(self) -> tuple[float, float]:
        return cpu_seconds(self._workers), cpu_seconds(family(self._database))

    def lines(self) -> list[str]:
        """The table in Markdown: medians over the rounds."""
        lines = [
            "| request | web, ms | database, ms | one core buys, per second |",
            "|---|---|---|---|",
        ]
        for name, rounds in self.rows.items():
            web, database = (statistics.median(costs) for costs in zip(*rounds, strict=True))
            lines.append(
                f"| {name} | {web:.2f} | {database:.2f} | {1000 / max(web + database, 0.001):,.0f} |"
            )
        return lines


def measure(server: Postgres, chosen: argparse.Namespace) -> list[str]:
    """Run the rounds; return the table."""
    url = server.create_database("sizing")
    app = create_app(config_for(url))
    migrate_to(app)
    house: House = app.extensions["jari"]
    room, busy = (builders.make_sale(house.db, capacity=0) for _ in range(2))
    fill(url, room, WAITING)
    large = builders.make_sale(house.db, seats=chosen.seats)
    count = chosen.requests
    polls = pollers(house, room, count)
    joins = joiners(house, busy, chosen.rounds * count)
    holds = prepare_holds(house.db, house.tokens, WARM_UP + chosen.rounds * count)
    looks = [client.request("GET", f"/api/v1/performances/{large}/availability", {})] * count
    dispose(app)
    with contextlib.ExitStack() as stack:
        port, workers = stack.enter_context(gunicorn("wsgi:application", url))
        stack.enter_context(usher(url))
        costs = Costs(workers, server.pid)
        client.run(port, holds[:WARM_UP], chosen.connections)
        for turn in range(chosen.rounds):
            let_one_in(url)
            part = slice(turn * count, (turn + 1) * count)
            warm(port, polls, chosen.connections)
            costs.run("poll", port, polls, chosen.connections)
            costs.run(f"availability, {chosen.seats:,} seats", port, looks, chosen.connections)
            costs.run("join", port, joins[part], chosen.connections)
            mine = holds[WARM_UP:][part]
            held = costs.run("hold", port, mine, chosen.connections)
            payments = prepare_payments(mine, held.bodies)
            costs.run("payment", port, payments, chosen.connections)
    return costs.lines()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=1_500, help="per round and row")
    parser.add_argument("--connections", type=int, default=WORKERS * THREADS)
    parser.add_argument("--seats", type=int, default=20_000, help="whose availability is asked for")
    with Postgres(DURABLE) as server:
        print(*measure(server, parser.parse_args()), sep="\n")


if __name__ == "__main__":
    main()
