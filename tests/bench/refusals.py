"""Measure what refusing costs: a sold-out house against a Flask hello, bad tokens against a 404.

    python -m tests.bench.refusals [--rounds 3] [--requests 4000] [--connections 12]

Rounds alternate between a reference and the service, under the same gunicorn settings, so that a slow
minute of the machine hits both; the workers' CPU time per request does not depend on what else it does.
Then people hold seats alone, and while bad tokens come in, at most 500 a second over two connections.
"""

import argparse
import contextlib
import json
import statistics
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests import builders
from tests.bench import client, goals
from tests.bench.__main__ import DURABLE, WARM_UP, cpu_seconds, gunicorn, prepare_holds
from tests.conftest import config_for, dispose
from tests.forgeries import forge
from tests.postgres import Postgres
from webapp import create_app
from webapp.commands import migrate_to
from webapp.db import new_id
from webapp.domain import waiting_room
from webapp.domain.waiting_room import Arrival
from webapp.web.house import House

CROWD = 500
BAD_PER_SECOND = 500  # at most: over two connections, each waiting for its answers
HOLDS = 4_000  # per round


@dataclass(frozen=True)
class Side:
    """A server to ask: its port and its workers."""

    port: int
    workers: list[int]

    def run(self, requests: Sequence[bytes], connections: int) -> tuple[client.Result, float]:
        """Send the requests; return the answers and how much CPU time each took, in milliseconds."""
        before = sum(cpu_seconds(self.workers))
        result = client.run(self.port, requests, connections)
        return result, (sum(cpu_seconds(self.workers)) - before) * 1000 / len(requests)


class Table:
    """Rates and costs beside those of the reference of the same round."""

    def __init__(self, reference: str) -> None:
        self.shares: dict[str, float] = {}  # of the reference's rate
        self.costs: dict[str, float] = {}  # times its CPU
        self.lines = [
            f"| what | requests/s | of {reference}'s rate | CPU ms | {reference}'s CPU ms | p95 ms | statuses |",
            "|---|---|---|---|---|---|---|",
        ]

    def add(self, name: str, rounds: Sequence[tuple[tuple[client.Result, float], ...]]) -> None:
        """Add a row of rounds, each the service's result and the reference's."""
        rates = [ours.per_second / theirs.per_second for (ours, _), (theirs, _) in rounds]
        cost = [statistics.median(each[side][1] for each in rounds) for side in (0, 1)]
        self.shares[name] = statistics.median(rates)
        self.costs[name] = cost[0] / cost[1]
        results = [ours for (ours, _), _ in rounds]
        statuses: Counter[int] = sum((each.statuses for each in results), Counter())
        seen = ", ".join(f"{count} × {status}" for status, count in sorted(statuses.items()))
        each_rate = ", ".join(f"{rate:.0%}" for rate in rates)
        p95 = statistics.median(each.percentile(0.95) for each in results)
        per_second = statistics.median(each.per_second for each in results)
        self.lines.append(
            f"| {name} | {per_second:.0f} | {self.shares[name]:.0%} ({each_rate}) |"
            f" {cost[0]:.2f} | {cost[1]:.2f} | {p95:.1f} | {seen} |"
        )


def make_sold_out(house: House) -> dict[str, list[bytes]]:
    """Make a sale of two seats, let a crowd in and sell both; return what those outside and inside try."""
    sale = builders.make_sale(house.db, seats=2)
    path = f"/api/v1/performances/{sale}"
    outside, inside = (builders.make_accounts(house.db, CROWD) for _ in range(2))
    wish, holds = json.dumps({"seats": ["ST-A-1", "ST-A-2"]}).encode(), []
    for person in inside:
        arrival = Arrival(new_id(), sale, person.id, session_seconds=3_600)
        stay, _ = house.db.transact(waiting_room.join, arrival)
        headers = person.bearer | {"Access-Token": house.tokens.issue_access(stay)}
        holds.append(client.request("POST", f"{path}/holds", headers, wish))
    [buyer] = builders.make_accounts(house.db)
    admitted = builders.enter(house.db, buyer, sale)
    builders.pay(house.db, admitted, builders.place(house.db, admitted, [0, 1]))
    joins = [client.request("POST", f"{path}/queue", person.bearer) for person in outside]
    return {"join, sold out": joins, "hold, sold out": holds}


@contextlib.contextmanager
def beside(port: int, requests: Sequence[bytes]) -> Iterator[client.Result]:
    """Send the requests at BAD_PER_SECOND, over and over, while the block runs."""
    stop, total = threading.Event(), client.Result()

    def send() -> None:
        part = BAD_PER_SECOND // 10
        due = time.monotonic()
        while not stop.is_set():
            total.statuses += client.run(port, requests[:part], 2).statuses
            due += 0.1
            time.sleep(max(0.0, due - time.monotonic()))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield total
    finally:
        stop.set()
        thread.join()


def measure_holds(port: int, holds: list[bytes], bad: Sequence[bytes], chosen: Any) -> list[str]:
    """Hold seats alone and beside bad tokens in turn; return what to print."""
    alone, crowded, told = [], [], Counter[int]()
    for _ in range(chosen.rounds):
        alone.append(client.run(port, [holds.pop() for _ in range(HOLDS)], chosen.connections))
        with beside(port, bad) as refused:
            part = [holds.pop() for _ in range(HOLDS)]
            crowded.append(client.run(port, part, chosen.connections))
        told += refused.statuses
    rates = [[result.per_second for result in some] for some in (alone, crowded)]
    p95 = [
        statistics.median(result.percentile(0.95) for result in some) for some in (alone, crowded)
    ]
    ratio = statistics.median(b / a for a, b in zip(*rates, strict=True))
    return [
        f"Holds: {statistics.median(rates[0]):.0f}/s alone (p95 {p95[0]:.1f} ms),"
        f" {statistics.median(rates[1]):.0f}/s beside {told.total()} bad tokens (p95 {p95[1]:.1f} ms): {ratio:.0%}.",
        f"Answers: {sum((result.statuses for result in alone + crowded), told)}",
    ]


def measure(url: str, chosen: Any) -> dict[str, float]:
    """Run the rounds and print; return what has a goal."""
    app = create_app(config_for(url))
    migrate_to(app)
    house: House = app.extensions["jari"]
    crowds, open_sale = make_sold_out(house), builders.make_sale(house.db)
    path = f"/api/v1/performances/{open_sale}/holds"
    body = json.dumps({"seats": ["ST-A-1"]}).encode()
    [someone] = builders.make_accounts(house.db)
    bad = {
        name: client.request("POST", path, someone.bearer | {"Access-Token": token}, body)
        for name, token in forge(house, open_sale, "access").items()
        if name != "of another performance"  # that one is good here
    }
    holds = prepare_holds(house.db, house.tokens, 2 * chosen.rounds * HOLDS + WARM_UP)
    dispose(app)
    count = chosen.requests
    hello = [client.request("GET", "/hello", {})] * count
    nothing = [client.request("POST", f"/api/v1/{uuid.uuid4()}", someone.bearer, body)] * count
    hello_table, nothing_table = Table("the hello"), Table("the 404")
    with contextlib.ExitStack() as stack:
        bare = Side(*stack.enter_context(gunicorn("tests.bench.reference:application", url)))
        ours = Side(*stack.enter_context(gunicorn("wsgi:application", url)))
        bare.run(hello[:WARM_UP], chosen.connections)
        for warm in (
            *(crowd * 2 for crowd in crowds.values()),
            nothing[:WARM_UP],
            [holds.pop() for _ in range(WARM_UP)],
        ):
            ours.run(warm, chosen.connections)
        tries = {name: (crowd * (count // CROWD + 1))[:count] for name, crowd in crowds.items()}
        for table, side, reference, asked in (
            (hello_table, bare, hello, tries),
            (nothing_table, ours, nothing, {name: [one] * count for name, one in bad.items()}),
        ):
            for name, requests in asked.items():
                rounds = [
                    (
                        ours.run(requests, chosen.connections),
                        side.run(reference, chosen.connections),
                    )
                    for _ in range(chosen.rounds)
                ]
                table.add(name, rounds)
            print(*table.lines, "", sep="\n")
        mixed = list(bad.values()) * BAD_PER_SECOND
        print(*measure_holds(ours.port, holds, mixed, chosen), sep="\n")
    costs = {f"bad token: {name}": cost for name, cost in nothing_table.costs.items()}
    return hello_table.shares | costs


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=4_000, help="per round")
    parser.add_argument("--connections", type=int, default=12)
    with Postgres(DURABLE) as server:
        figures = measure(server.create_database("refusals"), parser.parse_args())
    sys.exit(not goals.judge(figures))


if __name__ == "__main__":
    main()
