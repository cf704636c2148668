"""A sale by the dice: 20 seeds, 2,000 operations each, and beside it a model that knows no database.

Everything is repeated by its seed: the clock stands still between operations, the dice choose who does what
and when, and which statement of which transaction loses a race. After each operation the answers must be the
same, and every so often everything else.
"""

import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobs import sweeper, usher
from tests.builders import Customer, make_accounts, make_sale, offers
from tests.conftest import config_for, dispose
from tests.faults import CONFLICTS, Faults
from tests.simulation.model import Model, Rules
from webapp import create_app
from webapp.clock import Clock
from webapp.db import Tx, new_id
from webapp.domain import (
    audit,
    bookings,
    catalogue,
    holds,
    leases,
    sales,
    seatmap,
    staying,
    tickets,
    waiting_room,
    wallet,
)
from webapp.domain.bookings import Booked, Payment
from webapp.domain.errors import Refusal
from webapp.domain.waiting_room import Arrival, Pass
from webapp.web import actions
from webapp.web.house import House

SEEDS, OPERATIONS = 20, 2_000
COMPARED_EVERY = 40
CUSTOMERS = 8

MIX = {
    "join": 14,
    "leave": 3,
    "place": 26,
    "release": 4,
    "pay": 16,
    "cancel": 5,
    "scan": 2,
    "top_up": 3,
    "usher": 10,
    "sweep": 4,
    "pause": 1,
    "wait": 8,
}


class StillClock(Clock):
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.at = datetime(2100, 5, 1, 12, tzinfo=UTC)  # later than any lease

    def now(self) -> datetime:
        return self.at


class Simulation:
    """The service and the model, side by side."""

    def __init__(self, house: House, seed: int) -> None:
        self.rng = random.Random(seed)
        self.house, self.db = house, house.db
        self.clock = StillClock()
        self.db.clock = self.clock
        self.faults = Faults(self.db)
        rules = Rules(
            seats=self.rng.choice([6, 20, 40]),
            price_minor=1_000,
            seats_max=self.rng.choice([2, 5]),
            hold=timedelta(seconds=60),
            session=timedelta(seconds=self.rng.choice([40, 150])),
            capacity=self.rng.choice([None, 1, 3]),
            rate=self.rng.choice([2, 100]),
        )
        self.organiser: Customer = make_accounts(self.db, role="organiser")[0]
        self.sale = make_sale(
            self.db,
            seats=rules.seats,
            price_minor=rules.price_minor,
            seats_max=rules.seats_max,
            hold_seconds=60,
            session_seconds=int(rules.session.total_seconds()),
            capacity=rules.capacity,
            rate_per_minute=rules.rate,
            closes_in=10**8,
            starts_in=10**8,
            organiser=self.organiser,
        )
        self.people = make_accounts(self.db, CUSTOMERS, balance_minor=10_000)
        self.model = Model(rules, [10_000] * CUSTOMERS)
        self.booked: dict[str, Booked] = {}
        self.session = int(rules.session.total_seconds()) if rules.capacity is None else None
        self.fences = {name: self._lead(name) for name in ("usher", "sweeper")}
        self.seen: Counter[str] = Counter()

    def _lead(self, name: str) -> int:
        fence = self.db.transact(leases.acquire, name)
        assert fence is not None
        return fence

    def run(self) -> None:
        kinds, weights = list(MIX), list(MIX.values())
        for number in range(OPERATIONS):
            [kind] = self.rng.choices(kinds, weights)
            if self.rng.random() < 0.05:
                code = self.rng.choice(CONFLICTS[self.db.writer.dialect.name])
                self.faults.at_statement(self.rng.randint(1, 6), code)
            getattr(self, kind)()
            self.faults.at_statement(10**9, "40001", times=0)
            if number % COMPARED_EVERY == 0:
                self.compare()
        self.compare()
        report = self.db.read(audit.run)
        assert report.ok, [result for result in report.results if not result.ok]

    def compare(self) -> None:
        """Everything that the model knows is what the database holds."""
        now = self.clock.now()
        assert self.db.lookup(seatmap.states, self.sale) == self.model.states(now)
        for who, person in enumerate(self.people):
            kept = self.db.lookup(wallet.get, person.id).balance_minor
            assert kept == self.model.balances[who]
            held = self.db.read(holds.find_live, self.sale, person.id)
            expected = self.model.live_hold(who, now)
            assert (held and held.id) == (expected and expected.id)
            stay = self.db.read(waiting_room.find_stay, self.sale, person.id)
            listed = self.model.listed(who)
            if stay is None:
                assert listed is None or listed.ended
            else:
                assert listed is not None
                same = (listed.id, listed.number, listed.admitted_at, listed.holds_until)
                assert (stay.entry_id, stay.number, stay.admitted_at, stay.holds_end_at) == same

    def expect(self, expected: str, work: Callable[..., Any], *arguments: Any) -> Any:
        """Do it; the answer must be the model's."""
        self.seen[expected] += 1
        try:
            answer = self.db.transact(work, *arguments)
        except Refusal as refusal:
            answer, code = None, refusal.code
        else:
            code = "ok"
        assert code == expected
        return answer

    # -- what happens

    def somebody(self) -> int:
        return self.rng.randrange(CUSTOMERS)

    def join(self) -> None:
        who = self.somebody()
        arrival = Arrival(new_id(), self.sale, self.people[who].id, self.session)
        stay, _ = self.db.transact(
            waiting_room.join, arrival, instead={"uq_queue_entry_stay": waiting_room.rejoin}
        )
        known = {one.id for one in self.model.stays}
        new = stay.entry_id if stay.entry_id not in known else arrival.entry_id
        assert stay.entry_id == self.model.join(who, new, self.clock.now())

    def leave(self) -> None:
        who = self.somebody()
        actions.leave(self.house, self.people[who].id, self.sale)
        self.model.leave(who, self.clock.now())

    def _some_pass(self) -> tuple[Any, Pass] | None:
        """A stay, mostly one that goes on, and its customer's pass."""
        if not self.model.stays:
            return None
        now, stays = self.clock.now(), self.model.stays[-2 * CUSTOMERS :]
        inside = [s for s in stays if not s.ended and s.access_until and now < s.access_until]
        stay = self.rng.choice(inside if inside and self.rng.random() < 0.8 else stays)
        return stay, Pass(stay.id, self.sale, self.people[stay.who].id)

    def place(self) -> None:
        if (found := self._some_pass()) is None:
            return
        stay, admitted = found
        quantity = self.rng.randint(1, min(3, self.model.rules.seats))
        seats = sorted(self.rng.sample(range(self.model.rules.seats), quantity))
        hold_id = new_id()
        expected = self.model.place(stay, hold_id, seats, self.clock.now())

        def work(tx: Tx) -> object:
            rules = catalogue.get_rules(tx, self.sale)
            entered = staying.enter(tx, admitted, rules)
            return holds.place(tx, entered, hold_id, offers(seats))

        held = self.expect(expected, work)
        if held is not None:
            assert held.expires_at == self.model.holds[hold_id].until

    def release(self) -> None:
        if self.model.holds:
            hold_id = self._recent(list(self.model.holds))
            who = self.model.holds[hold_id].who if self.rng.random() < 0.8 else self.somebody()
            expected = self.model.release(who, hold_id, self.clock.now())
            self.expect(expected, holds.release, hold_id, self.people[who].id)

    def _recent(self, things: list[Any]) -> Any:
        return self.rng.choice(things[-CUSTOMERS:])

    def pay(self) -> None:
        if not self.model.holds or (found := self._some_pass()) is None:
            return
        hold_id = self._recent(list(self.model.holds))
        stay, admitted = found
        if self.rng.random() < 0.8:
            hold = self.model.holds[hold_id]
            stay = next(one for one in self.model.stays if one.id == hold.stay)
            admitted = Pass(stay.id, self.sale, self.people[stay.who].id)
        expected = self.model.pay(stay, hold_id, self.clock.now())
        booked = self.expect(expected, bookings.pay, admitted, Payment(new_id(), new_id(), hold_id))
        if booked is not None:
            self.model.book(hold_id, booked.reference)
            self.booked[booked.reference] = booked

    def cancel(self) -> None:
        if self.booked:
            reference = self._recent(list(self.booked))
            expected = self.model.cancel(reference)
            self.expect(expected, bookings.cancel, self.booked[reference], new_id())

    def scan(self) -> None:
        if self.booked:
            reference = self._recent(list(self.booked))
            ticket = self.rng.choice(self.booked[reference].tickets)
            expected = self.model.scan(reference, ticket.seat_no)
            self.expect(expected, tickets.scan, self.sale, ticket.code)

    def top_up(self) -> None:
        who = self.somebody()
        amount = self.rng.randint(1, 5_000)
        self.model.balances[who] += amount
        self.expect("ok", wallet.top_up, self.people[who].id, new_id(), amount)

    def usher(self) -> None:
        assert usher.run(self.db, self.fences["usher"]) == self.model.usher(self.clock.now())

    def sweep(self) -> None:
        assert sweeper.run(self.db, self.fences["sweeper"]) == self.model.sweep(self.clock.now())

    def pause(self) -> None:
        self.model.paused = not self.model.paused
        self.expect("ok", sales.set_paused, self.sale, self.organiser.id, self.model.paused)

    def wait(self) -> None:
        self.clock.at += timedelta(seconds=self.rng.choice([0.5, 3, 10, 30, 60]))


KINDS = {seed: "postgresql" if seed % 2 else "sqlite" for seed in range(SEEDS)}


@pytest.mark.slow
@pytest.mark.failure("F1")
@pytest.mark.failure("F9")
@pytest.mark.parametrize(
    ("seed", "database_url"), KINDS.items(), indirect=["database_url"], ids=str
)
def test_the_service_does_what_the_model_does(seed: int, database_url: str) -> None:
    app = create_app(config_for(database_url))
    simulation = Simulation(app.extensions["jari"], seed)
    simulation.run()
    assert simulation.seen["ok"] > OPERATIONS // 20
    dispose(app)
