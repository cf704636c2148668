"""Measure what refusing costs: a sold-out house against a Flask hello, bad tokens against a 404.

    python -m tests.bench.refusals [--rounds 3] [--requests 4000] [--connections 12]

Rounds alternate between a reference and the service, under the same gunicorn settings, so that a slow
minute of the machine hits both. Then people hold seats alone, and while bad tokens come in at 500 a second.
"""

import argparse
import base64
import contextlib
import json
import statistics
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import jwt

from tests import builders
from tests.bench import client
from tests.bench.__main__ import DURABLE, WARM_UP, gunicorn, prepare_holds
from tests.bench.waiting import Table
from tests.conftest import config_for, dispose
from tests.postgres import Postgres
from webapp import create_app
from webapp.commands import migrate_to
from webapp.db import new_id
from webapp.domain import waiting_room
from webapp.domain.waiting_room import Arrival
from webapp.web.house import House

CROWD = 500
BAD_PER_SECOND = 500
HOLDS = 2_000  # per round


def bad_tokens(house: House, sale: int) -> dict[str, str]:
    """Return an access token of each kind that is not one."""
    [person] = builders.make_accounts(house.db)
    arrival = Arrival(new_id(), sale, person.id, session_seconds=3_600)
    stay, _ = house.db.transact(waiting_room.join, arrival)
    good, (waiting, _) = house.tokens.issue_access(stay), house.tokens.issue_waiting(stay, None)
    head, body, signature = good.split(".")
    claims = jwt.decode(good, options={"verify_signature": False})
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).rstrip(b"=").decode()
    return {
        "undefined": "undefined",
        "truncated": good[: len(head) + 20],
        "forged": f"{head}.{body[:-6]}AAAAAA.{signature}",
        "of another key": jwt.encode(claims, "z" * 40, "HS256", jwt.get_unverified_header(good)),
        "wrong kind": waiting,
        "alg=none": f"{header}.{body}.",
        "7 KB": "x" * 7_000,
    }


def make_sold_out(house: House) -> int:
    """Make a sale of two seats and sell them."""
    sale = builders.make_sale(house.db, seats=2)
    [buyer] = builders.make_accounts(house.db)
    inside = builders.enter(house.db, buyer, sale)
    builders.pay(house.db, inside, builders.place(house.db, inside, [0, 1]))
    return sale


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
    alone, crowded, seen = [], [], 0
    for _ in range(chosen.rounds):
        alone.append(client.run(port, [holds.pop() for _ in range(HOLDS)], chosen.connections))
        with beside(port, bad) as told:
            part = [holds.pop() for _ in range(HOLDS)]
            crowded.append(client.run(port, part, chosen.connections))
        seen += told.statuses.total()
    rates = [[result.per_second for result in some] for some in (alone, crowded)]
    p95 = [
        statistics.median(result.percentile(0.95) for result in some) for some in (alone, crowded)
    ]
    ratio = statistics.median(b / a for a, b in zip(*rates, strict=True))
    return [
        f"Holds: {statistics.median(rates[0]):.0f}/s alone (p95 {p95[0]:.1f} ms),"
        f" {statistics.median(rates[1]):.0f}/s beside {seen} bad tokens (p95 {p95[1]:.1f} ms): {ratio:.0%}.",
        f"Answers: {sum((r.statuses for r in alone + crowded), told.statuses)}",
    ]


def measure(url: str, chosen: Any) -> None:
    """Run the rounds and print."""
    app = create_app(config_for(url))
    migrate_to(app)
    house: House = app.extensions["jari"]
    sold_out, open_sale = make_sold_out(house), builders.make_sale(house.db)
    join = f"/api/v1/performances/{sold_out}/queue"
    crowd = [
        client.request("POST", join, p.bearer) for p in builders.make_accounts(house.db, CROWD)
    ]
    path = f"/api/v1/performances/{open_sale}/holds"
    body = json.dumps({"seats": ["ST-A-1"]}).encode()
    [someone] = builders.make_accounts(house.db)
    bad = {
        name: client.request("POST", path, someone.bearer | {"Access-Token": token}, body)
        for name, token in bad_tokens(house, open_sale).items()
    }
    holds = prepare_holds(house.db, house.tokens, 2 * chosen.rounds * HOLDS + WARM_UP)
    dispose(app)
    count = chosen.requests
    hello = [client.request("GET", "/hello", {})] * count
    nothing = [client.request("POST", f"/api/v1/{uuid.uuid4()}", someone.bearer, body)] * count
    against_hello, against_nothing = Table(), Table()
    with contextlib.ExitStack() as stack:
        bare, _ = stack.enter_context(gunicorn("tests.bench.reference:application", url))
        port, _ = stack.enter_context(gunicorn("wsgi:application", url))
        for warm in (hello[:WARM_UP], crowd * 4, nothing[:WARM_UP]):
            client.run(bare if warm[0] == hello[0] else port, warm, chosen.connections)
        client.run(port, [holds.pop() for _ in range(WARM_UP)], chosen.connections)
        for _ in range(chosen.rounds):
            reference = client.run(bare, hello, chosen.connections)
            tries = (crowd * (count // CROWD + 1))[:count]
            result = client.run(port, tries, chosen.connections)
            against_hello.add("join, sold out", result, reference)
            for name, one in bad.items():
                reference = client.run(port, nothing, chosen.connections)
                result = client.run(port, [one] * count, chosen.connections)
                against_nothing.add(name, result, reference)
        print("Of the hello:", *against_hello.lines(), "", sep="\n")
        print("Of the service's own 404:", *against_nothing.lines(), "", sep="\n")
        mixed = list(bad.values()) * BAD_PER_SECOND
        print(*measure_holds(port, holds, mixed, chosen), sep="\n")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=4_000, help="per round")
    parser.add_argument("--connections", type=int, default=12)
    with Postgres(DURABLE) as server:
        measure(server.create_database("refusals"), parser.parse_args())


if __name__ == "__main__":
    main()
