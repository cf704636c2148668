"""Run a soak: `python -m tests.soak [--seed S] [--seconds N] [--operations N] [--sqlite]`.

Two web servers whose clocks are two hours apart, two schedulers, sixteen customers, faults all the time.
Then the faults end, everything that is in doubt is asked again, everything drains, and the history is held
against the database. The exit status is 1 when anything differs, and the seed says how to repeat it.
"""

import argparse
import os
import random
import secrets
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy import select

from tests.builders import make_accounts, make_sale
from tests.conftest import config_for, dispose
from tests.postgres import Postgres
from tests.servers import Line, Scheduler, Web, until
from tests.soak.chaos import SKEW_SECONDS, Chaos, build_skew
from tests.soak.clients import Client, Errand
from tests.soak.history import API, History, assert_drained, differences, look
from webapp import create_app
from webapp.commands import migrate_to
from webapp.db import Database
from webapp.domain import audit
from webapp.domain.model import Hold, LedgerEntry, Seat
from webapp.web.house import House

CLIENTS, CUSTOMERS = 16, 12  # some customers have two tabs
HOLD_SECONDS, SESSION_SECONDS = 3, 12
LIMITS = {"POOL_SIZE": 6, "TRANSACTION_MS": 4_000, "POOL_TIMEOUT_MS": 1_000, "LOG_LEVEL": "error"}


class Soak:
    """One run on one database."""

    def __init__(self, seed: str, kind: str, directory: Path) -> None:
        self.seed = seed
        self.kind = kind
        self.directory = directory
        self.history = History()
        self.stack = ExitStack()
        self.server: Postgres | None = None
        self.line: Line | None = None
        self.library: Path | None = None

    def run(self, seconds: float, operations: int) -> list[str]:
        """Do everything; return what differs."""
        with self.stack:
            url = self._database()
            app = create_app(config_for(url, pool_size=4))
            house: House = app.extensions["jari"]
            self.stack.callback(dispose, app)
            webs, schedulers = self._processes()
            clients = self._clients(house, webs, operations)
            before = house.db.read(lambda tx: set(tx.execute(select(LedgerEntry.id)).scalars()))
            file = Path(str(house.db.writer.url.database)) if house.db.is_sqlite else None
            rng = random.Random(f"{self.seed}/chaos")
            with Chaos(rng, webs, schedulers, self.server, self.line, file) as chaos:
                self._shop(clients, seconds, operations)
            self._say(chaos.done)
            if chaos.failed:
                raise chaos.failed[0]
            self._settle(clients)
            self._drain(house.db)
            found = differences(self.history, look(house.db, before))
            try:
                assert_drained(house.db)
            except AssertionError as error:
                found.append(f"after the drain: {error}")
            report = house.db.read(audit.run)
            found += [f"verify: {one}" for one in report.results if not one.ok]
        return found

    def _database(self) -> str:
        """Make the database; returns the address that does not go over the line."""
        if self.kind == "sqlite":
            self.url = f"sqlite:///{self.directory / 'jari.sqlite3'}"
            url = self.url
        else:
            self.library = build_skew(self.directory) if shutil.which("cc") else None
            if self.library is None:
                self._print("no C compiler here: this run's clocks agree")
            self.server = self.stack.enter_context(Postgres({"synchronous_commit": "on"}))
            url = self.server.create_database("jari")
            self.line = Line(self.server.port, random.Random(f"{self.seed}/line"))
            self.stack.callback(self.line.close)
            self.url = url.replace(f":{self.server.port}/", f":{self.line.port}/")
        app = create_app(config_for(url))
        migrate_to(app)
        dispose(app)
        return url

    def _processes(self) -> tuple[list[Web], list[Scheduler]]:
        """Start two of each, one an hour ahead of this machine, one an hour behind."""
        webs, schedulers = [], []
        for name, skew in (("ahead", SKEW_SECONDS), ("behind", -SKEW_SECONDS)):
            # SQLite's clock is that of the one machine that it is for.
            clock = {"SKEW_SECONDS": skew, "LD_PRELOAD": self.library} if self.library else {}
            log = self.directory / f"web-{name}.log"
            webs.append(Web(self.url, log, workers=2, threads=4, **LIMITS, **clock))
            log = self.directory / f"jobs-{name}.log"
            schedulers.append(Scheduler(self.url, log, **clock))
        for family in (*webs, *schedulers):
            self.stack.enter_context(family)
        return webs, schedulers

    def _clients(self, house: House, webs: list[Web], operations: int) -> list[Client]:
        rules = {"hold_seconds": HOLD_SECONDS, "session_seconds": SESSION_SECONDS, "seats_max": 40}
        rooms = ({"capacity": None}, {"capacity": 4, "rate_per_minute": 40})
        sales = []
        for room in rooms:
            sale = make_sale(house.db, seats=400, **rules, **room)
            hall = house.seatmap_of(house.sales.get(sale))
            sales.append((sale, [place.label for place in hall.places]))
        [door] = make_accounts(house.db, role="door")
        customers = make_accounts(house.db, CUSTOMERS, balance_minor=20_000)
        self.stop = threading.Event()
        return [
            Client(
                number,
                self.seed,
                customers[number % CUSTOMERS],
                door,
                sales,
                webs,
                self.history,
                self.stop,
                operations,
            )
            for number in range(CLIENTS)
        ]

    def _shop(self, clients: list[Client], seconds: float, operations: int) -> None:
        threads = [threading.Thread(target=client.run) for client in clients]
        for thread in threads:
            thread.start()
        began = said = time.monotonic()
        try:
            while any(thread.is_alive() for thread in threads):
                now = time.monotonic()
                if operations == sys.maxsize and now - began > seconds:
                    self.stop.set()
                if now - said > 10:
                    said = now
                    goal = "" if operations == sys.maxsize else f" of {operations:,}"
                    done = f"{self.history.operations:9,}"
                    self._print(f"{now - began:5.0f} s {done} operations{goal}")
                time.sleep(0.1)
        finally:  # whoever breaks off does not wait for a million operations
            self.stop.set()
            for thread in threads:
                thread.join()

    def _settle(self, clients: list[Client]) -> None:
        """Ask again, with the same keys, for everything whose end nobody knows."""
        open_ones = self.history.unknown()
        by_account = {client.customer.id: client for client in clients}
        methods = {"release": "DELETE", "leave": "DELETE"}
        sent = {(c.customer.id, API + e.path, e.key): e for c in clients for e in c.sent}
        for told in open_ones:
            errand = sent.get((told.account_id, told.path, told.key)) or Errand(
                told.kind,
                methods.get(told.kind, "POST"),
                told.path.removeprefix(API),
                told.subject,
                _body(told.kind, told.subject),
                told.key,
                _access(by_account[told.account_id], told.subject),
            )
            if errand.kind != "hold" or errand.access:
                by_account[told.account_id].settle(told, errand)
        self._print(f"{len(open_ones)} outcomes were in doubt and have been asked for again")

    def _drain(self, db: Database) -> None:
        """Wait until every stay and hold is over and swept."""

        def drained() -> bool:
            def query(tx: object) -> bool:
                held = select(Seat.seat_no).where(Seat.hold_id.is_not(None)).limit(1)
                unswept = select(Hold.id).where(Hold.swept_at.is_(None)).limit(1)
                found = (tx.execute(one).first() for one in (held, unswept))
                return all(row is None for row in found)

            return db.read(query)

        until(drained, 2 * SESSION_SECONDS + 20, "it does not drain: holds are orphaned")

    def _say(self, faults: Counter[str]) -> None:
        self._print("faults: " + ", ".join(f"{n} {name}" for name, n in faults.most_common()))
        if self.line is not None:
            self._print(f"COMMITs cut: {self.line.cuts}")
        by_kind: dict[str, Counter[str]] = {}
        for (kind, code), count in self.history.counts.items():
            by_kind.setdefault(kind, Counter())[code] += count
        for kind, codes in sorted(by_kind.items()):
            self._print(f"  {kind:<10}" + " ".join(f"{c}:{n}" for c, n in codes.most_common()))

    def _print(self, text: str) -> None:
        print(f"[{self.kind}] {text}", flush=True)


def _body(kind: str, subject: str) -> object:
    if kind == "pay":
        return {"hold_id": subject}
    if kind == "top_up":
        return {"amount_minor": int(subject)}
    if kind == "hold":
        if subject.startswith("best "):
            return {"best_available": {"quantity": int(subject[5:])}}
        return {"seats": subject.split()}
    return None


def _access(client: Client, hold_id: str) -> str:
    return next((access for known, access in client.holds if known == hold_id), "")


@contextmanager
def workplace(keep: list[bool]) -> Iterator[Path]:
    """A directory for logs and files, kept when the run failed or broke off."""
    directory = Path(tempfile.mkdtemp(prefix="jari-soak-"))
    try:
        yield directory
    except Exception:
        keep.append(True)
        raise
    finally:
        if keep:
            print(f"logs: {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)


def main() -> int:
    """Run on PostgreSQL, then a third as long on SQLite."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--seed", default=os.environ.get("SEED") or secrets.token_hex(4))
    parser.add_argument("--seconds", type=float, default=90.0)
    given = os.environ.get("SOAK")
    parser.add_argument("--operations", type=int, default=int(given) if given else sys.maxsize)
    parser.add_argument("--only", choices=["postgresql", "sqlite"])
    options = parser.parse_args()
    failed: list[bool] = []
    for kind, share in (("postgresql", 1.0), ("sqlite", 1 / 3)):
        if options.only not in (None, kind):
            continue
        operations = options.operations
        if operations != sys.maxsize:
            operations = max(1, int(operations * share))
        with workplace(failed) as directory:
            print(f"[{kind}] seed {options.seed}", flush=True)
            try:
                found = Soak(options.seed, kind, directory).run(options.seconds * share, operations)
            except AssertionError as error:  # it does not drain, or does not answer
                found = [str(error) or "an assertion failed"]
                traceback.print_exc()
            if found:
                failed.append(True)
            for one in found[:50]:
                print(f"[{kind}] WRONG {one}")
        verdict = f"{len(found)} differences" if found else "what was told is what is there"
        print(f"[{kind}] {verdict}; seed {options.seed}", flush=True)
    if failed:
        print(f"Again: SEED={options.seed} make soak")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
