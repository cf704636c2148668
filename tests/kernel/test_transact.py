"""`Database.transact`: once or not at all, its limits, what a violated constraint means, who hears of it."""

import random
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from tests.builders import enter, make_accounts, make_sale, pay, place
from tests.conftest import config_for, dispose
from tests.faults import CONFLICTS, Faults
from tests.kernel.counted import Rise
from webapp import create_app
from webapp.db import ATTEMPTS_MAX, Busy, Database, Entry, Tx, new_id
from webapp.domain import accounts, bookings, seatmap, waiting_room, wallet
from webapp.domain.accounts import NewAccount
from webapp.domain.bookings import Payment
from webapp.domain.errors import EmailTaken, InsufficientFunds, SeatsTaken
from webapp.domain.model import JournalEntry, Ticket, Venue
from webapp.domain.waiting_room import Arrival
from webapp.troubles import BUSY, RETRIES


def add_venue(tx: Tx, name: str = "A hall") -> str:
    tx.execute(insert(Venue), {"name": name, "address": ""})
    tx.record("venue_added", name=name)
    return name


def venues(db: Database) -> list[str]:
    return db.read(lambda tx: list(tx.execute(select(Venue.name).order_by(Venue.id)).scalars()))


def journal(db: Database) -> list[str]:
    query = select(JournalEntry.kind).order_by(JournalEntry.id)
    return db.read(lambda tx: list(tx.execute(query).scalars()))


# -- what a transaction is ------------------------------------------------------------------------


def test_writers_are_serializable_with_the_settings_of_the_design(postgres_url: str) -> None:
    app = create_app(config_for(postgres_url))
    db: Database = app.extensions["jari"].db

    def show(tx: Tx, name: str) -> str:
        return str(tx.execute(text(f"SHOW {name}")).scalar())

    expected = {
        "transaction_isolation": "serializable",
        "transaction_read_only": "off",
        "enable_seqscan": "off",
        "enable_bitmapscan": "off",
        "statement_timeout": "5s",
        "lock_timeout": "3s",
        "idle_in_transaction_session_timeout": "10s",
        "TimeZone": "UTC",
    }
    assert {name: db.transact(show, name) for name in expected} == expected
    snapshot = {
        "transaction_isolation": "repeatable read",
        "transaction_read_only": "on",
        "enable_seqscan": "off",
        "statement_timeout": "5s",
    }
    assert {name: db.read(show, name) for name in snapshot} == snapshot
    assert db.lookup(show, "transaction_read_only") == "on"
    dispose(app)


def test_sqlite_writes_durably_with_foreign_keys(sqlite_url: str) -> None:
    app = create_app(config_for(sqlite_url))
    db: Database = app.extensions["jari"].db

    def pragma(tx: Tx, name: str) -> Any:
        return tx.execute(text(f"PRAGMA {name}")).scalar()

    faults = Faults(db)
    db.transact(pragma, "user_version")
    assert faults.begins == ["BEGIN IMMEDIATE"]  # not to find out later that it is late
    expected = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "query_only": 0}
    assert {name: db.transact(pragma, name) for name in expected} == expected
    assert db.read(pragma, "query_only") == 1
    dispose(app)


@pytest.mark.parametrize("door", ["read", "lookup"])
def test_a_read_cannot_write(db: Database, door: str) -> None:
    look: Callable[..., Any] = getattr(db, door)
    with pytest.raises(DBAPIError):
        look(lambda tx: tx.execute(insert(Venue), {"name": "By stealth", "address": ""}))
    with pytest.raises(RuntimeError, match="records nothing"):
        look(lambda tx: tx.record("seen"))
    assert venues(db) == []


def test_a_kind_is_recorded_once(db: Database) -> None:
    def twice(tx: Tx) -> None:
        add_venue(tx)
        tx.record("venue_added", name="again")

    with pytest.raises(RuntimeError, match="venue_added is already recorded"):
        db.transact(twice)
    assert venues(db) == []


def test_every_attempt_has_its_own_instant_journal_and_id(db: Database, faults: Faults) -> None:
    seen: list[tuple[Any, uuid.UUID | None, list[Entry]]] = []

    def work(tx: Tx) -> None:
        seen.append((tx.now, tx.attempt_id, list(tx.journal)))
        add_venue(tx)

    faults.conflict_at_commit(CONFLICTS[db.writer.dialect.name][0])
    db.transact(work)
    [first, second] = seen
    assert first[0] < second[0]
    assert first[1] != second[1]
    assert first[2] == second[2] == []
    assert (venues(db), journal(db)) == (["A hall"], ["venue_added"])


# -- nesting ----------------------------------------------------------------------------------------


def test_a_nested_call_joins_and_only_the_outermost_retries(db: Database, faults: Faults) -> None:
    outer_runs, inner_runs = [], []

    def inner(tx: Tx, name: str) -> str:
        inner_runs.append(tx)
        return add_venue(tx, name)

    def outer(tx: Tx) -> str:
        outer_runs.append(tx)
        tx.execute(select(Venue.id)).all()
        return db.transact(inner, "Nested")

    faults.at_statement(2, CONFLICTS[db.writer.dialect.name][0])  # inside of `inner`
    assert db.transact(outer) == "Nested"
    assert faults.fired == 1
    assert len(outer_runs) == len(inner_runs) == 2
    assert all(a is b for a, b in zip(outer_runs, inner_runs, strict=True))
    assert venues(db) == ["Nested"]


def test_a_nested_call_is_rolled_back_with_the_outer(db: Database) -> None:
    def outer(_: Tx) -> None:
        db.transact(add_venue)
        raise InsufficientFunds(short_minor=1)

    with pytest.raises(InsufficientFunds):
        db.transact(outer)
    assert (venues(db), journal(db)) == ([], [])


# -- refusals and bugs --------------------------------------------------------------------------


def test_a_refusal_rolls_everything_back(db: Database) -> None:
    def work(tx: Tx) -> None:
        add_venue(tx)
        raise InsufficientFunds(short_minor=1)

    heard: list[Entry] = []
    db.subscribers.append(heard.extend)
    with pytest.raises(InsufficientFunds):
        db.transact(work)
    assert (venues(db), journal(db), heard) == ([], [], [])


@pytest.mark.parametrize("recorded", [False, True])
def test_a_swallowed_database_error_is_found_out(db: Database, recorded: bool) -> None:
    def work(tx: Tx) -> str:
        tx.execute(insert(Venue), {"name": "First", "address": ""})
        with suppress(DBAPIError):
            tx.execute(text("SELECT no_such_column FROM venue"))
        if recorded:
            tx.record("venue_added")
        return "done"

    with pytest.raises(RuntimeError, match="swallowed"):
        db.transact(work)
    assert (venues(db), journal(db)) == ([], [])


def test_an_error_nobody_expected_is_a_bug_and_is_not_retried(db: Database) -> None:
    runs = []

    def work(tx: Tx) -> None:
        runs.append(tx)
        tx.execute(text("SELECT no_such_column FROM venue"))

    with pytest.raises(DBAPIError):
        db.transact(work)
    assert len(runs) == 1


# -- constraints decide ---------------------------------------------------------------------------


def test_a_mapped_constraint_is_its_refusal(db: Database) -> None:
    [customer] = make_accounts(db)
    again = [NewAccount(new_id(), customer.email, "Again")]
    with pytest.raises(EmailTaken) as refusal:
        db.transact(accounts.create, again, "KRW", timedelta(hours=1))
    assert isinstance(refusal.value.__cause__, IntegrityError)


def test_the_schema_alone_refuses_to_sell_a_seat_twice(db: Database) -> None:
    sale = make_sale(db)
    [customer] = make_accounts(db)
    admitted = enter(db, customer, sale)
    held = place(db, admitted, [3, 4])
    ticket = {
        "id": new_id(),
        "booking_id": new_id(),
        "performance_id": sale,
        "seat_no": 4,
        "price_minor": 0,
        "code": "SOMEBODY-ELSES",
    }
    db.transact(lambda tx: tx.execute(insert(Ticket), ticket))
    with pytest.raises(SeatsTaken):
        pay(db, admitted, held)
    assert db.lookup(wallet.get, customer.id).balance_minor == 1_000_000
    assert db.lookup(seatmap.states, sale)[2:6] == "fhhf"


def test_instead_answers_when_somebody_was_first(db: Database) -> None:
    [customer] = make_accounts(db)
    sale = make_sale(db, capacity=1)

    def join() -> tuple[waiting_room.Stay, bool]:
        arrival = Arrival(new_id(), sale, customer.id)
        return db.transact(
            waiting_room.join, arrival, instead={"uq_queue_entry_stay": waiting_room.rejoin}
        )

    with Rise(RETRIES) as retries:
        (first, new), (second, again) = join(), join()
    assert (new, again) == (True, False)
    assert first == second
    assert list(retries.by) == [("uq_queue_entry_stay", "join", "1")]


def test_a_constraint_that_instead_does_not_name_is_a_bug(db: Database) -> None:
    [customer] = make_accounts(db)
    sale = make_sale(db, capacity=1)
    db.transact(waiting_room.join, Arrival(new_id(), sale, customer.id))
    with pytest.raises(IntegrityError):
        db.transact(
            waiting_room.join,
            Arrival(new_id(), sale, customer.id),
            instead={"uq_account_email": waiting_room.rejoin},
        )


@pytest.mark.parametrize("length", [bookings.REFERENCE_LENGTH, bookings.CODE_LENGTH])
def test_a_generated_code_that_is_taken_is_made_again(
    db: Database, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    sale = make_sale(db)
    first, second = make_accounts(db, 2)
    inside = enter(db, first, sale)
    taken = pay(db, inside, place(db, inside, [1]))
    also = enter(db, second, sale)
    held = place(db, also, [2])
    known = {
        bookings.REFERENCE_LENGTH: taken.reference,
        bookings.CODE_LENGTH: taken.tickets[0].code,
    }
    original, repeated = bookings.random_code, []

    def unlucky(letters: int) -> str:
        if letters == length and not repeated:
            repeated.append(letters)
            return known[length]
        return original(letters)

    monkeypatch.setattr(bookings, "random_code", unlucky)
    booked = pay(db, also, held)
    assert repeated
    assert booked.reference != taken.reference
    assert booked.tickets[0].code != taken.tickets[0].code
    assert db.lookup(wallet.get, second.id).balance_minor == 1_000_000 - 1_000


# -- giving up ----------------------------------------------------------------------------------


def test_it_gives_up_after_so_many_tries_with_full_jitter_between(
    db: Database, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        asked.append((low, high))
        return 0.0

    monkeypatch.setattr(random, "uniform", uniform)
    code = CONFLICTS[db.writer.dialect.name][0]
    faults.at_statement(1, code, times=100)
    with Rise(RETRIES) as retries, Rise(BUSY) as busy, pytest.raises(Busy):
        db.transact(add_venue)
    assert faults.fired == ATTEMPTS_MAX
    assert retries.by == {(code, "add_venue", str(n)): 1 for n in range(1, ATTEMPTS_MAX + 1)}
    assert busy.by == {("add_venue",): 1}
    assert all(low == 0 for low, _ in asked)
    highs = [high for _, high in asked]
    assert highs == sorted(highs)
    assert (highs[0], highs[-1]) == (0.01, 0.2)
    assert venues(db) == []


@pytest.fixture
def hurried(database_url: str) -> Any:
    """A database whose calls have 300 ms, with one connection and 100 ms to wait for it."""
    config = config_for(
        database_url, transaction_seconds=0.3, pool_size=1, pool_timeout_seconds=0.1
    )
    app = create_app(config)
    yield app.extensions["jari"].db
    dispose(app)


def test_it_gives_up_at_the_deadline(hurried: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = Faults(hurried)
    monkeypatch.setattr("webapp.db.ATTEMPTS_MAX", 10_000)
    faults.at_statement(1, CONFLICTS[hurried.writer.dialect.name][0], times=10_000)
    started = time.monotonic()
    with pytest.raises(Busy):
        hurried.transact(add_venue)
    assert time.monotonic() - started < 3
    assert 1 < faults.fired < 1_000


def test_when_all_connections_are_busy_the_surplus_is_told_at_once(hurried: Database) -> None:
    hurried.transact(add_venue, "Before")
    inside, let_go = threading.Event(), threading.Event()

    def slow(tx: Tx) -> str:
        inside.set()
        assert let_go.wait(60)
        return add_venue(tx, "Slow")

    holder = threading.Thread(target=hurried.transact, args=(slow,))
    holder.start()
    try:
        assert inside.wait(60)
        started = time.monotonic()
        with pytest.raises(Busy):
            hurried.transact(add_venue, "Surplus")
        assert time.monotonic() - started < 5
    finally:
        let_go.set()
        holder.join()
    hurried.transact(add_venue, "After")
    assert venues(hurried) == ["Before", "Slow", "After"]


def test_a_database_that_refuses_every_write_is_busy(db: Database, faults: Faults) -> None:
    """A full disk is nobody's mistake, and may pass: asked to come back, told nothing else."""
    faults.at_statement(1, "SQLITE_FULL" if db.is_sqlite else "53100")
    with pytest.raises(Busy):
        db.transact(add_venue)
    assert faults.fired == 1
    assert venues(db) == []


def test_a_statement_that_takes_too_long_is_busy(postgres_url: str) -> None:
    app = create_app(config_for(postgres_url))
    db: Database = app.extensions["jari"].db

    runs: list[Tx] = []

    def slow(tx: Tx) -> None:
        runs.append(tx)
        add_venue(tx)
        tx.execute(text("SET LOCAL statement_timeout = '20ms'"))
        tx.execute(text("SELECT pg_sleep(5)"))

    with Rise(BUSY) as busy, pytest.raises(Busy):
        db.transact(slow)
    assert list(busy.by.values()) == [1]
    assert len(runs) == 1  # another try would load the database more
    assert venues(db) == []
    dispose(app)


# -- who hears ------------------------------------------------------------------------------------


def test_subscribers_hear_after_the_commit_and_only_of_what_is_stored(
    db: Database, faults: Faults
) -> None:
    heard: list[tuple[str, list[str]]] = []

    def hear(entries: Any) -> None:
        heard.extend((entry.facts["name"], venues(db)) for entry in entries)

    db.subscribers.append(hear)
    faults.conflict_at_commit(CONFLICTS[db.writer.dialect.name][0])
    db.transact(add_venue, "Heard once")
    faults.commit_lost_after()
    db.transact(add_venue, "Heard although the answer was lost")
    assert heard == [
        ("Heard once", ["Heard once"]),
        (
            "Heard although the answer was lost",
            ["Heard once", "Heard although the answer was lost"],
        ),
    ]


def test_a_failing_subscriber_spoils_neither_the_work_nor_the_others(
    db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Entry] = []

    def fail(_: Any) -> None:
        raise ValueError("the mail server is down")

    db.subscribers.extend([fail, heard.extend])
    assert db.transact(add_venue) == "A hall"
    assert [entry.kind for entry in heard] == ["venue_added"]
    assert "an effect failed" in caplog.text


# -- rehearsal ------------------------------------------------------------------------------------


@pytest.fixture
def rehearsing(database_url: str) -> Any:
    app = create_app(config_for(database_url, rehearse=True))
    yield app.extensions["jari"].db
    dispose(app)


def test_a_rehearsal_runs_the_work_twice_and_stores_once(rehearsing: Database) -> None:
    runs = []

    def work(tx: Tx) -> str:
        runs.append(tx.attempt_id)
        return add_venue(tx)

    assert rehearsing.transact(work) == "A hall"
    assert len(set(runs)) == 2
    assert (venues(rehearsing), journal(rehearsing)) == (["A hall"], ["venue_added"])


def test_impure_work_betrays_itself_in_a_rehearsal(rehearsing: Database) -> None:
    prepared = [["name"]]  # built outside of the work: the second run finds it used up

    def impure(tx: Tx) -> None:
        add_venue(tx, prepared.pop()[0])

    with pytest.raises(IndexError):
        rehearsing.transact(impure)
    assert venues(rehearsing) == []


def test_a_whole_purchase_survives_rehearsal(rehearsing: Database) -> None:
    sale = make_sale(rehearsing, seats=10)
    [customer] = make_accounts(rehearsing)
    admitted = enter(rehearsing, customer, sale)
    held = place(rehearsing, admitted, [1, 2])
    booked = rehearsing.transact(bookings.pay, admitted, Payment(new_id(), new_id(), held.id))
    rehearsing.transact(bookings.cancel, booked, new_id())
    assert rehearsing.lookup(wallet.get, customer.id).balance_minor == 1_000_000
    assert rehearsing.lookup(seatmap.states, sale) == "f" * 10
    kinds = journal(rehearsing)
    assert len(kinds) == len(set(kinds)) + 1  # two groups of accounts were opened
