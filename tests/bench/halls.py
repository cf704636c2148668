"""Measure how long a hold takes in a hall of 1,000 seats and in one of 100,000.

    python -m tests.bench.halls [--rounds 7] [--holds 400] [--connections 1] [--seats 100000]

Each hold is of two seats that nobody else wants, named by the customer, spread over the whole hall. Rounds
alternate between the halls; the small one is a new sale each time, since 400 holds fill it. With one
connection nobody waits for anybody: what is measured is the hold. The exit status is 1 when it takes too much
longer in the large hall (tests/bench/goals.py).
"""

import argparse
import json
import statistics
import sys

from tests import builders
from tests.bench import client, goals
from tests.bench.__main__ import DURABLE, gunicorn
from tests.conftest import config_for, dispose
from tests.postgres import Postgres
from webapp import create_app
from webapp.commands import migrate_to
from webapp.db import Tx, new_id
from webapp.domain import catalogue, seatmap, waiting_room
from webapp.domain.waiting_room import Arrival
from webapp.web.house import House

SMALL = 1_000
SESSION_SECONDS = 3_600


def prepare(house: House, seats: int, parts: int, count: int) -> list[list[bytes]]:
    """Make one sale, and `parts` times `count` requests that each hold two of its seats."""
    db = house.db
    sale = builders.make_sale(db, seats=seats, session_seconds=SESSION_SECONDS)

    def read(tx: Tx) -> list[str]:
        hall = seatmap.load(tx, catalogue.get_rules(tx, sale).seatmap_id)
        return [place.label for place in hall.places]

    labels = db.read(read)
    step = seats // (parts * count)
    path, made = f"/api/v1/performances/{sale}/holds", []
    for number, customer in enumerate(builders.make_accounts(db, parts * count)):
        arrival = Arrival(new_id(), sale, customer.id, session_seconds=SESSION_SECONDS)
        stay, _ = db.transact(waiting_room.join, arrival)
        headers = customer.bearer | {"Access-Token": house.tokens.issue_access(stay)}
        body = json.dumps({"seats": labels[number * step : number * step + 2]}).encode()
        made.append(client.request("POST", path, headers, body))
    return [made[part * count : (part + 1) * count] for part in range(parts)]


def measure(url: str, chosen: argparse.Namespace) -> dict[str, float]:
    """Run the rounds and print; return what has a goal."""
    app = create_app(config_for(url))
    migrate_to(app)
    house: House = app.extensions["jari"]
    large = prepare(house, chosen.seats, chosen.rounds + 1, chosen.holds)
    small = [prepare(house, SMALL, 1, chosen.holds)[0] for _ in range(chosen.rounds + 1)]
    dispose(app)
    found: dict[int, list[client.Result]] = {SMALL: [], chosen.seats: []}
    with gunicorn("wsgi:application", url) as (port, _):
        for turn in range(chosen.rounds + 1):
            for seats, requests in ((SMALL, small[turn]), (chosen.seats, large[turn])):
                result = client.run(port, requests, chosen.connections)
                if set(result.statuses) != {201}:
                    raise RuntimeError(f"not every hold was placed: {result.statuses}")
                if turn:  # the first is for warming up
                    found[seats].append(result)
    return tell(found)


def tell(found: dict[int, list[client.Result]]) -> dict[str, float]:
    """Print medians over the rounds, and the ratio of the large hall to the small one."""
    table = ["| seats | p50 ms | p95 ms |", "|---|---|---|"]
    medians = {}
    for seats, results in found.items():
        medians[seats] = [
            statistics.median(result.percentile(share) for result in results)
            for share in (0.5, 0.95)
        ]
        table.append(f"| {seats:,} | {medians[seats][0]:.2f} | {medians[seats][1]:.2f} |")
    small, large = medians.values()
    ratios = [one / other for one, other in zip(large, small, strict=True)]
    print(*table, f"| ratio | {ratios[0]:.2f} | {ratios[1]:.2f} |", sep="\n")
    return {"large hall, a hold's median": ratios[0]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--holds", type=int, default=400, help="per round, at most 500")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--seats", type=int, default=100_000)
    with Postgres(DURABLE) as server:
        figures = measure(server.create_database("halls"), parser.parse_args())
    sys.exit(not goals.judge(figures))


if __name__ == "__main__":
    main()
