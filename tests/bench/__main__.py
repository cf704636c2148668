"""Measure the hold and pay endpoints against what Flask, psycopg and the database cost alone.

    python -m tests.bench [--rounds 3] [--holds 1500] [--connections 48]

Rounds alternate between reference and service, so that a slow minute of the machine hits both. Load
generator, web and database share the machine: read the ratios, not the figures. The exit status is 1 when
one of them misses its goal (tests/bench/goals.py).
"""

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import jwt
import psycopg

from tests import builders
from tests.bench import client, goals, statements
from tests.conftest import SECRET, config_for, dispose
from tests.postgres import Postgres, free_port
from webapp import create_app
from webapp.commands import migrate_to
from webapp.db import Database, Tx, new_id
from webapp.domain import catalogue, seatmap, waiting_room
from webapp.domain.waiting_room import Arrival
from webapp.web.tokens import Tokens

ROOT = Path(__file__).resolve().parents[2]
WORKERS, THREADS, POOL = 2, 24, 8  # the defaults
SEATS_EACH = 2
WARM_UP = 200
# Commits wait for the disk: what a sale would do.
DURABLE = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_level": "replica",
}


@contextlib.contextmanager
def gunicorn(target: str, database_url: str) -> Iterator[tuple[int, list[int]]]:
    """Run an application under the service's own gunicorn.conf.py; yield its port and workers."""
    port = free_port()
    environment = os.environ | {
        "SECRET_KEY": SECRET,
        "DATABASE_URL": database_url,
        "PORT": str(port),
        "POOL_SIZE": str(POOL),
        "WEB_WORKERS": str(WORKERS),
        "WEB_THREADS": str(THREADS),
        "TOPUPS": "self",
    }
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", target],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
        )
        try:
            _wait_for(port)
            yield port, _children(process.pid)
        finally:
            process.terminate()
            process.wait(30)


def _wait_for(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError):
            for path in ("healthz", "hello"):
                with contextlib.suppress(urllib.error.HTTPError):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5).read()
            return
        time.sleep(0.1)
    raise RuntimeError("gunicorn did not start")


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def cpu_seconds(pids: list[int]) -> list[float]:
    """The CPU time each process has used: how evenly the workers shared the load."""
    ticks = os.sysconf("SC_CLK_TCK")
    used = []
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used.append((int(fields[11]) + int(fields[12])) / ticks)
    return used


# -- what the service is asked ------------------------------------------------------------------


def prepare_holds(db: Database, tokens: Tokens, count: int) -> list[bytes]:
    """Make `count` customers who are inside one sale, and the request by which each holds two seats."""
    sale = builders.make_sale(db, seats=count * SEATS_EACH, session_seconds=3_600)
    labels = db.read(_labels, sale)
    customers = builders.make_accounts(db, count, balance_minor=10**6)
    requests = []
    for number, customer in enumerate(customers):
        arrival = Arrival(new_id(), sale, customer.id, session_seconds=3_600)
        stay, _ = db.transact(waiting_room.join, arrival)
        headers = customer.bearer | {"Access-Token": tokens.issue_access(stay)}
        mine = labels[number * SEATS_EACH : (number + 1) * SEATS_EACH]
        body = json.dumps({"seats": mine}).encode()
        requests.append(client.request("POST", f"/api/v1/performances/{sale}/holds", headers, body))
    return requests


def _labels(tx: Tx, sale: int) -> list[str]:
    hall = seatmap.load(tx, catalogue.get_rules(tx, sale).seatmap_id)
    return [place.label for place in hall.places]


def prepare_payments(holds: Sequence[bytes], answers: Sequence[bytes]) -> list[bytes]:
    """Make the request by which each of the answered holds is paid."""
    answered = [json.loads(answer) for answer in answers]
    hold_ids = {hold["seats"][0]["seat"]: hold["id"] for hold in answered}
    requests = []
    for prepared in holds:
        head, _, body = prepared.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[2:])
        mine = {name: headers[name] for name in ("Authorization", "Access-Token")}
        hold_id = hold_ids[json.loads(body)["seats"][0]]
        body = json.dumps({"hold_id": hold_id}).encode()
        mine["Idempotency-Key"] = uuid.uuid4().hex
        requests.append(client.request("POST", "/api/v1/bookings", mine, body))
    return requests


def prepare_reference(count: int) -> list[bytes]:
    """Make the reference's requests: a JWT, two seats that nobody else asks for."""
    requests = []
    for number in range(count):
        claims = {"sub": str(uuid.uuid4()), "exp": time.time() + 3_600}
        headers = {"Access-Token": jwt.encode(claims, SECRET, "HS256")}
        body = json.dumps({"seats": [number * SEATS_EACH, number * SEATS_EACH + 1]}).encode()
        requests.append(client.request("POST", "/holds", headers, body))
    return requests


# -- the run ------------------------------------------------------------------------------------


def measure(url: str, rounds: int, holds: int, connections: int) -> "Report":
    """Run the rounds against one database; the reference runs where it can (PostgreSQL)."""
    app = create_app(config_for(url))
    migrate_to(app)
    house = app.extensions["jari"]
    count = rounds * holds + WARM_UP
    requests = prepare_holds(house.db, house.tokens, count)
    dispose(app)
    report = Report()
    with contextlib.ExitStack() as stack:
        port, workers = stack.enter_context(gunicorn("wsgi:application", url))
        client.run(port, requests[:WARM_UP], connections)
        bare = _start_reference(stack, url, count, connections)
        for turn in range(rounds):
            part = slice(WARM_UP + turn * holds, WARM_UP + (turn + 1) * holds)
            if bare is not None:
                report.add("reference", client.run(bare[0], bare[2][part], connections), bare[1])
            held = client.run(port, requests[part], connections, keep_bodies=True)
            report.add("hold", held, workers)
            payments = prepare_payments(requests[part], held.bodies)
            report.add("pay", client.run(port, payments, connections), workers)
        report.retries = _retries(port)
    return report


def _start_reference(
    stack: contextlib.ExitStack, url: str, count: int, connections: int
) -> tuple[int, list[int], list[bytes]] | None:
    if not url.startswith("postgresql"):
        return None
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements.SCHEMA.format(seats=count * SEATS_EACH).split(";"):
            connection.execute(statement)
    port, workers = stack.enter_context(gunicorn("tests.bench.reference:application", url))
    requests = prepare_reference(count)
    client.run(port, requests[:WARM_UP], connections)
    return port, workers, requests


def _retries(port: int) -> dict[str, float]:
    """Sum the service's own count of retries by SQLSTATE."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    sums: dict[str, float] = {}
    pattern = r'jari_transaction_retries_total\{.*function="([^"]+)".*sqlstate="([^"]+)"\} (\S+)'
    for function, state, value in re.findall(pattern, text):
        key = f"{function} {state}"
        sums[key] = sums.get(key, 0) + float(value)
    return sums


def pgbench_holds(server: Postgres, url: str, seats: int, seconds: int) -> float:
    """Run the hold's statements by pgbench; return transactions per second."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements.PGBENCH_SCHEMA.split(";"):
            connection.execute(statement)
    return pgbench(server, url, statements.PGBENCH.format(seats=seats), seconds)[0]


def pgbench(server: Postgres, url: str, script: str, seconds: int) -> tuple[float, int, int]:
    """Run a script over as many connections as a process has; return transactions a second, how many failed and
    how many ran again.
    """
    settings = "-c enable_seqscan=off -c enable_bitmapscan=off"
    how = ["-n", "-M", "prepared", "-c", str(POOL), "-j", "2", "-T", str(seconds), "--max-tries=10"]
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        done = subprocess.run(
            [server.binaries / "pgbench", *how, "-f", file.name, url],
            env=os.environ | {"PGOPTIONS": settings},
            capture_output=True,
            text=True,
            check=True,
        )
    told = re.search(
        r"failed transactions: (\d+).*transactions retried: (\d+).*tps = ([\d.]+)",
        done.stdout,
        re.DOTALL,
    )
    assert told is not None, done.stdout
    return float(told[3]), int(told[1]), int(told[2])


class Report:
    """The rounds' results, as a table with ratios."""

    def __init__(self) -> None:
        self.rounds: dict[str, list[client.Result]] = {}
        self.spread: dict[str, list[float]] = {}
        self.retries: dict[str, float] = {}

    def add(self, name: str, result: client.Result, workers: list[int]) -> None:
        """Keep a round, and how the workers' CPU time stands after it."""
        self.rounds.setdefault(name, []).append(result)
        self.spread[name] = cpu_seconds(workers)

    def rate(self, name: str) -> float:
        """The median round's requests per second."""
        return statistics.median(result.per_second for result in self.rounds[name])

    def figures(self) -> dict[str, float]:
        """What has a goal, where there is a reference."""
        tried = sum(len(r.milliseconds) for name in ("hold", "pay") for r in self.rounds[name])
        return {name: self.rate(name) / self.rate("reference") for name in ("hold", "pay")} | {
            "retries": sum(self.retries.values()) / tried
        }

    def lines(self, database_alone: float | None) -> list[str]:
        """The table in Markdown."""
        lines = [
            "| what | requests/s (median) | rounds | of the reference | p50 ms | p95 ms | statuses | CPU s per worker |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for name, results in self.rounds.items():
            rates = ", ".join(f"{result.per_second:.0f}" for result in results)
            share = (
                f"{self.rate(name) / self.rate('reference'):.0%}"
                if "reference" in self.rounds
                else "–"
            )
            middle = sorted(results, key=lambda r: r.per_second)[len(results) // 2]
            statuses: Counter[int] = sum((r.statuses for r in results), Counter())
            seen = ", ".join(f"{count} × {status}" for status, count in sorted(statuses.items()))
            spread = " : ".join(f"{seconds:.1f}" for seconds in self.spread[name])
            lines.append(
                f"| {name} | {self.rate(name):.0f} | {rates} | {share} | {middle.percentile(0.5):.1f} |"
                f" {middle.percentile(0.95):.1f} | {seen} | {spread} |"
            )
        if database_alone is not None:
            lines.append(f"| pgbench, the hold's statements | {database_alone:.0f} | | | | | | |")
        placed = sum(len(result.milliseconds) for result in self.rounds["hold"])
        lines += [
            "",
            f"Retries while {placed} holds were placed and paid: {self.retries or 'none'}.",
        ]
        return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--holds", type=int, default=1_500, help="per round")
    parser.add_argument("--connections", type=int, default=WORKERS * THREADS)
    chosen = parser.parse_args()
    with Postgres(DURABLE) as server:
        url = server.create_database("bench")
        report = measure(url, chosen.rounds, chosen.holds, chosen.connections)
        alone = pgbench_holds(server, url, chosen.holds * SEATS_EACH, seconds=5)
        print("## PostgreSQL\n", *report.lines(alone), "", sep="\n")
        figures = report.figures()
    with tempfile.TemporaryDirectory() as folder:
        report = measure(
            f"sqlite:///{folder}/jari.sqlite3", chosen.rounds, chosen.holds // 3, chosen.connections
        )
        print("## SQLite\n", *report.lines(None), sep="\n")
    sys.exit(not goals.judge(figures))


if __name__ == "__main__":
    main()
