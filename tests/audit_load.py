"""How long does `flask verify` take, and how much memory? On both databases:

    python -m tests.audit_load [--entries 1000000] [--only sqlite]

It writes the history of a season (a waiting room, holds, replacements, steals, expiry, payments,
cancellations, scans) of that many journal entries, then runs the command as an operator would.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections import deque
from datetime import timedelta
from pathlib import Path

from tests.builders import make_sale
from tests.chronicle import Chronicle, Row
from tests.conftest import SECRET, config_for, dispose
from tests.postgres import Postgres
from webapp import create_app
from webapp.commands import migrate_to
from webapp.db import Database

ROOT = Path(__file__).resolve().parent.parent
HALL = 20_000
CROWD = 150  # who come to one performance in one second
SWEPT = 20
PRICE_MINOR = 1_000


class Season:
    """Many performances that sell at once, second by second."""

    def __init__(self, chronicle: Chronicle, halls: list[int], people: list[uuid.UUID]) -> None:
        self._chronicle = chronicle
        self._rng = random.Random(2)
        self._people = people
        self._next_person = dict.fromkeys(halls, 0)
        self._free = {hall: list(range(0, HALL, 2)) for hall in halls}  # the first of two
        self._dying: dict[int, deque[Row]] = {hall: deque() for hall in halls}
        self._robbed: dict[int, list[Row]] = {hall: [] for hall in halls}

    def play(self, entries: int) -> None:
        """Go on until the journal has so many entries."""
        while len(self._chronicle.entries) < entries:
            for hall in self._free:
                self._second(hall)
            self._chronicle.now += timedelta(seconds=1)

    def _second(self, hall: int) -> None:
        chronicle, first = self._chronicle, self._next_person[hall]
        self._next_person[hall] += CROWD
        crowd = [chronicle.join(hall, who) for who in self._people[first : first + CROWD]]
        chronicle.number(hall, crowd)
        chronicle.admit(hall, crowd, session_seconds=600)
        idle = [stay for stay in crowd if not self._buy(hall, stay)]
        for stay in idle[: len(idle) // 2]:
            chronicle.leave(stay)
        self._bury(hall)

    def _buy(self, hall: int, stay: Row) -> bool:
        """Let one customer do what he does; return whether he paid or goes on holding."""
        chronicle, chance = self._chronicle, self._rng.random
        if chance() < 0.1:
            return False
        if chance() < 0.06:
            chronicle.top_up(stay["account_id"], 10 * PRICE_MINOR)
        hold = chronicle.place(stay, self._seats(hall), lifetime_seconds=5)
        if chance() < 0.15:
            first = hold["seats"][0][0]
            other = chronicle.place(stay, self._seats(hall), lifetime_seconds=5, replaced=hold)
            self._free[hall].append(first)
            hold = other
        if chance() < 0.72:
            self._own(hall, hold, stay)
            return True
        if chance() < 0.5:
            chronicle.release(hold)
            self._free[hall].append(hold["seats"][0][0])
            return False
        self._dying[hall].append(hold)
        return True

    def _own(self, hall: int, hold: Row, stay: Row) -> None:
        chronicle, chance = self._chronicle, self._rng.random
        booking = chronicle.pay(hold, stay)
        if chance() < 0.04:
            chronicle.cancel(booking)
            self._free[hall].append(hold["seats"][0][0])
        elif chance() < 0.3:
            for ticket in chronicle.tickets_of[booking["id"]]:
                chronicle.scan(ticket)

    def _seats(self, hall: int) -> list[tuple[int, int]]:
        """Choose a pair; now and then one that a dead hold still has."""
        dying = self._dying[hall]
        if dying and dying[0]["expires_at"] <= self._chronicle.now and self._rng.random() < 0.05:
            self._robbed[hall].append(dying.popleft())
            first = self._robbed[hall][-1]["seats"][0][0]
        else:
            first = self._free[hall].pop(self._rng.randrange(len(self._free[hall])))
        return [(first, PRICE_MINOR), (first + 1, PRICE_MINOR)]

    def _bury(self, hall: int) -> None:
        """Sweep a batch of dead holds, as the job does."""
        dying, now = self._dying[hall], self._chronicle.now
        dead = []
        while dying and dying[0]["expires_at"] <= now and len(dead) < SWEPT:
            dead.append(dying.popleft())
        if dead or self._robbed[hall]:
            self._chronicle.expire(dead + self._robbed[hall])
            self._robbed[hall].clear()
            self._free[hall] += [hold["seats"][0][0] for hold in dead]


def write_season(db: Database, entries: int) -> None:
    """Fill a migrated database."""
    count = max(1, entries // 40_000)
    halls = {make_sale(db, seats=HALL, capacity=1_000_000): HALL for _ in range(count)}
    chronicle = Chronicle(halls, db.clock.now())
    people = chronicle.open_accounts(HALL, balance_minor=1_000 * PRICE_MINOR)
    Season(chronicle, list(halls), people).play(entries)
    chronicle.write(db)
    if not db.is_sqlite:
        with db.writer.connect() as connection:
            connection.exec_driver_sql("SET statement_timeout = 0")
            connection.exec_driver_sql("ANALYZE")  # autovacuum would have, long before a million
            connection.commit()


def measure(url: str, entries: int) -> None:
    """Write a season, then verify it as an operator would; print what it took.

    Both in processes of their own: the peak of a child's memory begins with its parent's.
    """
    started = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "tests.audit_load", "--write", url, "--entries", str(entries)],
        check=True,
        cwd=ROOT,
    )
    written = time.monotonic() - started
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "verify"]
    environment = os.environ | {"DATABASE_URL": url, "SECRET_KEY": SECRET}
    verify = subprocess.Popen(command, cwd=ROOT, env=environment)
    _, status, usage = os.wait4(verify.pid, 0)
    verify.returncode = os.waitstatus_to_exitcode(status)
    print(
        f"{url.partition(':')[0]}: written in {written:.0f} s; verify took "
        f"{usage.ru_utime + usage.ru_stime:.1f} s of its own CPU and at most "
        f"{usage.ru_maxrss / 1024:.0f} MB; exit status {verify.returncode}\n"
    )


def main() -> None:
    """Measure on one database or both."""
    parser = argparse.ArgumentParser(prog="python -m tests.audit_load", description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    parser.add_argument("--write", metavar="URL", help="only fill this empty database")
    options = parser.parse_args()
    if options.write:
        app = create_app(config_for(options.write))
        migrate_to(app)
        write_season(app.extensions["jari"].db, options.entries)
        dispose(app)
        return
    if options.only != "postgresql":
        with tempfile.TemporaryDirectory(prefix="jari-audit-") as folder:
            measure(f"sqlite:///{folder}/jari.sqlite3", options.entries)
    if options.only != "sqlite":
        with Postgres({"shared_buffers": "512MB"}) as server:
            measure(server.create_database("jari"), options.entries)


if __name__ == "__main__":
    main()
