"""The transactions that make up a sale, each as a scene that can be played any number of times.

A scene is a fresh sale with its customers. Playing it returns what the customer was answered; `picture`
says what the database holds afterwards, in terms that two scenes share: no ids, no times.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from sqlalchemy import func, select

from jobs import sweeper, usher
from tests.builders import Customer, enter, make_accounts, make_sale, pay, place
from tests.conftest import AdvancingClock
from webapp.db import Database, Tx, new_id
from webapp.domain import (
    accounts,
    admission,
    bookings,
    catalogue,
    holds,
    idempotency,
    leases,
    seatmap,
    waiting_room,
    wallet,
)
from webapp.domain.accounts import NewAccount
from webapp.domain.bookings import Payment
from webapp.domain.idempotency import Answer
from webapp.domain.model import (
    Account,
    Allowance,
    Booking,
    Hold,
    IdempotencyKey,
    JournalEntry,
    LedgerEntry,
    QueueEntry,
    Ticket,
)
from webapp.domain.waiting_room import Arrival, Pass
from webapp.web import actions
from webapp.web.house import House

SEATS = 6
OPERATIONS = (
    *("join", "leave", "number", "admit", "retire"),
    *("place", "replace", "release", "expire"),
    *("pay", "cancel", "top_up", "open_account"),
)


@dataclass
class Scene:
    """One sale, one customer, and the one transaction that is played in it."""

    db: Database
    sale: int
    customer: Customer
    play: Callable[[], object]
    mark: int = 0  # the journal's last id before the play
    notes: dict[str, Any] = field(default_factory=dict)

    def picture(self) -> dict[str, Any]:
        """What the database holds of this scene."""
        return self.db.read(_picture, self)


def _picture(tx: Tx, scene: Scene) -> dict[str, Any]:
    sale, customer = scene.sale, scene.customer.id

    def rows(query: Any) -> list[Any]:
        return [tuple(row) for row in tx.execute(query)]

    return {
        "seats": seatmap.states(tx, sale),
        "entries": rows(
            select(QueueEntry.number, QueueEntry.admitted_at.is_not(None), QueueEntry.end_reason)
            .where(QueueEntry.performance_id == sale)
            .order_by(QueueEntry.joined_at)
        ),
        "allowances": rows(
            select(Allowance.seats_bought, Allowance.hold_id.is_not(None)).where(
                Allowance.performance_id == sale
            )
        ),
        "holds": rows(
            select(Hold.seats, Hold.total_minor, Hold.end_reason)
            .where(Hold.performance_id == sale)
            .order_by(Hold.placed_at)
        ),
        "wallet": wallet.get(tx, customer).balance_minor,
        "ledger": rows(
            select(LedgerEntry.kind, LedgerEntry.amount_minor)
            .where(LedgerEntry.account_id == customer)
            .order_by(LedgerEntry.at)
        ),
        "bookings": rows(
            select(Booking.total_minor, Booking.cancelled_at.is_not(None)).where(
                Booking.performance_id == sale
            )
        ),
        "tickets": rows(
            select(Ticket.seat_no, Ticket.voided_at.is_not(None))
            .where(Ticket.performance_id == sale)
            .order_by(Ticket.seat_no, Ticket.voided_at)
        ),
        "keys": rows(select(IdempotencyKey.status).where(IdempotencyKey.account_id == customer)),
        "accounts": tx.execute(
            select(func.count()).where(Account.email == scene.notes.get("email"))
        ).scalar(),
        "journal": rows(
            select(JournalEntry.kind).where(JournalEntry.id > scene.mark).order_by(JournalEntry.id)
        ),
    }


class Stage:
    """Makes scenes on one database. Nothing else may write there meanwhile."""

    def __init__(self, house: House, clock: AdvancingClock) -> None:
        self.house = house
        self.db = db = house.db
        self.clock = clock
        [self._organiser] = make_accounts(db, role="organiser")
        self._fences = {job: db.transact(leases.acquire, job) for job in ("usher", "sweeper")}

    def set(self, operation: str) -> Scene:
        """Make a scene, ready to be played."""
        scene: Scene = getattr(self, f"_{operation}")()
        scene.mark = self.db.read(
            lambda tx: tx.execute(select(func.max(JournalEntry.id))).scalar() or 0
        )
        return scene

    def _sale(self, **changes: Any) -> tuple[int, Customer]:
        [customer] = make_accounts(self.db)
        sale = make_sale(self.db, seats=SEATS, organiser=self._organiser, **changes)
        return sale, customer

    # -- the waiting room

    def _join(self) -> Scene:
        sale, customer = self._sale(capacity=10)
        arrival = Arrival(new_id(), sale, customer.id)

        def play() -> object:
            _, new = self.db.transact(
                waiting_room.join, arrival, instead={"uq_queue_entry_stay": waiting_room.rejoin}
            )
            return new

        return Scene(self.db, sale, customer, play)

    def _leave(self) -> Scene:
        sale, customer = self._sale()
        place(self.db, enter(self.db, customer, sale), [1, 2])
        return Scene(
            self.db,
            sale,
            customer,
            lambda: actions.leave(self.house, customer.id, sale).status,
        )

    def _number(self) -> Scene:
        sale, customer = self._queue()
        return self._job(sale, customer, admission.number_newcomers, sale)

    def _admit(self) -> Scene:
        sale, customer = self._queue()
        self.db.transact(admission.number_newcomers, sale)
        return self._job(sale, customer, admission.admit, sale)

    def _retire(self) -> Scene:
        sale, customer = self._sale(session_seconds=60)
        enter(self.db, customer, sale, session_seconds=60)
        self.clock.advance(61)
        return self._job(
            sale, customer, admission.retire, self.db.read(catalogue.get_rules, sale), "expired"
        )

    def _queue(self) -> tuple[int, Customer]:
        """Make a room for one, with two who wait."""
        sale, customer = self._sale(capacity=1)
        for person in [customer, *make_accounts(self.db)]:
            self.db.transact(waiting_room.join, Arrival(new_id(), sale, person.id))
        return sale, customer

    def _job(self, sale: int, customer: Customer, work: Callable[..., int], *args: object) -> Scene:
        play = partial(self.db.transact, usher._fenced, self._fences["usher"], work, *args)
        return Scene(self.db, sale, customer, play)

    # -- holds

    def _place(self) -> Scene:
        sale, customer = self._sale()
        admitted = enter(self.db, customer, sale)
        return Scene(self.db, sale, customer, lambda: self._placed(admitted, [2, 3]))

    def _replace(self) -> Scene:
        sale, customer = self._sale()
        admitted = enter(self.db, customer, sale)
        self._placed(admitted, [1, 2])
        return Scene(self.db, sale, customer, lambda: self._placed(admitted, [2, 3]))

    def _placed(self, admitted: Pass, seat_nos: list[int]) -> object:
        held = place(self.db, admitted, seat_nos)
        return held.seats, held.total_minor

    def _release(self) -> Scene:
        sale, customer = self._sale()
        held = place(self.db, enter(self.db, customer, sale), [1, 2])
        return Scene(
            self.db, sale, customer, lambda: self.db.transact(holds.release, held.id, customer.id)
        )

    def _expire(self) -> Scene:
        sale, customer = self._sale(hold_seconds=60)
        place(self.db, enter(self.db, customer, sale), [1, 2])
        self.clock.advance(61)
        found = self.db.read(holds.find_expired, 10)
        play = partial(self.db.transact, sweeper._expire, self._fences["sweeper"], found)
        return Scene(self.db, sale, customer, play)

    # -- money

    def _pay(self) -> Scene:
        sale, customer = self._sale()
        admitted = enter(self.db, customer, sale)
        held = place(self.db, admitted, [1, 2])
        payment = Payment(new_id(), new_id(), held.id)

        def pay_keyed(tx: Tx) -> Answer:
            booked = bookings.pay(tx, admitted, payment)
            seats = [ticket.seat_no for ticket in booked.tickets]
            return Answer(201, {"total_minor": booked.total_minor, "seats": seats})

        return Scene(self.db, sale, customer, self._keyed(customer, "/bookings", pay_keyed))

    def _cancel(self) -> Scene:
        sale, customer = self._sale()
        admitted = enter(self.db, customer, sale)
        booked = pay(self.db, admitted, place(self.db, admitted, [1, 2]))

        def play() -> object:
            cancelled = self.db.transact(bookings.cancel, booked, new_id())
            return cancelled.refund_minor

        return Scene(self.db, sale, customer, play)

    def _top_up(self) -> Scene:
        sale, customer = self._sale()
        ledger_id = new_id()

        def top_up(tx: Tx) -> Answer:
            balance = wallet.top_up(tx, customer.id, ledger_id, 500)
            return Answer(201, {"balance_minor": balance.balance_minor})

        return Scene(self.db, sale, customer, self._keyed(customer, "/wallet/top-ups", top_up))

    def _keyed(
        self, customer: Customer, path: str, work: Callable[[Tx], Answer]
    ) -> Callable[[], object]:
        request = idempotency.Request(customer.id, "POST", path, uuid.uuid4().hex, b"same")

        def play() -> object:
            answer = self.db.transact(
                idempotency.keyed(request, work),
                instead={idempotency.CONSTRAINT: idempotency.replay(request, work)},
            )
            return answer.status, answer.body

        return play

    def _open_account(self) -> Scene:
        sale, customer = self._sale()
        email = f"new-{uuid.uuid4().hex}@example.com"
        session = accounts.digest(uuid.uuid4().hex)
        new = NewAccount(
            new_id(),
            email,
            "New",
            balance_minor=5,
            ledger_id=new_id(),
            session_digest=session,
        )
        lifetime = timedelta(hours=1)
        play = partial(self.db.transact, accounts.create, [new], "KRW", lifetime)
        return Scene(self.db, sale, customer, play, notes={"email": email})
