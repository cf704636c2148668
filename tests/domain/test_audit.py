"""The audit: silent after a busy sale, and loud about every kind of lie.

A lie is planted below the domain, by direct SQL or as a forged history (`Chronicle`) in which journal and
tables tell the same wrong story. Each must fail the check that is there for it, and no other.
"""

import json
import random
import re
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from tests.builders import Customer, enter, make_accounts, make_sale, pay, place
from tests.busy import cancel, play, sweep
from tests.chronicle import Chronicle, Row
from tests.conftest import AdvancingClock, config_for, dispose
from webapp import create_app
from webapp.db import Database, Tx, new_id
from webapp.domain import admission, audit, lottery, waiting_room
from webapp.domain.audit.facts import Tally
from webapp.domain.bookings import Booked
from webapp.domain.errors import Refusal
from webapp.domain.model import (
    Booking,
    Hold,
    LedgerEntry,
    Lottery,
    QueueEntry,
    Seat,
    Ticket,
    Wallet,
)
from webapp.domain.waiting_room import Arrival
from webapp.web import actions


def test_a_busy_sale_is_clean(app: Flask, db: Database, clock: AdvancingClock) -> None:
    play(app, db, clock)
    report = db.read(audit.run)
    assert [result for result in report.results if not result.ok] == []
    idle = {result.name for result in report.results if not result.checked}
    assert not idle, "the scene must give every check something to do"


def test_an_empty_house_is_clean(app: Flask) -> None:
    assert app.test_cli_runner().invoke(args=["verify"]).exit_code == 0


# -- lies ---------------------------------------------------------------------------------------


@dataclass
class Scene:
    """A real sale, and a performance whose history is forged."""

    db: Database
    clock: AdvancingClock
    sale: int
    customer: Customer
    booked: Booked
    forged: Chronicle
    stay: Row

    def change(self, *statements: Any, without: str = "") -> None:
        """Change the tables behind everybody's back, `without` one of the constraints on seats."""
        with self.db.writer.connect() as connection, connection.begin():
            if without and self.db.is_sqlite:
                connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
            elif without:
                connection.exec_driver_sql(f"ALTER TABLE seat DROP CONSTRAINT {without}")
            for statement in statements:
                assert connection.execute(statement).rowcount == 1
            if self.db.is_sqlite:
                connection.exec_driver_sql("PRAGMA ignore_check_constraints = OFF")


@pytest.fixture
def scene(app: Flask, db: Database, clock: AdvancingClock) -> Scene:
    sale = make_sale(db, seats=20, blocked=[19], session_seconds=900)
    customer = make_accounts(db)[0]
    inside = enter(db, customer, sale)
    booked = pay(db, inside, place(db, inside, [1, 2]))
    place(db, enter(db, customer, sale, 900), [5])
    forged = Chronicle({make_sale(db, seats=20): 20}, db.clock.now())
    account = forged.open_accounts(1, balance_minor=100_000)[0]
    stay = forged.join(next(iter(forged.numbers)), account, session_seconds=600)
    return Scene(db, clock, sale, customer, booked, forged, stay)


def drawn(scene: Scene) -> tuple[int, list[uuid.UUID]]:
    """Draw a lottery among three; return the performance and the entries in the order drawn."""
    db, now = scene.db, scene.db.clock.now()
    sale = make_sale(db, capacity=0, prequeue_opens_at=now - timedelta(seconds=9), opens_in=60)
    db.transact(lottery.seal, sale, b"s" * 32)
    for person in make_accounts(db, 3):
        db.transact(waiting_room.join, Arrival(new_id(), sale, person.id))
    scene.clock.advance(61)
    db.transact(lottery.close, sale)
    db.transact(lottery.draw, sale)
    return sale, lottery.order_of(*db.read(lottery.read_drawn, sale)[1])


Lie = Callable[[Scene], None]
LIES: dict[str, Lie] = {}
# The journal tells what these checks prove from another side, so no lie deceives it alone.
ALSO = {"spends": ["journal_ledger"], "live_holds": ["journal_handovers"]}


def lie(about: Lie) -> Lie:
    """Register a lie under the name of the check that must notice it."""
    LIES[about.__name__] = about
    return about


@lie
def journal_readable(scene: Scene) -> None:
    scene.forged.record("seat_eaten", seat_no=1)


@lie
def journal_handovers(scene: Scene) -> None:
    """A release of a seat that nobody had: the end is the same, the way there was not lawful."""
    scene.forged.record("holds_expired", holds=[], freed={str(scene.sale): [9]})


@lie
def journal_seats(scene: Scene) -> None:
    blocked = (Seat.performance_id == scene.sale) & Seat.blocked
    scene.change(update(Seat).where(blocked).values(blocked=False))


@lie
def journal_performances(scene: Scene) -> None:
    scene.forged.record("performance_opened", performance_id=999, seat_count=0, blocked=[])


@lie
def journal_lotteries(scene: Scene) -> None:
    """Another source of chance than was promised."""
    drawn(scene)
    scene.change(update(Lottery).values(beacon_source="my own coin"))


@lie
def lotteries(scene: Scene) -> None:
    """Somebody's friend was put first when the numbers were given."""
    sale, entries = drawn(scene)
    scene.db.transact(admission.number_in_order, sale, 0, entries[::-1])


@lie
def journal_stays(scene: Scene) -> None:
    paid = QueueEntry.end_reason == "paid"
    earlier = scene.booked.paid_at - timedelta(seconds=1)
    scene.change(update(QueueEntry).where(paid).values(joined_at=earlier))


@lie
def journal_holds(scene: Scene) -> None:
    live = Hold.ended_at.is_(None)
    scene.change(update(Hold).where(live).values(placed_at=scene.booked.paid_at))


@lie
def journal_bookings(scene: Scene) -> None:
    scene.change(update(Booking).values(reference="ANOTHER2"))


@lie
def journal_tickets(scene: Scene) -> None:
    one = Ticket.id == scene.booked.tickets[0].id
    scene.change(update(Ticket).where(one).values(scanned_at=scene.booked.paid_at))


@lie
def journal_wallets(scene: Scene) -> None:
    mine = Wallet.account_id == scene.customer.id
    scene.change(update(Wallet).where(mine).values(currency="EUR"))


@lie
def journal_ledger(scene: Scene) -> None:
    """More money, in wallet and ledger alike."""
    mine = Wallet.account_id == scene.customer.id
    first = (LedgerEntry.account_id == scene.customer.id) & (LedgerEntry.kind == "top_up")
    scene.change(
        update(Wallet).where(mine).values(balance_minor=Wallet.balance_minor + 1),
        update(LedgerEntry).where(first).values(amount_minor=LedgerEntry.amount_minor + 1),
    )


@lie
def live_holds(scene: Scene) -> None:
    """A hold that charges for a seat twice."""
    scene.forged.place(scene.stay, [(3, 1_000), (3, 1_000)])


@lie
def allowances_held(scene: Scene) -> None:
    """Paying this hold would count one seat too few against the customer's limit."""
    scene.forged.place(scene.stay, [(3, 1_000), (4, 1_000)])
    next(iter(scene.forged.allowances.values()))["seats_held"] = 1


@lie
def bookings_as_held(scene: Scene) -> None:
    hold = scene.forged.place(scene.stay, [(3, 1_000), (4, 1_000)])
    scene.forged.pay(hold, scene.stay, prices=[900, 1_100])


@lie
def capacity(scene: Scene) -> None:
    del scene.forged.seats[scene.stay["performance_id"], 12]


@lie
def one_owner(scene: Scene) -> None:
    """A seat that was taken from a dead hold and sold, given to the dead hold as well."""
    first, second = make_accounts(scene.db, 2)
    dead = place(scene.db, enter(scene.db, first, scene.sale), [7])
    scene.clock.advance(301)
    inside = enter(scene.db, second, scene.sale)
    pay(scene.db, inside, place(scene.db, inside, [7]))
    scene.change(
        update(Seat)
        .where(Seat.performance_id == scene.sale, Seat.seat_no == 7)
        .values(hold_id=dead.id, held_until=dead.expires_at),
        without="ck_seat_one_owner",
    )


@lie
def sold_seats(scene: Scene) -> None:
    booking = scene.forged.pay(scene.forged.place(scene.stay, [(3, 1_000)]), scene.stay)
    scene.forged.cancel(booking, free=False)


@lie
def held_seats(scene: Scene) -> None:
    hold = scene.forged.place(scene.stay, [(3, 1_000)])
    scene.forged.now += timedelta(seconds=301)
    scene.forged.expire([hold], free=False)


@lie
def bookings_of_holds(scene: Scene) -> None:
    hold = scene.forged.place(scene.stay, [(3, 1_000)])
    scene.forged.pay(hold, scene.stay, currency="EUR")


@lie
def booking_totals(scene: Scene) -> None:
    hold = scene.forged.place(scene.stay, [(3, 1_000), (4, 1_000)], total_minor=1_900)
    scene.forged.pay(hold, scene.stay)


@lie
def spends(scene: Scene) -> None:
    """Paid too little."""
    mine = Wallet.account_id == scene.customer.id
    spent = LedgerEntry.kind == "spend"
    scene.change(
        update(Wallet).where(mine).values(balance_minor=Wallet.balance_minor + 500),
        update(LedgerEntry).where(spent).values(amount_minor=LedgerEntry.amount_minor + 500),
    )


@lie
def refunds(scene: Scene) -> None:
    booking = scene.forged.pay(scene.forged.place(scene.stay, [(3, 1_000)]), scene.stay)
    scene.forged.cancel(booking, refund_minor=999)


@lie
def balances(scene: Scene) -> None:
    mine = Wallet.account_id == scene.customer.id
    scene.change(update(Wallet).where(mine).values(balance_minor=Wallet.balance_minor + 1))


@lie
def allowances(scene: Scene) -> None:
    scene.forged.place(scene.stay, [(3, 1_000)])
    next(iter(scene.forged.allowances.values()))["seats_bought"] = 1


@lie
def numbers(scene: Scene) -> None:
    scene.forged.numbers[scene.stay["performance_id"]] = 1


@lie
def stays(scene: Scene) -> None:
    """Access that expired for somebody who never came in."""
    account = scene.forged.open_accounts(1)[0]
    waiting = scene.forged.join(scene.stay["performance_id"], account)
    scene.forged.retire(scene.stay["performance_id"], [waiting], "expired")


@lie
def holds_of_stays(scene: Scene) -> None:
    """Somebody left and kept his seats."""
    scene.forged.place(scene.stay, [(3, 1_000)])
    scene.forged.leave(scene.stay)


@lie
def references(scene: Scene) -> None:
    """A wallet without an owner."""
    scene.forged.open_accounts(1)
    scene.forged.accounts.pop()


@pytest.mark.parametrize("name", LIES)
def test_a_lie_fails_its_check_and_no_other(app: Flask, scene: Scene, name: str) -> None:
    LIES[name](scene)
    scene.forged.write(scene.db)
    result = app.test_cli_runner().invoke(args=["verify", "--json"])
    assert result.exit_code == 1
    checks = {check["name"]: check for check in json.loads(result.stdout)["checks"]}
    failed = {name for name, check in checks.items() if not check["ok"]}
    assert failed == {name, *ALSO.get(name, ())}
    assert checks[name]["differences"]


def test_every_check_is_lied_to(app: Flask, db: Database) -> None:
    assert set(LIES) == {result.name for result in db.read(audit.run).results}


def test_a_forged_history_that_tells_no_lie_is_clean(app: Flask, scene: Scene) -> None:
    scene.forged.write(scene.db)
    assert scene.db.read(audit.run).ok


def failed(scene: Scene) -> dict[str, tuple[str, ...]]:
    """Write the forged history; return what the audit finds."""
    scene.forged.write(scene.db)
    results = scene.db.read(audit.run).results
    return {result.name: result.differences for result in results if not result.ok}


@pytest.mark.failure("F2")
def test_a_booking_from_an_expired_hold_is_found(scene: Scene) -> None:
    hold = scene.forged.place(scene.stay, [(3, 1_000)], lifetime_seconds=10)
    scene.forged.now += timedelta(seconds=10)
    scene.forged.pay(hold, scene.stay)
    assert set(failed(scene)) == {"journal_handovers", "bookings_of_holds"}


@pytest.mark.failure("F7")
def test_a_seat_given_to_two_is_found_although_one_of_them_gave_it_back(scene: Scene) -> None:
    performance_id = scene.stay["performance_id"]
    scene.forged.place(scene.stay, [(3, 1_000)])
    other = scene.forged.open_accounts(1)[0]
    scene.forged.place(scene.forged.join(performance_id, other, 600), [(3, 1_000)])
    found = failed(scene)
    assert set(found) == {"journal_handovers", "live_holds"}
    holder, thief = (hold["id"] for hold in scene.forged.holds)
    assert found["journal_handovers"][0].startswith(
        f"seat {performance_id}/3 was taken by hold {thief} while held by {holder} until "
    )


def test_differences_name_both_sides(scene: Scene) -> None:
    hold = scene.forged.place(scene.stay, [(3, 1_000)])
    scene.forged.release(hold)
    hold["end_reason"] = "expired"
    assert failed(scene) == {
        "journal_holds": (
            f"hold {hold['id']} ended: end_reason is released in the journal, expired in the table",
        )
    }


def test_what_one_side_never_heard_of_is_named(scene: Scene) -> None:
    ledger_id = new_id()
    scene.forged.record(
        "wallet_topped_up",
        account_id=str(scene.customer.id),
        ledger_id=str(ledger_id),
        amount_minor=7,
    )
    [difference] = failed(scene)["journal_ledger"]
    assert difference.startswith(f"ledger entry {ledger_id} moved: one too many in the journal (")
    assert f"account_id {scene.customer.id}, kind top_up, amount_minor 7" in difference


def test_a_million_lies_are_not_all_told(app: Flask, scene: Scene) -> None:
    for _ in range(30):
        scene.forged.record("seat_eaten")
    scene.forged.write(scene.db)
    result = app.test_cli_runner().invoke(args=["verify", "--shown", "7"])
    assert result.exit_code == 1
    assert result.stdout.count("of a kind that nobody knows: seat_eaten") == 7
    assert "and more" in result.stdout
    assert re.search(r"^FAILED +journal_readable", result.stdout, re.MULTILINE)
    assert "1 of 29 checks FAILED" in result.stdout


def test_an_entry_without_its_facts_does_not_stop_the_audit(scene: Scene) -> None:
    scene.forged.record("hold_placed", performance_id=scene.sale)
    scene.forged.record("booking_paid", tickets=3)
    scene.forged.record("queue_retired", entries=[None], reason="expired")
    found = failed(scene)
    assert set(found) == {"journal_readable"}
    assert len(found["journal_readable"]) == 3


def test_more_differences_than_are_shown_come_in_pairs(scene: Scene) -> None:
    stays = [
        scene.forged.join(scene.stay["performance_id"], account)
        for account in scene.forged.open_accounts(50)
    ]
    for stay in stays:
        stay["joined_at"] += timedelta(seconds=1)
    scene.forged.write(scene.db)
    [result] = [r for r in scene.db.read(audit.run, 10).results if not r.ok]
    assert len(result.differences) == 10
    assert result.more
    assert all(" joined: joined_at is " in difference for difference in result.differences)


def test_a_hold_whose_seats_are_nonsense_does_not_stop_the_audit(scene: Scene) -> None:
    scene.change(update(Hold).where(Hold.ended_at.is_(None)).values(seats={"no": "list"}))
    assert set(failed(scene)) == {"journal_holds", "live_holds"}


def test_swapped_values_never_cancel_out() -> None:
    for _ in range(2_000):
        booking = uuid.uuid4().hex
        tally = Tally()
        for seat_no, price_minor in ((3, 1_000), (4, 1_000)):
            tally.put((booking, "has", 1, seat_no, price_minor))
        for seat_no, price_minor in ((3, 900), (4, 1_100)):
            tally.take((booking, "has", 1, seat_no, price_minor))
        assert tally.suspects()


# -- the snapshot -------------------------------------------------------------------------------


@pytest.mark.race
def test_the_audit_is_right_while_people_buy(database_url: str) -> None:
    app = create_app(config_for(database_url, pool_size=6))
    db: Database = app.extensions["jari"].db
    sales = [make_sale(db, seats=12, hold_seconds=1, session_seconds=3) for _ in range(2)]
    crowd = make_accounts(db, 4)
    over = threading.Event()
    reports = []

    def buy(customer: Customer, seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(25):
            sale = rng.choice(sales)
            try:
                inside = enter(db, customer, sale)
                held = place(db, inside, rng.sample(range(12), 2))
                held = place(db, inside, rng.sample(range(12), 2))
                if rng.random() < 0.6:
                    cancel(db, pay(db, inside, held))
            except Refusal:
                actions.leave(app.extensions["jari"], customer.id, sale)
            sweep(db)

    def look() -> None:
        while not over.is_set():
            reports.append(db.read(audit.run))

    with ThreadPoolExecutor(len(crowd) + 1) as threads:
        looking = threads.submit(look)
        try:
            for errand in [threads.submit(buy, who, seed) for seed, who in enumerate(crowd)]:
                errand.result()
        finally:
            over.set()
        looking.result()
    reports.append(db.read(audit.run))
    dispose(app)
    assert len(reports) > 2
    assert [result for report in reports for result in report.results if not result.ok] == []


def test_the_audit_may_take_longer_than_a_request_and_nobody_else_may(postgres_url: str) -> None:
    app = create_app(config_for(postgres_url, pool_size=1))
    db: Database = app.extensions["jari"].db

    def timeout(tx: Tx) -> Any:
        return tx.connection.exec_driver_sql("SHOW statement_timeout").scalar()

    def audit_and_ask(tx: Tx) -> Any:
        audit.run(tx)
        return timeout(tx)

    assert (db.read(timeout), db.read(audit_and_ask), db.read(timeout)) == ("5s", "0", "5s")
    dispose(app)


def test_the_audit_changes_nothing_and_locks_nothing(scene: Scene) -> None:
    """It runs on the reader's connections, which can do neither, beside a writer in the midst."""

    def audited(tx: Tx) -> bool:
        tx.execute(update(Wallet).values(balance_minor=1))
        return scene.db.read(audit.run).ok

    assert scene.db.transact(audited)
