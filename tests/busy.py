"""A sale with everything that can happen in one."""

import uuid
from datetime import timedelta

from flask import Flask

from tests.builders import Customer, enter, make_accounts, make_sale, pay, place, retire
from tests.conftest import AdvancingClock
from webapp.db import Database, new_id
from webapp.domain import (
    admission,
    bookings,
    holds,
    lottery,
    pace,
    rooms,
    sales,
    tickets,
    waiting_room,
    wallet,
)
from webapp.domain.bookings import Booked
from webapp.domain.waiting_room import Arrival, Pass
from webapp.web import actions


def cancel(db: Database, booked: Booked) -> None:
    db.transact(bookings.cancel, booked, new_id())


def scan(db: Database, booked: Booked) -> None:
    for ticket in booked.tickets:
        db.transact(tickets.scan, booked.performance_id, ticket.code)


def queue(db: Database, customer: Customer, sale: int) -> uuid.UUID:
    """Join a waiting room; return the entry."""
    arrival = Arrival(new_id(), sale, customer.id)
    return db.transact(
        waiting_room.join, arrival, instead={"uq_queue_entry_stay": waiting_room.rejoin}
    )[0].entry_id


def sweep(db: Database) -> None:
    db.transact(holds.expire, db.read(holds.find_expired, 100))


def usher(db: Database, sale: int) -> None:
    db.transact(admission.number_newcomers, sale)
    db.transact(admission.admit, sale)
    retire(db, sale)


def play(app: Flask, db: Database, clock: AdvancingClock) -> None:
    """A sale with everything that can happen in one, in three performances."""
    house = app.extensions["jari"]
    gala = make_sale(db, seats=60, blocked=[0, 59], session_seconds=900)
    matinee = make_sale(db, seats=30)
    rush = make_sale(db, seats=30, capacity=2, session_seconds=120)
    organiser = make_accounts(db, role="organiser")[0]
    own = make_sale(db, seats=10, organiser=organiser)
    for paused in (True, False):
        db.transact(sales.set_paused, own, organiser.id, paused)
    db.transact(sales.set_single_seat_rule, own, organiser.id, "lenient")
    anna, ben, cho, dora, emil, fay, gus, hana = make_accounts(db, 8)
    poor = make_accounts(db, balance_minor=0)[0]
    db.transact(wallet.top_up, poor.id, new_id(), 5_000)

    inside = enter(db, anna, gala)
    place(db, inside, [1, 2, 3])
    pay(db, inside, place(db, inside, [3, 4]))  # replaced: 1 and 2 free, 3 kept
    cancelled = pay(db, again := enter(db, anna, gala), place(db, again, [1]))
    cancel(db, cancelled)
    scan(db, pay(db, again := enter(db, poor, gala), place(db, again, [2])))

    late = enter(db, ben, gala, 900)
    place(db, late, [10, 11, 12])
    robbed = enter(db, cho, gala)
    place(db, robbed, [20, 21])
    clock.advance(301)
    thief = enter(db, dora, gala)
    stolen = place(db, thief, [12, 13, 20])  # from two dead holds
    place(db, late, [10, 14])  # replaces a hold that died, 12 is another's by now
    sweep(db)
    pay(db, thief, stolen)
    actions.leave(house, ben.id, gala)
    given_up = place(db, staying := enter(db, emil, matinee), [5, 6])
    db.transact(holds.release, given_up.id, emil.id)
    place(db, staying, [6, 7])

    entries = [queue(db, customer, rush) for customer in (anna, ben, cho, dora, emil)]
    usher(db, rush)
    actions.leave(house, cho.id, rush)
    first = Pass(entries[0], rush, anna.id)
    pay(db, first, place(db, first, [0, 1, 2]))
    clock.advance(121)
    usher(db, rush)
    queue(db, ben, rush)
    usher(db, rush)
    clock.advance(1_000)
    retire(db, gala)
    place(db, enter(db, fay, matinee), [6])  # from a hold that nobody swept
    enter(db, gus, matinee)
    place(db, enter(db, hana, gala), [30, 31])
    steer(db, clock)


def steer(db: Database, clock: AdvancingClock) -> None:
    """A waiting room with a lottery, guests, a shared access and a house that is not well."""
    early = clock.now() - timedelta(seconds=1)
    organiser = make_accounts(db, role="organiser")[0]
    sale = make_sale(
        db, seats=20, capacity=2, opens_in=60, prequeue_opens_at=early, organiser=organiser
    )
    mine = (sale, organiser.id)
    db.transact(rooms.change, *mine, {"beacon_source": "the weather", "idle_seconds": 600})
    db.transact(lottery.seal, sale, b"s" * 32)
    people = make_accounts(db, 4)
    entries = [queue(db, person, sale) for person in people]
    for work in (rooms.invite, rooms.disinvite, rooms.invite):
        db.transact(work, *mine, people[3].email)
    clock.advance(61)
    db.transact(lottery.close, sale)
    db.transact(lottery.set_beacon, *mine, "rain")
    db.transact(lottery.draw, sale)
    db.transact(
        admission.number_in_order, sale, 0, lottery.order_of(*db.read(lottery.read_drawn, sale)[1])
    )
    usher(db, sale)
    for place_of_use, seat_no in (("here", 1), ("there", 2)):
        place(db, Pass(entries[3], sale, people[3].id, place_of_use), [seat_no])
    db.transact(rooms.revoke, *mine, people[3].email)
    process = uuid.uuid4()
    db.transact(pace.report, process, pace.Health(100, 50, 0, 10))
    db.transact(pace.adjust)
    clock.advance(61)
