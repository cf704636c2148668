"""Things a test needs, with defaults: a sale, customers, somebody who is inside, a hold."""

import itertools
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from webapp.db import Database, Tx, new_id
from webapp.domain import (
    accounts,
    admission,
    auditoriums,
    bookings,
    catalogue,
    halls,
    holds,
    sales,
    staying,
    waiting_room,
)
from webapp.domain.accounts import NewAccount
from webapp.domain.bookings import Booked, Payment
from webapp.domain.catalogue import Price
from webapp.domain.holds import Held, Offer
from webapp.domain.model import Event
from webapp.domain.waiting_room import Arrival, Pass

_counter = itertools.count(1)


@dataclass(frozen=True)
class Customer:
    """A customer with a session and, where a test wants one, a stay."""

    id: uuid.UUID
    email: str
    session: str

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.session}"}


def make_accounts(
    db: Database, count: int = 1, *, balance_minor: int = 1_000_000, role: str = "customer"
) -> list[Customer]:
    made = []
    rows = []
    for _ in range(count):
        number = next(_counter)
        token = f"session-{uuid.uuid4().hex}"
        customer = Customer(uuid.uuid4(), f"c{number}-{uuid.uuid4().hex[:6]}@example.com", token)
        made.append(customer)
        rows.append(
            NewAccount(
                customer.id,
                customer.email,
                f"Customer {number}",
                role,
                None,
                balance_minor,
                new_id(),
                accounts.digest(token),
            )
        )
    db.transact(accounts.create, rows, "KRW", timedelta(hours=12))
    return made


def make_sale(
    db: Database,
    *,
    seats: int = 100,
    price_minor: int = 1_000,
    levels: Sequence[Price] | None = None,
    opens_in: float = -60.0,
    closes_in: float = 86_400.0,
    starts_in: float = 7 * 86_400.0,
    capacity: int | None = None,
    rate_per_minute: int = 10_000,
    session_seconds: int = 600,
    hold_seconds: int = 300,
    seats_max: int = 8,
    single_seat_rule: str = "lenient",
    blocked: Sequence[int] = (),
    organiser: Customer | None = None,
    title: str = "A concert",
    description: str = "",
    slug: str | None = None,
    venue: str = "Test hall",
    auditorium: bool = False,
    room: dict[str, Any] | None = None,
    **more: Any,
) -> int:
    """Put a performance on sale (without a waiting room unless `capacity` is given); return its id."""
    organiser = organiser or make_accounts(db, role="organiser")[0]
    prices = levels or [Price("standard", "Standard", price_minor)]
    make_plan = auditoriums.plan if auditorium else halls.generate
    plan = make_plan(seats, [price.code for price in prices])

    def work(tx: Tx) -> int:
        venue_id = halls.find_or_create_venue(tx, venue)
        seatmap_id = halls.store(tx, plan, venue_id)
        event = Event(
            slug=slug or f"event-{uuid.uuid4().hex[:10]}",
            title=title,
            description=description,
            venue_id=venue_id,
            organiser_id=organiser.id,
            created_at=tx.now,
        )
        tx.session.add(event)
        tx.session.flush()
        values = {
            "event_id": event.id,
            "seatmap_id": seatmap_id,
            "currency": "KRW",
            "starts_at": tx.now + timedelta(seconds=starts_in),
            "sales_open_at": tx.now + timedelta(seconds=opens_in),
            "sales_close_at": tx.now + timedelta(seconds=closes_in),
            "capacity": capacity,
            "rate_per_minute": rate_per_minute,
            "session_seconds": session_seconds,
            "hold_seconds": hold_seconds,
            "seats_max": seats_max,
            "single_seat_rule": single_seat_rule,
        } | more
        return sales.open_performance(tx, values, prices, blocked, sales.ROOM | (room or {}))

    return db.transact(work)


def enter(
    db: Database, customer: Customer, performance_id: int, session_seconds: int = 600
) -> Pass:
    """Join and be inside at once."""
    arrival = Arrival(new_id(), performance_id, customer.id, session_seconds)
    stay, _ = db.transact(
        waiting_room.join, arrival, instead={"uq_queue_entry_stay": waiting_room.rejoin}
    )
    return Pass(stay.entry_id, performance_id, customer.id)


def offers(seat_nos: Sequence[int], price_minor: int = 1_000) -> list[Offer]:
    return [Offer(no, f"seat-{no}", price_minor) for no in sorted(seat_nos)]


def place(db: Database, admitted: Pass, seat_nos: Sequence[int], price_minor: int = 1_000) -> Held:
    def enter_and_place(tx: Tx, hold_id: uuid.UUID) -> Held:
        rules = catalogue.get_rules(tx, admitted.performance_id)
        admission = staying.enter(tx, admitted, rules)
        return holds.place(tx, admission, hold_id, offers(seat_nos, price_minor))

    return db.transact(enter_and_place, new_id())


def pay(db: Database, admitted: Pass, held: Held) -> Booked:
    return db.transact(bookings.pay, admitted, Payment(new_id(), new_id(), held.id))


def retire(db: Database, performance_id: int, reason: str = "expired") -> int:
    """Do the usher's tidying of one room; return how many turns were over for `reason`."""
    rules = db.read(catalogue.get_rules, performance_id)
    return db.transact(admission.retire, rules, reason)
