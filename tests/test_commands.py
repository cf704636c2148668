"""What an operator types, on both databases."""

import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import func, select, update

from tests.builders import make_accounts
from tests.conftest import AdvancingClock, config_for, dispose
from webapp import create_app
from webapp.commands import COMMANDS, demo_house, migrate_to, schema
from webapp.db import Database, Tx, new_id
from webapp.domain import accounts, catalogue, sales, seatmap, wallet
from webapp.domain.catalogue import Rules
from webapp.domain.model import Account, Event, LedgerEntry, Performance, Seat, Wallet
from webapp.web import sessions

ROOT = Path(__file__).resolve().parents[1]


def run(app: Flask, *words: object, typed: str = "") -> Result:
    return app.test_cli_runner().invoke(args=[str(word) for word in words], input=typed)


def answer(app: Flask, *words: object, typed: str = "") -> Any:
    """Run a command that must succeed; return its JSON."""
    result = run(app, *words, "--json", typed=typed)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refusal(app: Flask, *words: object, typed: str = "") -> str:
    """Run a command that must refuse; return the code that it printed."""
    result = run(app, *words, typed=typed)
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr.removeprefix("Error: ").split(":")[0]


def flask(*words: object, **environment: str) -> subprocess.Popen[str]:
    """Start a command as an operator does: a process of its own, without a SECRET_KEY."""
    inherited = {k: v for k, v in os.environ.items() if k != "SECRET_KEY"}
    return subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", "wsgi", *map(str, words)],
        cwd=ROOT,
        env=inherited | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def count(db: Database, model: type) -> int:
    return int(db.read(lambda tx: tx.execute(select(func.count()).select_from(model)).scalar_one()))


def rules_of(db: Database, performance_id: int) -> Rules:
    return db.read(catalogue.get_rules, performance_id)


# -- all of them --------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_and_option_explains_itself(command: Any) -> None:
    assert command.help
    assert [param.name for param in command.params if not param.help] == []


def test_a_database_without_tables_is_an_answer_not_a_traceback(empty_url: str) -> None:
    app = create_app(config_for(empty_url))
    assert refusal(app, "credit", "--email", "a@example.com", "--amount-minor", 1) == "database"
    dispose(app)


def test_a_wrong_setting_is_an_answer_not_a_traceback(sqlite_url: str) -> None:
    command = flask("migrate", DATABASE_URL=sqlite_url, SECRET_KEY="short")
    out, err = command.communicate(timeout=60)
    assert (command.returncode, out) == (1, "")
    assert err == "Error: config: SECRET_KEY must have at least 32 bytes\n"


def test_a_command_needs_no_secret_key(database_url: str) -> None:
    command = flask("new-sale", "--seats", 10, "--json", DATABASE_URL=database_url)
    out, err = command.communicate(timeout=60)
    assert command.returncode == 0, err
    assert json.loads(out)["performance_id"] == 1


# -- migrate ------------------------------------------------------------------------------------


def test_two_processes_may_migrate_at_once(empty_url: str) -> None:
    both = [flask("migrate", "--json", DATABASE_URL=empty_url) for _ in range(2)]
    answers = [(*command.communicate(timeout=60), command.returncode) for command in both]
    assert [status for _, _, status in answers] == [0, 0], answers
    first, second = (json.loads(out) for out, _, _ in answers)
    assert first == second
    assert first["revision"] is not None


def test_a_migration_waits_for_its_turn(empty_url: str) -> None:
    app = create_app(config_for(empty_url))
    with ThreadPoolExecutor(1) as other, somebody_migrates(app):
        waiting = other.submit(migrate_to, app)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=1.0)
    assert waiting.result() is not None
    dispose(app)


@contextmanager
def somebody_migrates(app: Flask) -> Iterator[None]:
    """Hold what a migrating process holds, by the same words."""
    engine = schema._make_engine(app.extensions["jari"].config.database_url)
    with schema._alone(engine), engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.begin()
        yield


def test_migrating_goes_back_and_says_where_it_is(app: Flask) -> None:
    head = answer(app, "migrate")["revision"]
    assert answer(app, "migrate", "--revision", "base")["revision"] is None
    assert answer(app, "migrate", "--revision", head)["revision"] == head
    assert answer(app, "migrate", "--revision", "-1")["revision"] != head


def test_no_timeout_ends_a_migration_and_none_is_lifted_for_requests(
    app: Flask, db: Database
) -> None:
    if db.is_sqlite:
        return  # which has no such limits
    engine = schema._make_engine(app.extensions["jari"].config.database_url)
    with engine.connect() as migration, db.writer.connect() as request:
        assert migration.exec_driver_sql("SHOW statement_timeout").scalar() == "0"
        assert migration.exec_driver_sql("SHOW lock_timeout").scalar() == "3s"
        assert request.exec_driver_sql("SHOW statement_timeout").scalar() == "5s"
    engine.dispose()


# -- demo ---------------------------------------------------------------------------------------


def test_the_demo_can_be_used_at_once(app: Flask, db: Database) -> None:
    made = answer(app, "demo")
    on_sale, soon = (event["performance_ids"] for event in made["events"])
    assert len(on_sale) == 2
    for performance_id in on_sale:
        sale = db.read(catalogue.get_sale, performance_id)
        hall = db.read(seatmap.load, sale.rules.seatmap_id)
        assert sale.rules.status(db.clock.now(), sold_out=False) == "open"
        assert sale.rules.lottery_opens_at is None  # its page would have nothing to publish
        assert sale.rules.capacity
        assert sale.rules.rate_per_minute >= 60
        assert len(hall.places) == 2_000
        assert {place.section[0] for place in hall.places} == {"1", "2", "3"}  # tiers
        assert {place.price_level for place in hall.places} == set(sale.prices)
        assert len(sale.prices) >= 3
    (upcoming,) = (rules_of(db, performance_id) for performance_id in soon)
    assert upcoming.status(db.clock.now(), sold_out=False) == "scheduled"
    assert upcoming.sales_open_at - db.clock.now() == pytest.approx(
        timedelta(minutes=10), abs=timedelta(minutes=1)
    )


def test_the_demos_accounts_can_sign_in(app: Flask, db: Database) -> None:
    made = answer(app, "demo")
    house = app.extensions["jari"]
    with app.app_context():
        for account in made["accounts"]:
            token, _ = sessions.sign_in(house, account["email"], "jari-demo")
            person, _ = db.read(accounts.find_session, accounts.digest(token))
            assert person.role == account["role"]
    assert {account["role"] for account in made["accounts"]} == {"customer", "organiser", "door"}
    buyer = db.read(accounts.find_person, "buyer@example.com")
    assert buyer is not None
    assert db.read(wallet.get, buyer.id).balance_minor == 1_000_000


def test_making_the_demo_again_adds_nothing(app: Flask, db: Database) -> None:
    first = answer(app, "demo")
    assert answer(app, "demo") == first
    assert (count(db, Account), count(db, Event), count(db, Performance)) == (3, 2, 3)


def test_a_demo_whose_sales_are_over_is_on_sale_again(
    app: Flask, db: Database, clock: AdvancingClock
) -> None:
    before = answer(app, "demo")
    clock.advance(timedelta(days=60).total_seconds())
    after = answer(app, "demo")
    assert (count(db, Account), count(db, Event), count(db, Performance)) == (3, 2, 6)
    for old, new in zip(before["events"], after["events"], strict=True):
        assert old["slug"] == new["slug"]
        fresh = set(new["performance_ids"]) - set(old["performance_ids"])
        assert len(fresh) == len(old["performance_ids"])
        states = {
            rules_of(db, performance_id).status(clock.now(), sold_out=False)
            for performance_id in fresh
        }
        assert states <= {"open", "scheduled"}


def test_a_sold_out_demo_gets_another_performance(app: Flask, db: Database) -> None:
    sold_out = answer(app, "demo")["events"][0]["performance_ids"][0]

    def sell_everything(tx: Tx) -> None:
        tx.execute(update(Seat).where(Seat.performance_id == sold_out).values(ticket_id=new_id()))

    db.transact(sell_everything)
    assert len(answer(app, "demo")["events"][0]["performance_ids"]) == 3


def test_the_demos_buyer_gets_money_again_by_the_ledger(app: Flask, db: Database) -> None:
    answer(app, "demo")
    buyer = db.read(accounts.find_person, "buyer@example.com")
    assert buyer is not None
    db.transact(wallet.spend, buyer.id, new_id(), new_id(), 900_000)
    answer(app, "demo")
    assert db.read(wallet.get, buyer.id).balance_minor == 1_000_000
    total = select(func.sum(LedgerEntry.amount_minor)).where(LedgerEntry.account_id == buyer.id)
    assert db.read(lambda tx: tx.execute(total).scalar_one()) == 1_000_000


def test_two_demos_at_once_make_one(app: Flask, db: Database) -> None:
    start = threading.Barrier(3)

    def make(_: int) -> Any:
        start.wait()
        return demo_house.make_demo(app.extensions["jari"])

    with ThreadPoolExecutor(3) as threads:
        first, second, third = threads.map(make, range(3))
    assert first == second == third
    assert (count(db, Account), count(db, Event), count(db, Performance)) == (3, 2, 3)


# -- new-sale -----------------------------------------------------------------------------------


def test_a_new_sale_is_as_asked(app: Flask, db: Database) -> None:
    terms = {
        "--title": "겨울 Night",
        "--seats": 50,
        "--price-minor": 7_000,
        "--opens-in": 30,
        "--closes-in": 3_600,
        "--capacity": 20,
        "--rate-per-minute": 120,
        "--seats-max": 6,
        "--hold-seconds": 45,
        "--session-seconds": 90,
    }
    made = answer(app, "new-sale", *(word for option in terms.items() for word in option))
    sale = db.read(catalogue.get_sale, made["performance_id"])
    rules = sale.rules
    assert (sale.event_title, sale.event_slug) == ("겨울 Night", made["event_slug"])
    assert made["event_slug"].startswith("겨울-night-")
    assert [price.price_minor for price in sale.prices.values()] == [7_000]
    assert (rules.capacity, rules.rate_per_minute, rules.seats_max) == (20, 120, 6)
    assert (rules.hold_seconds, rules.session_seconds) == (45, 90)
    assert rules.sales_close_at - rules.sales_open_at == timedelta(seconds=3_570)
    assert rules.status(db.clock.now(), sold_out=False) == "scheduled"
    assert db.read(seatmap.states, rules.id) == "f" * 50


def test_a_new_sale_is_open_at_once_and_needs_no_waiting_room(app: Flask, db: Database) -> None:
    made = answer(app, "new-sale", "--seats", 1, "--no-waiting-room")
    rules = rules_of(db, made["performance_id"])
    assert rules.capacity is None
    assert rules.status(db.clock.now(), sold_out=False) == "open"


def test_a_large_hall_has_every_seat(app: Flask, db: Database) -> None:
    made = answer(app, "new-sale", "--seats", 41_234)
    assert db.read(seatmap.states, made["performance_id"]) == "f" * 41_234


def test_sales_share_their_hall_and_the_house_organiser(app: Flask, db: Database) -> None:
    first, second = (answer(app, "new-sale", "--seats", 30) for _ in range(2))
    assert first["event_slug"] != second["event_slug"]
    halls = {rules_of(db, made["performance_id"]).seatmap_id for made in (first, second)}
    assert len(halls) == 1
    assert count(db, Account) == 1


def test_a_new_sale_may_be_an_organisers(app: Flask, db: Database) -> None:
    organiser = make_accounts(db, role="organiser")[0]
    made = answer(app, "new-sale", "--seats", 30, "--organiser", organiser.email)
    assert db.read(sales.list_own, organiser.id) == [made["performance_id"]]


def test_a_new_sale_is_nobody_elses(app: Flask, db: Database) -> None:
    customer = make_accounts(db)[0]
    sale = ("new-sale", "--seats", 30, "--organiser")
    assert refusal(app, *sale, "nobody@example.com") == "not_found"
    assert refusal(app, *sale, customer.email) == "denied"
    assert count(db, Event) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        ("--seats", 0),
        ("--seats", 200_001),
        ("--title", "x" * 201),
        ("--seats-max", 2**31),
        ("--opens-in", 10, "--closes-in", 10),
        ("--opens-in", "nan"),
    ],
)
def test_a_sale_that_cannot_be_is_refused(wrong: tuple[object, ...], sqlite_url: str) -> None:
    app = create_app(config_for(sqlite_url))
    result = run(app, "new-sale", *wrong)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    dispose(app)


# -- people -------------------------------------------------------------------------------------


def test_new_buyers_are_signed_in_and_have_money(app: Flask, db: Database, tmp_path: Path) -> None:
    out = tmp_path / "buyers.jsonl"
    made = answer(app, "new-buyers", "--count", 1_201, "--balance-minor", 77, "--out", out)
    assert made == {"count": 1_201, "out": str(out)}
    buyers = [json.loads(line) for line in out.read_text().splitlines()]
    assert len({buyer["email"] for buyer in buyers}) == 1_201
    for buyer in (buyers[0], buyers[-1]):
        token = accounts.digest(buyer["session_token"])
        person, state = db.read(accounts.find_session, token)
        assert (person.email, state) == (buyer["email"], "live")
    balances = select(func.count(), func.sum(Wallet.balance_minor))
    assert db.read(lambda tx: tuple(tx.execute(balances).one())) == (1_201, 1_201 * 77)


def test_the_file_of_sessions_is_its_owners_alone(app: Flask, tmp_path: Path) -> None:
    out = tmp_path / "buyers.jsonl"
    out.write_text("left from yesterday\n")
    out.chmod(0o644)
    answer(app, "new-buyers", "--count", 1, "--out", out)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert len(out.read_text().splitlines()) == 1


def test_nobody_is_made_where_the_file_cannot_be(app: Flask, db: Database, tmp_path: Path) -> None:
    result = run(app, "new-buyers", "--count", 3, "--out", tmp_path / "nowhere" / "buyers.jsonl")
    assert (result.exit_code, count(db, Account)) == (1, 0)
    assert "Traceback" not in result.output


def test_two_runs_make_different_buyers(app: Flask, db: Database, tmp_path: Path) -> None:
    for name in ("a", "b"):
        answer(app, "new-buyers", "--count", 3, "--out", tmp_path / name)
    assert count(db, Account) == 6


def test_an_operator_credits_a_wallet(app: Flask, db: Database) -> None:
    customer = make_accounts(db, balance_minor=100)[0]
    credit = ("credit", "--email", customer.email.upper(), "--amount-minor", 250)
    assert answer(app, *credit)["balance_minor"] == 350
    assert db.read(wallet.get, customer.id).balance_minor == 350


def test_credit_for_nobody_is_refused(app: Flask) -> None:
    assert (
        refusal(app, "credit", "--email", "nobody@example.com", "--amount-minor", 1) == "not_found"
    )


def test_a_new_account_signs_in_with_the_password_from_standard_input(
    app: Flask, db: Database
) -> None:
    new = ("new-account", "--email", "Door@Example.com", "--name", "Dana", "--role", "door")
    made = answer(app, *new, typed="correct horse\n")
    assert (made["email"], made["role"]) == ("door@example.com", "door")
    with app.app_context():
        sessions.sign_in(app.extensions["jari"], "door@example.com", "correct horse")


def test_a_new_account_is_refused_with_its_reason(app: Flask, db: Database) -> None:
    new = ("new-account", "--name", "Dana", "--email")
    assert refusal(app, *new, "dana@example.com", typed="short\n") == "invalid"
    assert refusal(app, *new, "dana", typed="long enough\n") == "invalid"
    answer(app, *new, "dana@example.com", typed="long enough\n")
    assert refusal(app, *new, "dana@example.com", typed="long enough\n") == "email_taken"
    assert count(db, Account) == 1


def test_what_the_commands_write_bears_verifying(app: Flask, tmp_path: Path) -> None:
    answer(app, "demo")
    answer(app, "new-sale", "--seats", 500)
    answer(app, "new-buyers", "--count", 20, "--out", tmp_path / "buyers.jsonl")
    answer(app, "credit", "--email", "buyer@example.com", "--amount-minor", 5)
    assert answer(app, "verify")["ok"]


def test_no_command_takes_a_secret_as_an_argument() -> None:
    names = {param.name for command in COMMANDS for param in command.params}
    assert not {name for name in names if "password" in str(name) or "token" in str(name)}
