"""A crowd at one process: holds of a moment share a transaction, and everybody hears his own outcome."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from sqlalchemy import select

from tests.builders import enter, make_accounts, make_sale
from tests.conftest import config_for, dispose
from tests.races.soundness import assert_sound
from webapp import create_app
from webapp.domain import catalogue, seatmap
from webapp.domain.errors import Refusal
from webapp.domain.model import JournalEntry
from webapp.domain.waiting_room import Pass
from webapp.web import actions
from webapp.web.choosing import Wish
from webapp.web.house import House

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
            start.wait(10)
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
    db.transact(catalogue.set_paused, sale, organiser.id, True)

    def ask(number: int) -> str:
        try:
            actions.place_hold(house, people[number], Wish((places[number].label,)))
        except Refusal as refusal:
            return refusal.code
        return "held"

    with ThreadPoolExecutor(CROWD) as pool:
        assert set(pool.map(ask, range(CROWD))) == {"sale_paused"}
    assert seatmap.HELD not in db.lookup(seatmap.states, sale)
