"""Measure how long the scheduler takes to draw a lottery among a million, and what memory that needs.

    python -m tests.bench.lottery [--early 1000000]

The pre-queue is filled, the sale opens, and the real scheduler's rounds close it, draw, and number the people, as fast as
they go. It prints how long the first round took (closing, drawing, the first batch), how long after the opening
everybody had a number, and the process's memory. It has no goal: it fails when a round fails.
"""

import argparse
import resource
import time
from collections.abc import Iterator
from datetime import timedelta

import psycopg

from jobs import usher
from tests import builders
from tests.bench.__main__ import DURABLE
from tests.conftest import AdvancingClock, config_for, dispose
from tests.postgres import Postgres
from webapp import create_app
from webapp.commands import migrate_to
from webapp.db import Database
from webapp.domain import admission, leases, lottery

OPENS_IN_SECONDS = 3_600.0
FILL = """
INSERT INTO queue_entry (id, performance_id, account_id, joined_at)
SELECT gen_random_uuid(), %(sale)s, gen_random_uuid(), now() FROM generate_series(1, %(early)s)
"""


def measure(url: str, early: int) -> None:
    """Draw and print."""
    app = create_app(config_for(url))
    migrate_to(app)
    db: Database = app.extensions["jari"].db
    clock = AdvancingClock(db)
    db.clock = clock
    began = clock.now() - timedelta(seconds=1)
    sale = builders.make_sale(db, capacity=100, opens_in=OPENS_IN_SECONDS, prequeue_opens_at=began)
    fence = db.transact(leases.acquire, "usher")
    assert fence is not None
    usher.run(db, fence)  # seals
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(FILL, {"sale": sale, "early": early})
    before = _memory()
    clock.advance(OPENS_IN_SECONDS)
    rounds = list(_rounds(db, fence, sale, early))
    print(f"{early:,} who came early, on PostgreSQL:")
    print(
        f"closed, drawn and the first numbers after {rounds[0]:.1f} s; all have one after {sum(rounds):.1f} s,"
    )
    print(
        f"{len(rounds)} rounds of at most {max(rounds):.1f} s; {before} MB before, {_memory()} MB at the most"
    )
    published = db.read(lottery.find_publication, sale)
    print(
        f"published: {published.participants:,} participants" if published else "nothing published"
    )
    dispose(app)


def _rounds(db: Database, fence: int, sale: int, early: int) -> Iterator[float]:
    """Yield how long each of the scheduler's rounds took, until everybody has a number. Seconds."""
    while db.read(admission.get_last_number, sale) < early:
        began = time.monotonic()
        usher.run(db, fence)
        yield time.monotonic() - began


def _memory() -> int:
    """The most memory that this process had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--early", type=int, default=1_000_000)
    with Postgres(DURABLE) as server:
        measure(server.create_database("lottery"), parser.parse_args().early)


if __name__ == "__main__":
    main()
