"""A rush into a real running server, seen from outside: `make queue-demo`.

    python -m tests.queue_demo [--arrivals 20000] [--early-seconds 30] [--rush-seconds 120]
                               [--capacity 1000] [--rate 6000] [--out FILE]

People come before and after the opening of a sale, wait as they are told, and when it is their turn pay,
leave, do nothing or never come. One line a second says how it goes; at the end stands a summary, which is
also written with plots to `var/queue-demo.html`. Server, database and people share this machine, on
loopback only.
"""

import argparse
import contextlib
import heapq
import json
import random
import socket
import statistics
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from tests import builders
from tests.bench import client
from tests.bench.__main__ import DURABLE, gunicorn
from tests.bench.waiting import usher
from tests.builders import Customer
from tests.conftest import config_for, dispose
from tests.postgres import Postgres
from webapp import create_app
from webapp.commands import migrate_to
from webapp.domain import catalogue

THREADS = 8
EARLY_SHARE = 0.3
NEVER_COMES, LEAVES, DOES_NOTHING = 0.1, 0.15, 0.05
THINKS_SECONDS = 2.0
GIVE_UP_SECONDS = 600.0
TEMPLATE = "queue_demo.html"


@dataclass
class Person:
    """Somebody who wants a ticket, and what they have seen."""

    who: Customer
    plan: str
    tokens: dict[str, str] = field(default_factory=dict)
    joined_at: float = 0.0
    admitted_at: float = 0.0
    told: tuple[float, int, int] | None = None  # when, from, to
    number: int | None = None
    hold_id: str = ""


@dataclass
class Rush:
    """Everybody, what is due when, and what came of it."""

    port: int
    sale: int
    due: list[tuple[float, int, str]] = field(default_factory=list)
    inside: list[tuple[float, int, str]] = field(default_factory=list)
    people: list[Person] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def later(self, seconds: float, index: int, step: str) -> None:
        """Put a step on the list; those who are inside do not queue behind those who are not."""
        line = self.due if step in ("join", "poll") else self.inside
        with self.lock:
            heapq.heappush(line, (time.monotonic() + seconds, index, step))

    def finish(self, how: str) -> None:
        with self.lock:
            self.ends[how] += 1

    @property
    def over(self) -> bool:
        return sum(self.ends.values()) == len(self.people)

    def take(self) -> tuple[int, str] | None:
        with self.lock:
            for line in (self.inside, self.due):
                if line and line[0][0] <= time.monotonic():
                    _, index, step = heapq.heappop(line)
                    return index, step
        return None


class Walker:
    """One thread: does what is due next, for whomever it is."""

    def __init__(self, rush: Rush) -> None:
        self._rush = rush
        self._connection: socket.socket | None = None
        self._room = f"/api/v1/performances/{rush.sale}"

    def run(self) -> None:
        while not self._rush.over:
            taken = self._rush.take()
            if taken is None:
                time.sleep(0.002)
                continue
            index, step = taken
            getattr(self, f"_{step}")(index, self._rush.people[index])

    def _ask(
        self, step: str, method: str, path: str, person: Person, body: Any = None, **headers: str
    ) -> tuple[int, Any]:
        sent = person.who.bearer | {k.replace("_", "-"): v for k, v in headers.items()}
        content = json.dumps(body).encode() if body is not None else b""
        prepared = client.request(method, path, sent, content)
        for _ in range(3):
            try:
                if self._connection is None:
                    self._connection = socket.create_connection(("127.0.0.1", self._rush.port), 30)
                self._connection.sendall(prepared)
                status, answer = client._answer(self._connection)
                break
            except OSError:
                self._connection = None  # it idled out
        else:
            status, answer = 0, b""
        with self._rush.lock:
            self._rush.answers[f"{step} {status}"] += 1
        return status, json.loads(answer) if answer else None

    def _join(self, index: int, person: Person) -> None:
        person.joined_at = person.joined_at or time.monotonic()
        status, place = self._ask("join", "POST", f"{self._room}/queue", person)
        if status in (200, 201):
            self._note(index, person, place)
        elif status in (0, 503):
            self._rush.later(random.uniform(1, 3), index, "join")
        else:
            self._rush.finish(place["code"])

    def _poll(self, index: int, person: Person) -> None:
        waiting = person.tokens["waiting_token"]
        status, place = self._ask(
            "poll", "GET", f"{self._room}/queue", person, Waiting_Token=waiting
        )
        if status == 200:
            self._note(index, person, place)
        elif status in (0, 429, 503):
            self._rush.later(random.uniform(1, 3), index, "poll")
        else:
            self._rush.finish(place["code"])

    def _note(self, index: int, person: Person, place: dict[str, Any]) -> None:
        person.tokens = {name: place[name] for name in place if name.endswith("_token")}
        person.number = place["number"] or person.number
        now = time.monotonic()
        if place["status"] == "admitted":
            person.admitted_at = now
            steps = {"leaves": "leave", "does nothing": "vanish"}
            self._rush.later(
                random.expovariate(1 / THINKS_SECONDS), index, steps.get(person.plan, "hold")
            )
            return
        told = place["estimated_wait_range_seconds"]
        if told and person.told is None:
            person.told = (now, *told)
        if person.plan == "never comes" and place["number"] is not None:
            self._rush.finish("never came")
            return
        self._rush.later(place["poll_after_ms"] / 1000, index, "poll")

    def _hold(self, index: int, person: Person) -> None:
        wish = {"best_available": {"quantity": 1}}
        access = person.tokens["access_token"]
        status, held = self._ask(
            "hold", "POST", f"{self._room}/holds", person, wish, Access_Token=access
        )
        if status == 201:
            person.hold_id = held["id"]
            self._rush.later(random.expovariate(1 / THINKS_SECONDS), index, "pay")
        elif status in (0, 503):
            self._rush.later(random.uniform(1, 3), index, "hold")
        else:
            self._rush.finish(held["code"])

    def _pay(self, index: int, person: Person) -> None:
        status, booked = self._ask(
            *("pay", "POST", "/api/v1/bookings", person, {"hold_id": person.hold_id}),
            Access_Token=person.tokens["access_token"],
            Idempotency_Key=f"demo-{index}",
        )
        if status in (0, 503):
            self._rush.later(random.uniform(1, 3), index, "pay")
        else:
            self._rush.finish("paid" if status == 201 else booked["code"])

    def _leave(self, _index: int, person: Person) -> None:
        self._ask("leave", "DELETE", f"{self._room}/queue", person)
        self._rush.finish("left")

    def _vanish(self, _index: int, _person: Person) -> None:
        self._rush.finish("did nothing")


# -- the stage ----------------------------------------------------------------------------------


@contextlib.contextmanager
def stage(chosen: argparse.Namespace) -> Iterator[Rush]:
    """Run the service on a throw-away PostgreSQL with one sale; yield the rush to come."""
    with Postgres(DURABLE) as server:
        url = server.create_database("queue_demo")
        app = create_app(config_for(url))
        migrate_to(app)
        db = app.extensions["jari"].db
        people = []
        while len(people) < chosen.arrivals:
            people += builders.make_accounts(db, min(2_000, chosen.arrivals - len(people)))
        with gunicorn("wsgi:application", url) as (port, _), usher(url):
            sale = builders.make_sale(
                db,
                seats=chosen.arrivals,
                capacity=chosen.capacity,
                rate_per_minute=chosen.rate,
                session_seconds=60,
                opens_in=chosen.early_seconds,
                prequeue_opens_at=db.clock.now() - timedelta(seconds=1),
                room={"arrival_seconds": catalogue.ARRIVAL_SECONDS_MIN},
            )
            yield Rush(port, sale, people=[Person(who, _plan()) for who in people])
        dispose(app)


def _plan() -> str:
    draw = random.random()
    for plan, share in (
        ("never comes", NEVER_COMES),
        ("leaves", LEAVES),
        ("does nothing", DOES_NOTHING),
    ):
        if draw < share:
            return plan
        draw -= share
    return "pays"


def watch(rush: Rush) -> list[dict[str, float]]:
    """Say once a second how it goes, until everybody is done; return what was seen."""
    began, seen = time.monotonic(), []
    print(f"{'s':>5}{'waiting':>9}{'active':>8}{'adm/min':>9}{'p95 wait s':>12}  done")
    while not rush.over and time.monotonic() - began < GIVE_UP_SECONDS:
        time.sleep(1)
        waits = sorted(p.admitted_at - p.joined_at for p in rush.people if p.admitted_at)
        row = _gauges(rush) | {
            "second": time.monotonic() - began,
            "p95": waits[int(len(waits) * 0.95)] if waits else 0.0,
        }
        seen.append(row)
        print(
            f"{row['second']:>5.0f}{row['waiting']:>9,.0f}{row['active']:>8,.0f}"
            f"{row['admitted_last_minute']:>9,.0f}{row['p95']:>12.1f}  {dict(rush.ends)}",
            flush=True,
        )
    return seen


def _gauges(rush: Rush) -> dict[str, float]:
    found = {"waiting": 0.0, "active": 0.0, "admitted_last_minute": 0.0}
    with contextlib.suppress(OSError):
        with urllib.request.urlopen(f"http://127.0.0.1:{rush.port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        for line in lines:
            for name in found:
                if line.startswith(f'jari_queue_{name}{{performance="{rush.sale}"'):
                    found[name] = float(line.split()[-1])
    return found


# -- what came of it ----------------------------------------------------------------------------


def summarise(rush: Rush) -> dict[str, Any]:
    """Work out waits, fairness and the estimates' honesty."""
    waits = sorted(p.admitted_at - p.joined_at for p in rush.people if p.admitted_at)
    told = [(p.told, p.admitted_at - p.told[0]) for p in rush.people if p.told and p.admitted_at]
    inside = [low <= took <= high for (_, low, high), took in told]
    errors = [abs((low + high) / 2 - took) / took for (_, low, high), took in told if took > 5]
    unexpected = {k: n for k, n in rush.answers.items() if k.endswith((" 0", " 500", " 503"))}
    return {
        "ends": dict(rush.ends.most_common()),
        "answers": dict(sorted(rush.answers.items())),
        "unexpected": unexpected,
        "admitted": len(waits),
        "wait_p50": statistics.median(waits) if waits else 0.0,
        "wait_p95": waits[int(len(waits) * 0.95)] if waits else 0.0,
        "estimates": len(told),
        "inside_share": sum(inside) / len(inside) if inside else 0.0,
        "error_median": statistics.median(errors) if errors else 0.0,
    }


def tell(summary: dict[str, Any]) -> str:
    return "\n".join(
        (
            "",
            f"{summary['admitted']:,} were admitted; the wait was {summary['wait_p50']:.0f} s for half"
            f" of them, at most {summary['wait_p95']:.0f} s for 95 %.",
            f"{summary['estimates']:,} were told an estimate: {summary['inside_share']:.0%} came in"
            f" within the range, the middle was off by {summary['error_median']:.0%} (median).",
            f"Ends: {summary['ends']}",
            f"Answers: {summary['answers']}",
        )
    )


def points(seen: Sequence[dict[str, float]], name: str) -> str:
    """Turn a series into an SVG polyline's points in a field of 100 by 40."""
    most = max((row[name] for row in seen), default=0) or 1
    last = max((row["second"] for row in seen), default=0) or 1
    return " ".join(
        f"{row['second'] / last * 100:.2f},{40 - row[name] / most * 38:.2f}" for row in seen
    )


def write(out: Path, rush: Rush, seen: Sequence[dict[str, float]], summary: Any) -> None:
    """Write the summary with its plots."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    plots = [
        (title, points(seen, name), max((row[name] for row in seen), default=0))
        for title, name in (
            ("Waiting", "waiting"),
            ("Active", "active"),
            ("Admitted within a minute", "admitted_last_minute"),
            ("95 % waited at most (s)", "p95"),
        )
    ]
    seconds = round(seen[-1]["second"]) if seen else 0
    page = environment.get_template(TEMPLATE).render(
        plots=plots, seconds=seconds, people=len(rush.people), text=tell(summary)
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, "utf-8")


def main() -> None:
    """Play a rush and tell of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--arrivals", type=int, default=20_000)
    parser.add_argument("--early-seconds", type=float, default=30.0, help="until the sale opens")
    parser.add_argument("--rush-seconds", type=float, default=120.0, help="from then on")
    parser.add_argument("--capacity", type=int, default=1_000)
    parser.add_argument("--rate", type=int, default=6_000, help="per minute")
    parser.add_argument("--out", type=Path, default=Path("var/queue-demo.html"))
    chosen = parser.parse_args()
    with stage(chosen) as rush:
        for index in range(len(rush.people)):
            early = random.random() < EARLY_SHARE
            come = (
                random.uniform(0, chosen.early_seconds)
                if early
                else chosen.early_seconds + random.betavariate(1, 3) * chosen.rush_seconds
            )
            rush.later(come, index, "join")
        threads = [threading.Thread(target=Walker(rush).run, daemon=True) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        seen = watch(rush)
    summary = summarise(rush)
    write(chosen.out, rush, seen, summary)
    print(tell(summary), f"Plots: {chosen.out}", sep="\n")


if __name__ == "__main__":
    main()
