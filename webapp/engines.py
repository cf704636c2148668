"""How connections are made on each database, and who may write when.

Every setting here was measured; the numbers stand beside them.
"""

import random
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from prometheus_client import Histogram
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import OperationalError, TimeoutError
from sqlalchemy.pool import PoolProxiedConnection, QueuePool

WAITS = Histogram(
    "jari_pool_wait_seconds",
    "How long somebody had to wait for a connection, where it was longer than a millisecond.",
    ["pool"],
    buckets=(0.005, 0.02, 0.1, 0.5, 1, 2, 5),
)
WAIT_MIN_SECONDS = 0.001

COMMIT_SECONDS = 6.0  # for a COMMIT's answer; the synchronous standby may be far away
BEGIN_WAIT_SECONDS = 2.0  # on SQLite, for another process to finish writing

_SERVER_SETTINGS = {
    "timezone": "UTC",
    "jit": "off",  # enable_seqscan=off makes some plans look costly enough to compile
    "statement_timeout": "5s",
    "lock_timeout": "3s",
    "idle_in_transaction_session_timeout": "10s",
}
# Without these a server that vanished from the network, and says not even goodbye, is waited for
# until the kernel gives up, a quarter of an hour later; a failover must not take longer than 30 s.
_LINE = {
    "connect_timeout": 3,
    "tcp_user_timeout": 8_000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
_WRITER_SETTINGS = {
    # A sequential or bitmap scan under SERIALIZABLE locks a whole small table against everybody:
    # 44,912 retries for 5,300 transactions with them, 2,937 without (measured, 100 seats).
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    # Planned for its very values, a statement about a performance that is newer than the statistics
    # is taken to find one row, and PostgreSQL 15 then reads the whole hall's index for two seats. In a
    # house of 350,000 seats 4 threads needed 700 retries for 800 disjoint holds of a new sale, and 50
    # gave up; planned for any values, none (measured).
    "plan_cache_mode": "force_generic_plan",
}
_READER_SETTINGS = {
    "default_transaction_read_only": "on",
    # A plan for any performance, made while one has all the crowd, reads the crowd for every other.
    "enable_seqscan": "off",
}


def engine_options(
    url: str, *, writes: bool, pool_size: int, pool_timeout: float
) -> dict[str, Any]:
    """Say how to make the engine for `url`: one for writers, one for readers.

    Returns keyword arguments of `sqlalchemy.create_engine`, `url` included.
    """
    target = _resolved(make_url(url))
    common = {
        "poolclass": WatchedPool,
        "pool_logging_name": "writer" if writes else "reader",
        "pool_size": pool_size,
        "max_overflow": 0,
        "pool_timeout": pool_timeout,
    }
    if target.get_backend_name() == "sqlite":
        connect_args = {"isolation_level": None, "timeout": 2.0}
        return common | {"url": target, "connect_args": connect_args}
    if not writes and target.query.get("target_session_attrs") == "read-write":
        # The same server for libpq, which takes our readers' read-only default for a standby's.
        target = target.update_query_dict({"target_session_attrs": "primary"})
    settings = _SERVER_SETTINGS | (_WRITER_SETTINGS if writes else _READER_SETTINGS)
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return (
        common
        | {
            "url": target,
            "connect_args": {"options": options, "application_name": "jari", **_LINE},
            "isolation_level": "SERIALIZABLE" if writes else "REPEATABLE READ",
            "pool_pre_ping": False,  # a lost connection is met by the retry, without a round trip each time
        }
    )


def _resolved(url: URL) -> URL:
    """Name the driver, and a SQLite file's whole path: Flask-SQLAlchemy looks for it elsewhere."""
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    return url.set(database=str(Path(url.database or "").absolute()))


class WatchedPool(QueuePool):
    """A pool that says how long somebody waited; who did not wait costs nothing."""

    def connect(self) -> PoolProxiedConnection:
        """Take a connection out."""
        asked = time.perf_counter()
        try:
            return super().connect()
        finally:
            waited = time.perf_counter() - asked
            if waited > WAIT_MIN_SECONDS:
                WAITS.labels(self.logging_name or "").observe(waited)


class PatientConnection(psycopg.Connection[Any]):
    """A connection that does not wait for ever for COMMIT's answer.

    `statement_timeout` does not bound a COMMIT that waits for its synchronous standby: with the standby
    gone it waits until somebody repairs the cluster, and each waiting thread is one that serves nobody.
    Cancelling it would be a lie: PostgreSQL then commits without the standby and reports success. So the
    line is cut, and the kernel's witness says what became of it: in doubt, while it is.
    """

    _patience: float | None = None

    def commit(self) -> None:
        """Commit; raise OperationalError when nobody has answered within COMMIT_SECONDS."""
        self._patience = COMMIT_SECONDS
        try:
            super().commit()
        except psycopg.OperationalError as error:
            if error.sqlstate is None:
                self.pgconn.finish()
            raise
        finally:
            self._patience = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for the server, a COMMIT's answer no longer than its patience."""
        return super().wait(gen, interval, timeout or self._patience)


def prepare_postgresql(engine: Engine) -> None:
    """Make a PostgreSQL engine's connections patient ones."""

    @event.listens_for(engine, "do_connect")
    def _connect(
        _dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]
    ) -> PatientConnection:
        return PatientConnection.connect(*arguments, **options)


def prepare_sqlite(engine: Engine, *, writes: bool) -> None:
    """Give a SQLite engine its pragmas and our own BEGIN.

    The driver's legacy transaction mode lets two clients win one seat, and a deferred BEGIN dies
    with "database is locked" when it turns into a writer (both measured).
    """

    @event.listens_for(engine, "connect")
    def _pragmas(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")  # orders are paid: no commit may be lost
        connection.execute("PRAGMA foreign_keys=ON")
        if writes:
            connection.execute("PRAGMA busy_timeout=0")  # `_begin_writing` waits better
        else:
            connection.execute("PRAGMA query_only=ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if writes:
            _begin_writing(connection)
        else:
            connection.exec_driver_sql("BEGIN")


def ask_time(connection: Connection) -> datetime:
    """Ask the database what time it is, in UTC."""
    if connection.dialect.name == "sqlite":
        text = connection.exec_driver_sql("SELECT strftime('%Y-%m-%dT%H:%M:%f', 'now')").scalar()
        return datetime.fromisoformat(str(text)).replace(tzinfo=UTC)
    answer = connection.exec_driver_sql("SELECT clock_timestamp()").scalar()
    assert isinstance(answer, datetime)
    return answer


def _begin_writing(connection: Connection) -> None:
    """Begin as the writer; raise SQLite's "database is locked" after `BEGIN_WAIT_SECONDS`.

    SQLite's own waiting sleeps up to 100 ms at a time, so a process that asks often starves one that
    has waited long. Each process has one thread here at a time (`Turnstile`); short pauses of random
    length give each about the same chance.
    """
    deadline = time.monotonic() + BEGIN_WAIT_SECONDS
    while True:
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            return
        except OperationalError as error:
            code = getattr(error.orig, "sqlite_errorname", "")
            if not code.startswith("SQLITE_BUSY") or time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.0005, 0.003))


class Turnstile:
    """A lock served strictly in the order of arrival.

    SQLite has one writer at a time and gives it to whoever asks at the right moment: four tight
    writers starved one to a single commit in four seconds (measured).
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._taken = False

    @contextmanager
    def turn(self, wait_seconds: float) -> Iterator[None]:
        """Hold the lock; raise SQLAlchemy's TimeoutError, as a full pool does, when it takes longer."""
        self._take(wait_seconds)
        try:
            yield
        finally:
            self._pass_on()

    def _take(self, wait_seconds: float) -> None:
        with self._mutex:
            if not self._taken:
                self._taken = True
                return
            gate = threading.Lock()
            gate.acquire()
            self._waiting.append(gate)
        if gate.acquire(timeout=max(0.0, wait_seconds)):
            return
        with self._mutex:
            if gate not in self._waiting:
                return  # the turn came in the moment of giving up
            self._waiting.remove(gate)
        raise TimeoutError("the writer's lock was not free in time")

    def _pass_on(self) -> None:
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False
