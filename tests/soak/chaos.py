"""What goes wrong, all the time, by a seeded source: one fault after the other, each undone again."""

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import psycopg

from tests.postgres import Postgres
from tests.servers import Family, Line, Scheduler, Web

SKEW_SECONDS = 3_600

FULL_DISK = """
CREATE OR REPLACE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
CREATE TRIGGER no_space BEFORE INSERT ON journal_entry FOR EACH STATEMENT EXECUTE FUNCTION no_space()
"""


def build_skew(directory: Path) -> Path:
    """Compile the library that moves a process's clock."""
    library = directory / "skew.so"
    source = Path(__file__).with_name("skew.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


class Chaos:
    """Breaks things until it is told to stop."""

    def __init__(
        self,
        rng: random.Random,
        webs: Sequence[Web],
        schedulers: Sequence[Scheduler],
        server: Postgres | None,
        line: Line | None,
        file: Path | None,
    ) -> None:
        self.rng = rng
        self.webs = webs
        self.schedulers = schedulers
        self.server = server
        self.line = line
        self.file = file
        self.done: Counter[str] = Counter()
        self.stop = threading.Event()
        self.failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Chaos":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._thread.join()

    def _run(self) -> None:
        faults = {"kill_worker": 4, "freeze_worker": 3, "kill_scheduler": 2, "freeze_scheduler": 1}
        if self.server is not None:
            faults |= {"terminate_backends": 4, "cut_commits": 6, "fill_disk": 2, "crash": 1}
        else:
            faults |= {"block_the_writer": 4}
        try:
            while not self.stop.wait(self.rng.uniform(0.2, 1.0)):
                [name] = self.rng.choices(list(faults), list(faults.values()))
                getattr(self, name)()
                self.done[name] += 1
        except BaseException as error:  # noqa: BLE001 - raised again by who waits for us
            self.failed.append(error)

    # -- processes

    def kill_worker(self) -> None:
        """SIGKILL one web worker; gunicorn makes another."""
        self._signal(self.rng.choice(self.webs), signal.SIGKILL)

    def freeze_worker(self) -> None:
        """SIGSTOP one web worker for a while."""
        pid = self._signal(self.rng.choice(self.webs), signal.SIGSTOP)
        self.stop.wait(self.rng.uniform(0.2, 2.0))
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _signal(self, family: Family, number: int) -> int:
        workers = family.workers()
        if not workers:
            return 0
        pid = self.rng.choice(workers)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        return pid

    def kill_scheduler(self) -> None:
        """SIGKILL one scheduler and start another in its place."""
        scheduler = self.rng.choice(self.schedulers)
        scheduler.kill()
        scheduler.start()

    def freeze_scheduler(self) -> None:
        """SIGSTOP one scheduler, sometimes for longer than its lease lives: it wakes up replaced."""
        scheduler = self.rng.choice(self.schedulers)
        os.kill(scheduler.pid, signal.SIGSTOP)
        self.stop.wait(self.rng.choice([1.0, 11.0]))
        os.kill(scheduler.pid, signal.SIGCONT)

    # -- PostgreSQL

    def terminate_backends(self) -> None:
        """End a third of the service's connections, whatever they are doing."""
        assert self.server is not None
        query = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'jari' AND random() < 0.33"
        )
        with contextlib.suppress(psycopg.OperationalError):
            self.server.execute(query)

    def cut_commits(self) -> None:
        """Cut connections at their COMMIT for a while, before or after it is applied."""
        assert self.line is not None
        self.line.share = self.rng.choice([0.05, 0.3, 1.0])
        self.stop.wait(self.rng.uniform(0.2, 1.5))
        self.line.share = 0.0

    def fill_disk(self) -> None:
        """Let the database refuse every write as it does on a full disk."""
        assert self.server is not None
        with psycopg.connect(self.server.url("jari"), autocommit=True) as connection:
            connection.execute("SET lock_timeout = '2s'")
            with contextlib.suppress(psycopg.errors.LockNotAvailable):
                connection.execute(FULL_DISK)
                self.stop.wait(self.rng.uniform(0.2, 1.0))
            connection.execute("SET lock_timeout = 0")
            connection.execute("DROP TRIGGER IF EXISTS no_space ON journal_entry")

    def crash(self) -> None:
        """kill -9 the whole database server, and start it again a little later."""
        assert self.server is not None
        self.server.kill()
        self.stop.wait(self.rng.uniform(0.1, 2.0))
        self.server.start()

    # -- SQLite

    def block_the_writer(self) -> None:
        """Let a stranger hold the writer's lock for longer than a request waits for it."""
        with contextlib.closing(sqlite3.connect(str(self.file), isolation_level=None)) as stranger:
            with contextlib.suppress(sqlite3.OperationalError):
                stranger.execute("PRAGMA busy_timeout = 1000")
                stranger.execute("BEGIN IMMEDIATE")
            time.sleep(self.rng.uniform(0.1, 3.0))
