"""A crowd at one process: holds of a moment share a transaction, and everybody hears his own outcome."""

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from flask import Flask
from sqlalchemy import select

from tests.builders import enter, make_accounts, make_sale, pay, place
from tests.conftest import config_for, dispose
from tests.races.soundness import assert_sound
from webapp import create_app
from webapp.db import Busy, new_id
from webapp.domain import bookings, holds, sales, seatmap
from webapp.domain.bookings import Payment
from webapp.domain.errors import Refusal
from webapp.domain.idempotency import Answer, Request
from webapp.domain.model import JournalEntry
from webapp.domain.paid_together import Payer
from webapp.domain.seatmap import Choice
from webapp.domain.waiting_room import Pass, Stay
from webapp.web import actions, till
from webapp.web.choosing import Wish
from webapp.web.crowd import Joins, Newcomer
from webapp.web.house import House
from webapp.web.turns import Turns

CROWD = 12


@pytest.fixture
def app(postgres_url: str) -> Iterator[Flask]:
    app = create_app(config_for(postgres_url, pool_size=CROWD))
    yield app
    dispose(app)


def test_everybody_hears_his_own_outcome(app: Flask) -> None:
    house: House = app.extensions["jari"]
    db = house.db
    sale = make_sale(db, seats=200, seats_max=3)
    people = [enter(db, one, sale) for one in make_accounts(db, 5 * CROWD)]
    places = house.seatmap_of(house.sales.get(sale)).places
    start = threading.Barrier(CROWD)

    def ask(number: int) -> str:
        if number < CROWD:
            start.wait(60)
        one, first = people[number], 2 * number
        seats, admitted = [first, first + 1], one
        if number % 10 == 3:
            seats = [150, 151]  # everybody who is third wants these
        elif number % 10 == 5:
            seats = [first, first + 1, 160 + number // 2, 161 + number // 2]  # one too many
        elif number % 10 == 7:
            admitted = Pass(one.entry_id, sale, people[0].account_id)  # somebody else's stay
        wish = Wish(tuple(places[seat].label for seat in seats))
        try:
            placed = actions.place_hold(house, admitted, wish)
        except Refusal as refusal:
            return refusal.code
        assert placed.held.seat_nos == seats
        assert placed.held.account_id == one.account_id
        return "held"

    with ThreadPoolExecutor(CROWD) as pool:
        heard = list(pool.map(ask, range(len(people))))
    third = [heard[number] for number in range(3, len(people), 10)]
    assert Counter(third) == {"held": 1, "seats_taken": 5}
    assert {heard[number] for number in range(5, len(people), 10)} == {"too_many_seats"}
    assert {heard[number] for number in range(7, len(people), 10)} == {"not_admitted"}
    rest = [heard[number] for number in range(len(people)) if number % 10 not in (3, 5, 7)]
    assert set(rest) == {"held"}
    assert db.lookup(seatmap.states, sale).count(seatmap.HELD) == 2 * (len(rest) + 1)
    moments = select(JournalEntry.at).where(JournalEntry.kind == "hold_placed")
    shared = Counter(db.read(lambda tx: list(tx.execute(moments).scalars())))
    assert max(shared.values()) > 1, "nobody shared a transaction"
    assert_sound(db)


def test_a_pause_is_heard_by_the_whole_crowd(app: Flask) -> None:
    house: House = app.extensions["jari"]
    db = house.db
    [organiser] = make_accounts(db, role="organiser")
    sale = make_sale(db, organiser=organiser)
    people = [enter(db, one, sale) for one in make_accounts(db, CROWD)]
    places = house.seatmap_of(house.sales.get(sale)).places
    db.transact(sales.set_paused, sale, organiser.id, True)

    def ask(number: int) -> str:
        try:
            actions.place_hold(house, people[number], Wish((places[number].label,)))
        except Refusal as refusal:
            return refusal.code
        return "held"

    with ThreadPoolExecutor(CROWD) as pool:
        assert set(pool.map(ask, range(CROWD))) == {"sale_paused"}
    assert seatmap.HELD not in db.lookup(seatmap.states, sale)


def _keyed(account_id: uuid.UUID, key: str | None = None, body: bytes = b"") -> Request:
    digest = actions.request_digest(body)
    return Request(account_id, "POST", "/", key or uuid.uuid4().hex, digest)


@pytest.mark.failure("F8")
def test_everybody_pays_for_himself(app: Flask) -> None:
    house: House = app.extensions["jari"]
    db = house.db
    sale, other_sale = make_sale(db, seats=200), make_sale(db, seats=200)
    people = make_accounts(db, 5 * CROWD)
    people[1::10] = make_accounts(db, len(people[1::10]), balance_minor=1_999)
    asked: list[tuple[Request, Pass, uuid.UUID]] = []
    expected: list[str] = []
    for number, person in enumerate(people):
        one = enter(db, person, other_sale if number % 5 == 4 else sale)
        held, outcome = place(db, one, [3 * number, 3 * number + 1]), "paid"
        request, hold_id = _keyed(one.account_id), held.id
        if number % 10 == 1:
            outcome = "insufficient_funds"
        elif number % 10 == 3:
            db.transact(holds.release, hold_id, person.id)
            outcome = "hold_expired"
        elif number % 10 == 5:
            hold_id, outcome = new_id(), "not_found"
        elif number % 10 == 7:
            actions.pay(house, request, one, hold_id)
            request, outcome = _keyed(one.account_id), "already_booked"
        elif number % 10 == 8:
            actions.pay(house, request, one, hold_id)
            outcome = "replayed"
        elif number % 20 == 0:
            actions.top_up(house, request, 1_000)
            request = _keyed(one.account_id, request.key, b"another")
            outcome = "idempotency_key_reused"
        asked.append((request, one, hold_id))
        expected.append(outcome)
    start = threading.Barrier(CROWD)

    def ask(number: int) -> str:
        if number < CROWD:
            start.wait(60)
        try:
            answer = actions.pay(house, *asked[number])
        except Refusal as refusal:
            return refusal.code
        assert len(answer.body["tickets"]) == 2
        mine = db.read(bookings.get_own, answer.body["reference"], people[number].id)
        assert mine.performance_id == asked[number][1].performance_id
        return "replayed" if answer.replayed else "paid"

    with ThreadPoolExecutor(CROWD) as pool:
        assert list(pool.map(ask, range(len(people)))) == expected
    moments = select(JournalEntry.at).where(JournalEntry.kind == "booking_paid")
    shared = Counter(db.read(lambda tx: list(tx.execute(moments).scalars())))
    assert max(shared.values()) > 1, "nobody shared a transaction"
    assert_sound(db)


def test_what_goes_wrong_with_one_newcomer_goes_wrong_with_nobody_else(app: Flask) -> None:
    house: House = app.extensions["jari"]
    sale = make_sale(house.db, capacity=0)
    unlucky, other = make_accounts(house.db, 2)

    def check(account_id: uuid.UUID) -> None:
        if account_id == unlucky.id:
            raise Busy("throttle")  # it counts in a transaction of its own

    group = [Newcomer(sale, one.id, None, check) for one in (unlucky, other)]
    outcomes = house.joins.join_together(group)
    assert [type(outcome) for outcome in outcomes] == [Busy, Stay]


def test_twins_of_one_customer_never_meet_in_a_group() -> None:
    """One row twice in a statement is an error of everybody's in it."""

    def paying(account_id: uuid.UUID, entry_id: uuid.UUID) -> till.Asking:
        payer = Payer(
            _keyed(account_id), Pass(entry_id, 1, account_id), Payment(*(new_id() for _ in "123"))
        )
        return till.Asking(payer, lambda _: Answer(201, {}), lambda: Answer(201, {}))

    mine, stay = new_id(), new_id()
    group = [paying(mine, stay)]
    assert not till.fits(group, paying(mine, new_id()))
    assert not till.fits(group, paying(new_id(), stay))
    assert till.fits(group, paying(new_id(), new_id()))


TOUCHING: dict[str, Callable[[House, Pass], object]] = {
    "join": lambda house, one: actions.join(house, one.account_id, one.performance_id),
    "leave": lambda house, one: actions.leave(house, one.account_id, one.performance_id),
    "hold": lambda house, one: actions.place_hold(house, one, Wish(quantity=1)),
    "hold once": lambda house, one: actions.place_hold_once(
        house, _keyed(one.account_id), one, Wish(quantity=1)
    ),
    "release": lambda house, one: actions.release_hold(house, one.account_id, new_id()),
    "top up": lambda house, one: actions.top_up(house, _keyed(one.account_id), 1_000),
    "pay": lambda house, one: actions.pay(house, _keyed(one.account_id), one, new_id()),
}


@pytest.mark.parametrize("name", TOUCHING)
def test_what_changes_a_customers_rows_waits_for_his_turn(app: Flask, name: str) -> None:
    house: House = app.extensions["jari"]
    house.turns = Turns(0.01)
    house.joins = Joins(house.db, house.turns, 1.0)
    sale = make_sale(house.db)
    one, other = (enter(house.db, customer, sale) for customer in make_accounts(house.db, 2))
    with house.turns.turn(one.account_id), ThreadPoolExecutor(1) as pool:
        with pytest.raises(Busy, match="turn"):
            pool.submit(TOUCHING[name], house, one).result()
        with suppress(Refusal):
            pool.submit(TOUCHING[name], house, other).result()


def test_a_cancellation_waits_for_its_customers_turn(app: Flask) -> None:
    house: House = app.extensions["jari"]
    house.turns = Turns(0.01)
    one = enter(house.db, make_accounts(house.db)[0], make_sale(house.db))
    booked = pay(house.db, one, place(house.db, one, [1]))
    with house.turns.turn(one.account_id), pytest.raises(Busy, match="turn"):
        actions.cancel(house, _keyed(one.account_id), booked.reference)
    actions.cancel(house, _keyed(one.account_id), booked.reference)


def test_the_best_seats_are_others_than_those_somebody_is_at(app: Flask) -> None:
    house: House = app.extensions["jari"]
    sale = make_sale(house.db, seats=40)
    [one] = [enter(house.db, customer, sale) for customer in make_accounts(house.db)]
    hall = house.seatmap_of(house.sales.get(sale))
    with house.attempts.attempt(sale, lambda _: Choice(hall.places[:36], "row")):
        held = actions.place_hold(house, one, Wish(quantity=2)).held
    assert set(held.seat_nos) <= set(range(36, 40))
