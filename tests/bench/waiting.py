"""Measure the waiting room: joins and polls against a Flask hello, and polls in rooms of two sizes.

    python -m tests.bench.waiting [--rounds 3] [--requests 6000] [--connections 48] [--room 1000000]

Rounds alternate between the hello and the service, under the same gunicorn settings, so that a slow
minute of the machine hits both. Read the ratios: load generator, web and database share the machine.
Polls are measured in the steady state: each client has shown its token to both workers before. What the
database takes alone is measured last, without Python: joins one in a transaction, and twelve as in a crowd.
"""

import argparse
import contextlib
import os
import random
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg

from tests import builders
from tests.bench import client, goals, statements
from tests.bench.__main__ import (
    DURABLE,
    ROOT,
    THREADS,
    WARM_UP,
    WORKERS,
    cpu_seconds,
    gunicorn,
    pgbench,
)
from tests.conftest import SECRET, config_for, dispose
from tests.postgres import Postgres
from webapp import create_app
from webapp.commands import migrate_to
from webapp.domain import admission
from webapp.web import guards, queue
from webapp.web.house import House
from webapp.web.place_part import WAITING_COOKIE
from webapp.web.tokens import Claims

PACED_SECONDS = 1.0  # longer than anybody near the front is asked to wait before the next poll
FILL = """
INSERT INTO queue_entry (id, performance_id, account_id, joined_at, number, ended_at, end_reason, retired_at)
SELECT gen_random_uuid(), %(sale)s, gen_random_uuid(), now(), n, CASE WHEN gone THEN now() END,
       CASE WHEN gone THEN 'left' END, CASE WHEN gone THEN now() END
FROM (SELECT n, n %% 10 = 0 AS gone FROM generate_series(1, %(size)s) n) AS people
"""

LET_ONE_IN = """
UPDATE queue_entry SET admitted_at = now(), access_expires_at = now() + interval '1 hour'
WHERE number = 1
"""
PAGES_POLL = "page's poll"
NUMBER = 3  # of those who poll: the first is inside


def let_one_in(url: str) -> None:
    """Let the first of every room in, again: where nobody was for a minute, people are asked back seldom, and
    would be told 429 here.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(LET_ONE_IN)


def fill(url: str, sale: int, size: int) -> None:
    """Put `size` people into a room's line, as the usher would have numbered them; every tenth has left."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(FILL, {"sale": sale, "size": size})
        connection.execute(
            "UPDATE room_progress SET last_number = %(size)s WHERE performance_id = %(sale)s",
            {"sale": sale, "size": size},
        )
        connection.execute("VACUUM ANALYZE queue_entry")


def pollers(house: House, sale: int, count: int) -> list[bytes]:
    """Prepare polls by different people; those with one number are asked back equally soon."""
    path = f"/api/v1/performances/{sale}/queue"
    made = []
    for _ in range(count):
        claims = Claims(uuid.uuid4(), sale, uuid.uuid4(), NUMBER, NUMBER - 2, 0.0, 0.0)
        token, _ = house.tokens.renew_waiting(claims, NUMBER - 2)
        made.append(client.request("GET", path, {"Waiting-Token": token}))
    return made


def readers(house: House, sale: int, count: int) -> list[bytes]:
    """Prepare what the waiting page's script asks for, by different people."""
    path, made = f"/performances/{sale}/queue/place", []
    for _ in range(count):
        session = uuid.uuid4().hex
        claims = Claims(
            uuid.uuid4(), sale, uuid.uuid4(), NUMBER, NUMBER - 2, 0.0, 0.0, queue.mark(session)
        )
        token, _ = house.tokens.renew_waiting(claims, NUMBER - 2)
        cookies = f"{guards.COOKIE}={session}; {WAITING_COOKIE}={token}"
        made.append(client.request("GET", path, {"Cookie": cookies}))
    return made


def movers(house: House, sale: int, size: int, count: int) -> list[bytes]:
    """Prepare polls from all over a line that has moved since they last asked: each wants a new token."""
    path = f"/api/v1/performances/{sale}/queue"
    made = []
    for _ in range(count):
        number = random.randrange(NUMBER, size // 10) * 10 + 1  # nobody who has left
        claims = Claims(uuid.uuid4(), sale, uuid.uuid4(), number, number, 0.0, 0.0)
        token, _ = house.tokens.renew_waiting(claims, number)
        made.append(client.request("GET", path, {"Waiting-Token": token}))
    return made


def joiners(house: House, sale: int, count: int) -> list[bytes]:
    """Prepare joins by different customers."""
    made: list[bytes] = []
    path = f"/api/v1/performances/{sale}/queue"
    while len(made) < count:
        people = builders.make_accounts(house.db, min(1_000, count - len(made)))
        made += [client.request("POST", path, person.bearer) for person in people]
    return made


class Table:
    """Results by name, with the ratio to the hello of the same round."""

    def __init__(self) -> None:
        self.rows: dict[str, list[tuple[client.Result, float]]] = {}

    def add(self, name: str, result: client.Result, reference: client.Result) -> None:
        self.rows.setdefault(name, []).append((result, result.per_second / reference.per_second))

    def figures(self) -> dict[str, float]:
        return {
            name: statistics.median(ratio for _, ratio in rows) for name, rows in self.rows.items()
        }

    def lines(self) -> list[str]:
        lines = [
            "| what | requests/s | of the hello, median (rounds) | p50 ms | p95 ms | statuses |",
            "|---|---|---|---|---|---|",
        ]
        for name, rows in self.rows.items():
            result, ratio = sorted(rows, key=lambda row: row[1])[len(rows) // 2]
            ratios = ", ".join(f"{each:.0%}" for _, each in rows)
            seen = ", ".join(f"{n} × {status}" for status, n in sorted(result.statuses.items()))
            lines.append(
                f"| {name} | {result.per_second:.0f} | {ratio:.0%} ({ratios}) |"
                f" {result.percentile(0.5):.1f} | {result.percentile(0.95):.1f} | {seen} |"
            )
        return lines


@contextlib.contextmanager
def usher(url: str) -> Iterator[None]:
    """Run the scheduler beside."""
    environment = os.environ | {"SECRET_KEY": SECRET, "DATABASE_URL": url}
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs"], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def memory(pids: Sequence[int]) -> list[int]:
    """What each process keeps in memory, in MB."""
    return [
        int(line.split()[1]) // 1024
        for pid in pids
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    ]


def warm(port: int, requests: Sequence[bytes], connections: int) -> None:
    """Show every token often enough that both workers know it, at the pace that is asked for."""
    for _ in range(4):
        client.run(port, requests, connections)
        time.sleep(PACED_SECONDS)


def measure(url: str, chosen: Any) -> dict[str, float]:
    """Run the rounds and print; return what has a goal."""
    app = create_app(config_for(url))
    migrate_to(app)
    house: House = app.extensions["jari"]
    small, large, busy = (builders.make_sale(house.db, capacity=0) for _ in range(3))
    fill(url, small, 1_000)
    fill(url, large, chosen.room)
    asked = {
        f"poll, {size:,} waiting": pollers(house, sale, chosen.requests)
        for size, sale in ((1_000, small), (chosen.room, large))
    }
    asked[PAGES_POLL] = readers(house, large, chosen.requests)
    moved = movers(house, large, chosen.room, chosen.rounds * chosen.requests)
    joins = joiners(house, busy, (chosen.rounds * chosen.requests) // 2 + WARM_UP)
    dispose(app)
    hello = [client.request("GET", "/hello", {})] * chosen.requests
    table = Table()
    with contextlib.ExitStack() as stack:
        bare, _ = stack.enter_context(gunicorn("tests.bench.reference:application", url))
        port, workers = stack.enter_context(gunicorn("wsgi:application", url))
        stack.enter_context(usher(url))
        client.run(bare, hello[:WARM_UP], chosen.connections)
        client.run(port, joins[:WARM_UP], chosen.connections)
        joins = joins[WARM_UP:]
        for turn in range(chosen.rounds):
            for name, requests in asked.items():
                let_one_in(url)
                warm(port, requests, chosen.connections)
                reference = client.run(bare, hello, chosen.connections)
                table.add(name, client.run(port, requests, chosen.connections), reference)
            part = moved[turn * chosen.requests : (turn + 1) * chosen.requests]
            reference = client.run(bare, hello, chosen.connections)
            name = f"poll, {chosen.room:,} waiting, the line has moved"
            table.add(name, client.run(port, part, chosen.connections), reference)
            part = joins[turn * chosen.requests // 2 : (turn + 1) * chosen.requests // 2]
            reference = client.run(bare, hello, chosen.connections)
            table.add(
                "join, the usher ticking", client.run(port, part, chosen.connections), reference
            )
        print(*table.lines(), "", sep="\n")
        print(f"Memory of a worker: {memory(workers)} MB; CPU seconds: {cpu_seconds(workers)}")
    return table.figures()


TOGETHER = (1, 12)  # joins in a transaction
ALONE_SECONDS = 10


def tell_joins_alone(server: Postgres, url: str) -> None:
    """Print how many joins the database takes beside a ticking usher, which numbers them meanwhile."""
    app = create_app(config_for(url))
    db = app.extensions["jari"].db
    for together in TOGETHER:
        sale = builders.make_sale(db, capacity=0)
        script = statements.PGBENCH_JOINS.format(sale=sale, together=together)
        with usher(url):
            rate, failed, retried = pgbench(server, url, script, ALONE_SECONDS)
        numbered = db.read(admission.get_last_number, sale)
        print(
            f"The database alone, {together} in a transaction: {rate * together:,.0f} joins a second,"
            f" {failed} transactions failed, {retried} ran again, {numbered / ALONE_SECONDS:,.0f} a second numbered beside"
        )
    dispose(app)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=6_000, help="per round")
    parser.add_argument("--connections", type=int, default=WORKERS * THREADS)
    parser.add_argument("--room", type=int, default=1_000_000, help="people in the larger room")
    with Postgres(DURABLE) as server:
        url = server.create_database("waiting")
        figures = measure(url, parser.parse_args())
        tell_joins_alone(server, url)
    sys.exit(not goals.judge(figures))


if __name__ == "__main__":
    main()
