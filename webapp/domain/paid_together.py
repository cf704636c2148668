"""Several customers' payments in one transaction: what a crowd pays at the same moment.

A group's payments cost hardly more exchanges with the database than one. Promises:

1. Each payment, its tickets, its movement, its kept answer and its journal entry are exactly as
   `bookings.pay` under `idempotency.keyed` would make them.
2. Only the plain case is done here: everybody's stay goes on, his hold lives and has all its seats, his
   wallet has the money, and nobody was first with his key. Whoever cannot pay so simply is named and
   nothing is stored; `bookings.pay` has the words for him.
3. Rows are locked in the order of their keys, table by table as `bookings.pay` does, so that groups and
   single payments do not lock each other up.

On PostgreSQL, for customers of one sale who are all different.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from webapp.db import Tx
from webapp.domain import bookings, holds, idempotency, seats, waiting_room, wallet
from webapp.domain.bookings import Booked, Payment
from webapp.domain.holds import Held
from webapp.domain.idempotency import Answer, Request
from webapp.domain.together import NotTogether
from webapp.domain.waiting_room import Pass
from webapp.domain.wallet import Movement


@dataclass(frozen=True, slots=True)
class Payer:
    """Somebody who pays: his keyed request, his stay, and what the payment will write."""

    request: Request
    admitted: Pass
    payment: Payment

    @property
    def hold_id(self) -> uuid.UUID:
        """What he pays."""
        return self.payment.hold_id


def pay_together(
    tx: Tx, performance_id: int, group: Sequence[Payer], answer: Callable[[Booked], Answer]
) -> list[Answer]:
    """Do `bookings.pay` for customers of one sale, and keep the `answer` to each under his key.

    Raises NotTogether naming those who cannot pay so simply.
    """
    first_used_from, helds = _close_holds(tx, group)
    bookeds = {
        one.hold_id: bookings.make_booked(tx, one.payment, helds[one.hold_id]) for one in group
    }
    sold = seats.sell_together(
        tx,
        performance_id,
        [
            (ticket.seat_no, hold_id, ticket.id)
            for hold_id, booked in bookeds.items()
            for ticket in booked.tickets
        ],
    )
    _all_or_apart(
        group, lambda one: all(ticket.id in sold for ticket in bookeds[one.hold_id].tickets)
    )
    _spend(tx, group, helds)
    bookings.store_together(tx, bookeds)
    answers = [(one.request, answer(bookeds[one.hold_id])) for one in group]
    kept = idempotency.keep_together(tx, answers)
    _all_or_apart(group, lambda one: one.request in kept)
    for one in group:
        tx.next_one()
        waiting_room.note_place(tx, one.admitted, first_used_from[one.admitted.entry_id])
        bookings.record_paid(tx, one.payment, helds[one.hold_id], bookeds[one.hold_id])
    return [given for _, given in answers]


def _close_holds(
    tx: Tx, group: Sequence[Payer]
) -> tuple[dict[uuid.UUID, str | None], dict[uuid.UUID, Held]]:
    """End everybody's stay and hold; return from where the stays were used first, and the holds."""
    ended = waiting_room.end_paid_together(tx, [one.admitted for one in group])
    counted = bookings.count_bought_together(tx, [(one.admitted, one.hold_id) for one in group])
    _all_or_apart(
        group,
        lambda one: one.admitted.entry_id in ended and one.admitted.account_id in counted,
    )
    # From here on everybody's hold is his own, and no other's.
    helds = holds.close_paid_together(tx, {one.hold_id: one.admitted for one in group})
    _all_or_apart(group, lambda one: one.hold_id in helds)
    return ended, helds


def _spend(tx: Tx, group: Sequence[Payer], helds: dict[uuid.UUID, Held]) -> None:
    movements = [
        (
            one.admitted.account_id,
            Movement(
                one.payment.ledger_id,
                "spend",
                -helds[one.hold_id].total_minor,
                one.payment.booking_id,
                tx.now,
            ),
        )
        for one in group
    ]
    rich = wallet.spend_together(tx, movements)
    _all_or_apart(group, lambda one: one.admitted.account_id in rich)


def _all_or_apart(group: Sequence[Payer], fits: Callable[[Payer], bool]) -> None:
    others = {one.hold_id for one in group if not fits(one)}
    if others:
        raise NotTogether(others)
