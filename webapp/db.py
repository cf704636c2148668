"""The kernel: sessions, SERIALIZABLE transactions, retries, and what a lost COMMIT meant.

This module hides which database is below and how its transactions fail. Promises:

1. `Database.transact` runs `work(tx, …)` SERIALIZABLE (SQLite: BEGIN IMMEDIATE), writes the journal last
   and commits, all inside the retried block: a third of serialization failures surface at COMMIT.
2. Every attempt has a fresh connection state, a fresh `tx.now` and an empty journal. `work` may run
   any number of times; it takes effect once or not at all.
3. What failed is what `troubles` says: SQLSTATE and constraint names, never a message's prose.
4. It gives up with `Busy` after `ATTEMPTS_MAX` tries or at the deadline, and never hangs.
5. A COMMIT whose answer was lost is settled by its witness (the journal row, whose id was chosen before
   the attempt): committed, never happened, or `OutcomeUnknown`. It is never guessed.
6. Effects (`subscribers`) hear journal entries after their commit, and nothing else.
7. `read` and `lookup` are for what decides nothing: READ ONLY REPEATABLE READ on PostgreSQL, because
   SERIALIZABLE pollers failed one time in five and halved the bookers' throughput (measured). They are
   the only exception from SERIALIZABLE.

No other module begins, commits, rolls back or retries (law 1).
"""

import logging
import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar, TypeVarTuple, cast

from sqlalchemy import Connection, Engine, MetaData, event
from sqlalchemy.engine import CursorResult, ExceptionContext
from sqlalchemy.orm import Session
from sqlalchemy.sql import Executable

from webapp import nowait, troubles
from webapp.clock import Clock
from webapp.engines import Turnstile, ask_time, prepare_postgresql, prepare_sqlite
from webapp.ids import new_id as new_id  # noqa: PLC0414 - everybody has it from here
from webapp.statements import Prepared, Rows

log = logging.getLogger("jari.db")

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

ATTEMPTS_MAX = 8
JITTER_FIRST_SECONDS = 0.005
JITTER_MAX_SECONDS = 0.2
WITNESS_LOCK_TIMEOUT = "2s"

# How often this thread has run a transaction again, since somebody set it to 0.
TRIED_AGAIN: ContextVar[int] = ContextVar("jari_tried_again", default=0)


class Busy(Exception):
    """The work could not be done in time; nothing of it is stored. Ask again later."""


class OutcomeUnknown(Exception):
    """COMMIT's answer was lost and could not be settled yet. Ask again with the same key."""


# -- a transaction ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """One journal entry: what a committed transaction did. `facts` is JSON, without personal data."""

    kind: str
    facts: dict[str, Any]
    attempt_id: uuid.UUID


@dataclass(slots=True)
class Tx:
    """A transaction: a session, an instant and a journal."""

    connection: Connection
    now: datetime
    attempt_id: uuid.UUID | None = None  # None: a read, which records nothing
    journal: list[Entry] = field(default_factory=list)
    failed: bool = False  # a statement failed: nothing more may come of this attempt
    _session: Session | None = None
    _cursor: Any = None
    _own_id: uuid.UUID | None = None  # of one of the customers whose work this is
    _recorded: set[str] = field(default_factory=set)  # which kinds of entries, for that customer

    @property
    def session(self) -> Session:
        """The ORM session of this attempt, for work where speed does not matter."""
        if self._session is None:
            self._session = Session(bind=self.connection, autoflush=True)
        return self._session

    def execute(
        self, statement: Executable, parameters: Mapping[str, Any] | Sequence[Any] | None = None
    ) -> CursorResult[Any]:
        """Run one Core statement."""
        return self.connection.execute(statement, parameters)

    def fetch(self, prepared: Prepared, **parameters: Any) -> Rows:
        """Run one prepared statement; return its rows as plain tuples."""
        driver = self.connection.connection
        if self._cursor is None:
            self._cursor = driver.cursor()
        try:
            return prepared.run(self.connection, self._cursor, parameters)
        except troubles.DRIVER_ERRORS as error:
            self.failed = True
            dialect = self.connection.dialect
            if dialect.is_disconnect(cast(Any, error), driver.dbapi_connection, None):
                self.connection.invalidate(error)
            raise

    def fetch_one(self, prepared: Prepared, **parameters: Any) -> tuple[Any, ...] | None:
        """Run one prepared statement whose key finds one row or none."""
        rows = self.fetch(prepared, **parameters)
        return rows[0] if rows else None

    def record(self, kind: str, **facts: Any) -> None:
        """Add an entry to the journal: one per kind and transaction, with lists for the many."""
        if self.attempt_id is None:
            raise RuntimeError("a read records nothing")
        if kind in self._recorded:
            raise RuntimeError(f"{kind} is already recorded; carry a list")
        self._recorded.add(kind)
        self.journal.append(Entry(kind, facts, self._own_id or self.attempt_id))

    def next_one(self) -> None:
        """Record what follows, another customer's, as if it were a transaction of its own."""
        self._own_id = new_id()
        self._recorded.clear()


class Database:
    """The one door to the data: `transact` for what decides, `read` and `lookup` for what does not.

    `write_journal(tx)` stores `tx.journal` in one INSERT. `refusals` maps a violated constraint to the
    refusal it stands for; `again` names the constraints on generated codes, where another try gets
    another code. `budget_seconds` bounds one call, waiting included.
    """

    def __init__(
        self,
        writer: Engine,
        reader: Engine,
        metadata: MetaData,
        write_journal: Callable[[Tx], None],
        *,
        refusals: Mapping[str, type[Exception]] | None = None,
        again: frozenset[str] = frozenset(),
        budget_seconds: float = 8.0,
        rehearse: bool = False,
    ) -> None:
        self.writer = writer
        self.reader = reader
        self.is_sqlite = writer.dialect.name == "sqlite"
        if self.is_sqlite:
            prepare_sqlite(writer, writes=True)
            prepare_sqlite(reader, writes=False)
            self._single = self._snapshot = reader
        else:
            prepare_postgresql(writer)
            self._single = reader.execution_options(isolation_level="AUTOCOMMIT")
            self._snapshot = reader.execution_options(postgresql_readonly=True)
        self.clock = Clock(self._ask_time)
        self.subscribers: list[Callable[[Sequence[Entry]], None]] = []
        self._write_journal = write_journal
        self._refusals = refusals or {}
        self._again = again
        self._budget = budget_seconds
        self._rehearse = rehearse
        self._trouble = troubles.Troubles(metadata).of
        self._turnstile = Turnstile() if self.is_sqlite else None
        self._running: ContextVar[Tx | None] = ContextVar("jari_tx", default=None)
        event.listen(writer, "handle_error", self._note_error)

    # -- the three doors

    def transact(
        self,
        work: Callable[[Tx, *Ts], T],
        *args: *Ts,
        instead: Mapping[str, Callable[[Tx, *Ts], T]] | None = None,
    ) -> T:
        """Run `work(tx, *args)` SERIALIZABLE, commit it, run it again if it lost a race.

        `instead` names, by violated unique constraint, the work that answers when somebody (perhaps
        this same request, earlier) was first. A nested call joins the running transaction: only the
        outermost scope retries. Raises Busy, OutcomeUnknown, a mapped refusal, or what `work` raises.
        """
        running = self._running.get()
        if running is not None:
            return work(running, *args)
        current = [work]

        def attempt(deadline: float) -> T:
            return self._attempt(current[0], args, deadline)

        def divert(constraint: str) -> bool:
            other = (instead or {}).get(constraint)
            if other is not None:
                current[0] = other
            return other is not None

        return self._persist(_name(work), attempt, divert)

    def read(self, query: Callable[[Tx, *Ts], T], *args: *Ts) -> T:
        """Run `query(tx, *args)` on one read-only snapshot. It decides nothing."""
        return self._persist(_name(query), lambda _: self._look(self._snapshot, query, args))

    def lookup(self, query: Callable[[Tx, *Ts], T], *args: *Ts) -> T:
        """Like `read`, for a single statement: its own snapshot, in one round trip instead of three."""
        return self._persist(_name(query), lambda _: self._look(self._single, query, args))

    # -- one attempt

    def _attempt(self, work: Callable[..., T], args: tuple[Any, ...], deadline: float) -> T:
        if self._rehearse:
            with self._turn(deadline), self._begun() as tx:
                self._run(tx, work, args)
                tx.connection.rollback()
        with self._turn(deadline), self._begun() as tx:
            result = self._run(tx, work, args)
            lost: Exception | None = None
            try:
                tx.connection.commit()
            except troubles.DATABASE_ERRORS as error:
                if self._trouble(error).kind == "conflict":
                    # SQLAlchemy takes a failed COMMIT for the end of the transaction. SQLite's goes
                    # on, and would go back to the pool open, with the writer's lock.
                    tx.connection.rollback()
                    raise
                lost = error
                tx.connection.invalidate()
        if lost is not None:
            self._settle(tx, lost, deadline)
        self._tell(tx.journal)
        return result

    def _turn(self, deadline: float) -> AbstractContextManager[None]:
        """Wait for the writer's turn where there is one writer at a time."""
        if self._turnstile is None:
            return nullcontext()
        return self._turnstile.turn(deadline - time.monotonic())

    def _note_error(self, _: ExceptionContext) -> None:
        if running := self._running.get():
            running.failed = True

    @contextmanager
    def _begun(self) -> Iterator[Tx]:
        with self.writer.connect() as connection:
            connection.begin()
            tx = Tx(connection, self.clock.now(), new_id())
            token = self._running.set(tx)
            try:
                yield tx
            finally:
                self._running.reset(token)
                if tx._session is not None:
                    tx._session.close()

    def _run(self, tx: Tx, work: Callable[..., T], args: tuple[Any, ...]) -> T:
        result = work(tx, *args)
        if tx._session is not None:
            tx._session.flush()
        if tx.failed:
            # PostgreSQL's COMMIT would report success and store nothing, SQLite's store the rest.
            raise RuntimeError("a database error was swallowed inside a transaction")
        if tx.journal:
            self._write_journal(tx)
        return result

    def _look(self, engine: Engine, query: Callable[..., T], args: tuple[Any, ...]) -> T:
        now = self.clock.now()  # before there is a connection: measuring needs one of the same pool
        with engine.connect() as connection:
            return query(Tx(connection, now), *args)

    # -- again, or not

    def _persist(
        self,
        name: str,
        attempt: Callable[[float], T],
        divert: Callable[[str], bool] = lambda _: False,
    ) -> T:
        nowait.check()
        deadline = time.monotonic() + self._budget
        for number in range(1, ATTEMPTS_MAX + 1):
            try:
                return attempt(deadline)
            except _NeverHappened:
                code = "commit_lost"
            except troubles.DATABASE_ERRORS as error:
                code = self._verdict(self._trouble(error), error, name, divert)
            troubles.RETRIES.labels(code, name, str(number)).inc()
            TRIED_AGAIN.set(TRIED_AGAIN.get() + 1)
            pause = random.uniform(0, min(JITTER_FIRST_SECONDS * 2**number, JITTER_MAX_SECONDS))
            if number == ATTEMPTS_MAX or time.monotonic() + pause > deadline:
                break
            time.sleep(pause)
        troubles.BUSY.labels(name).inc()
        raise Busy(name)

    def _verdict(
        self, trouble: troubles.Trouble, error: Exception, name: str, divert: Callable[[str], bool]
    ) -> str:
        """Return the code to count when the attempt is to be made again; raise otherwise."""
        if trouble.kind in ("conflict", "lost"):
            return trouble.code
        if trouble.kind == "unique":
            if divert(trouble.code) or trouble.code in self._again:
                return trouble.code
            if refusal := self._refusals.get(trouble.code):
                raise refusal() from error
        if trouble.kind == "overload":
            troubles.BUSY.labels(name).inc()
            raise Busy(name) from error
        raise error

    # -- an unknown COMMIT

    def _settle(self, tx: Tx, lost: Exception, deadline: float) -> None:
        """Find out whether a COMMIT without an answer happened; return if it did.

        Insert its witness again on a new connection. It goes in: the first never happened and never
        can (nothing holds the key), so run the work again. It is there: it happened. It is locked:
        the first is still under way and nobody knows. Looking the row up would not be enough: with a
        commit waiting for its standby the look-up finds nothing and the commit arrives later.
        """
        if not tx.journal:
            raise _NeverHappened from lost  # work that records nothing is the same done twice
        pause = JITTER_FIRST_SECONDS
        while time.monotonic() < deadline:
            try:
                self._probe(tx, deadline)
            except troubles.DATABASE_ERRORS as error:
                trouble = self._trouble(error)
                if trouble == troubles.Trouble("unique", "uq_journal_entry_attempt"):
                    troubles.UNKNOWN_COMMITS.labels("committed").inc()
                    return
                if trouble.code in ("55P03", "57014"):
                    break
                if trouble.kind not in ("lost", "conflict", "overload"):
                    raise
                time.sleep(pause)
                pause = min(pause * 2, JITTER_MAX_SECONDS)
            else:
                troubles.UNKNOWN_COMMITS.labels("never_happened").inc()
                raise _NeverHappened from lost
        troubles.UNKNOWN_COMMITS.labels("in_doubt").inc()
        raise OutcomeUnknown from lost

    def _probe(self, tx: Tx, deadline: float) -> None:
        with self._turn(deadline), self.writer.connect() as connection:
            connection.begin()
            if not self.is_sqlite:
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{WITNESS_LOCK_TIMEOUT}'")
            self._write_journal(Tx(connection, tx.now, tx.attempt_id, tx.journal[:1]))
            connection.rollback()

    # -- after the commit

    def _tell(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        for subscriber in self.subscribers:
            try:
                subscriber(entries)
            except Exception:
                log.exception("an effect failed after its commit")

    def _ask_time(self) -> datetime:
        nowait.check()
        with self._single.connect() as connection:
            return ask_time(connection)


class _NeverHappened(Exception):
    """A COMMIT without an answer turned out not to have happened: make the attempt again."""


def _name(work: Callable[..., Any]) -> str:
    work = getattr(work, "func", work)  # a partial is called by what it completes
    return getattr(work, "__qualname__", type(work).__name__)


def make(kind: Callable[..., T], row: Sequence[Any]) -> T:
    """Make a value of a row whose columns were selected in the order of its fields."""
    return kind(*row)


def seconds(value: float) -> timedelta:
    """Shorthand that reads well beside `tx.now`."""
    return timedelta(seconds=value)
