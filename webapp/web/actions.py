"""What a customer does, once, for both the JSON API and the pages.

Each function opens the doors of `Database` in the right order and chooses the ids that are the
witnesses of its transactions. It decides nothing itself.
"""

import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from webapp.db import Tx, new_id
from webapp.domain import (
    bookings,
    holds,
    idempotency,
    lottery,
    seatmap,
    tickets,
    waiting_room,
    wallet,
)
from webapp.domain.bookings import Booked, Payment
from webapp.domain.catalogue import Rules, Sale
from webapp.domain.errors import (
    LeavesSingleSeat,
    Refusal,
    SoldOut,
    TopUpClosed,
)
from webapp.domain.holds import Held, Offer
from webapp.domain.idempotency import Answer
from webapp.domain.paid_together import Payer
from webapp.domain.seatmap import Place, Seatmap
from webapp.domain.together import Wanted
from webapp.domain.waiting_room import Pass, Stay
from webapp.web import choosing, shapes
from webapp.web.choosing import Wish
from webapp.web.crowd import Newcomer
from webapp.web.house import House

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Placed:
    """A hold and how close its seats are: `chosen` by the customer, or `row`, `near`, `apart`."""

    held: Held
    together: str


def join(
    house: House,
    who: uuid.UUID | bytes,
    performance_id: int,
    check: Callable[[uuid.UUID], None] = lambda _: None,
) -> tuple[Stay, bool]:
    """Put a customer into the waiting room; return the stay and whether it is new.

    `who` is an account or a session's digest; `check` raises for an account that may not join.
    """
    rules = refuse_joining(house, performance_id)
    see_sealed(house, rules)
    session_seconds = rules.session_seconds if rules.capacity is None else None
    return house.joins.join(Newcomer(performance_id, who, session_seconds, check))


def refuse_joining(house: House, performance_id: int) -> Rules:
    """Return a sale's rules if it takes newcomers; raise NotFound, SaleNotOpen, SaleClosed, SoldOut, and
    Rejected (503) for whom there is no time without a waiting room.

    From snapshots: joining reads nothing that the usher writes, and the crowd before a sold-out house
    costs the database nothing.
    """
    rules = house.sales.get(performance_id).rules
    rules.refuse_joining(house.db.clock.now())
    if house.availability.get(performance_id).sold_out:
        raise SoldOut()
    if rules.capacity is None:
        house.lateness.refuse_newcomer()
    return rules


def see_sealed(house: House, rules: Rules) -> None:
    """Have the lottery sealed before anybody takes part in it, by whoever comes or looks first if the usher is late.

    Who joined an unsealed one would have nothing to compare its seed with. The room's snapshot says whether
    it is sealed; it is read again for those behind.
    """
    early = rules.status(house.db.clock.now(), sold_out=False) == "prequeue"
    if not early or house.rooms.get(rules.id).sealed:
        return
    house.db.transact(lottery.seal, rules.id, lottery.new_seed(), instead=lottery.SEALED_ALREADY)
    house.rooms.get(rules.id, max_age_seconds=0.0)


def leave(
    house: House,
    account_id: uuid.UUID,
    performance_id: int,
    request: idempotency.Request | None = None,
) -> Answer:
    """Give up place and hold. Leaving a room that one is not in changes nothing."""
    with house.turns.turn(account_id):
        return keyed(house, request, partial(_leave, performance_id, account_id))


def _leave(performance_id: int, account_id: uuid.UUID, tx: Tx) -> Answer:
    stay = waiting_room.find_stay(tx, performance_id, account_id)
    if stay is not None and waiting_room.end(tx, stay.entry_id, account_id, "left"):
        holds.leave(tx, performance_id, account_id, stay.entry_id)
        tx.record(
            "queue_left",
            performance_id=performance_id,
            entry_id=str(stay.entry_id),
            account_id=str(account_id),
        )
    return Answer(204, {})


# -- holds --------------------------------------------------------------------------------------


def place_hold(house: House, admitted: Pass, wish: Wish) -> Placed:
    """Hold what the customer wishes; raise the refusals of `holds.place` and of choosing."""

    def decide(rules: Rules, offers: Sequence[Offer], together: str) -> Placed:
        return Placed(house.holds.place(rules, Wanted(admitted, new_id(), offers)), together)

    with house.turns.turn(admitted.account_id):
        return _place(house, admitted, wish, decide)


def place_hold_once(
    house: House, request: idempotency.Request, admitted: Pass, wish: Wish
) -> Answer:
    """Like `place_hold`, once per key."""
    hall = house.seatmap_of(house.sales.get(admitted.performance_id))

    def decide(rules: Rules, offers: Sequence[Offer], together: str) -> Answer:
        hold_id = new_id()

        def work(tx: Tx) -> Answer:
            held = holds.enter_and_place(tx, admitted, rules, hold_id, offers)
            return Answer(201, shapes.jsonable(shapes.placed_hold(held, hall, together)))

        return keyed(house, request, work)

    with house.turns.turn(admitted.account_id):
        return _place(house, admitted, wish, decide)


def _place(
    house: House, admitted: Pass, wish: Wish, decide: Callable[[Rules, Sequence[Offer], str], T]
) -> T:
    sale = house.sales.get(admitted.performance_id)
    if wish.labels:
        places = house.seatmap_of(sale).get_places(wish.labels)
        if sale.rules.single_seat_rule == "strict":
            _refuse_single_seats(house, sale, places)
        return decide(sale.rules, choosing.offers(sale, places), "chosen")
    return choosing.place_best(house, admitted, wish, sale, decide)


def _refuse_single_seats(house: House, sale: Sale, places: Sequence[Place]) -> None:
    """Keep the organiser's wish that nobody leaves a seat alone.

    Read outside the deciding transaction on purpose: the neighbours' rows would make every two
    customers of a row conflict, and a single seat that slips through harms nobody.
    """
    states = house.db.lookup(seatmap.states, sale.rules.id)
    alone = seatmap.single_seats_left(house.seatmap_of(sale), states, places)
    if alone:
        raise LeavesSingleSeat(seats=[place.label for place in alone])


def release_hold(
    house: House,
    account_id: uuid.UUID,
    hold_id: uuid.UUID,
    request: idempotency.Request | None = None,
) -> Answer:
    """Give a hold's seats back; raise the refusals of `holds.release`."""
    with house.turns.turn(account_id):
        return keyed(house, request, partial(_release, hold_id, account_id))


def _release(hold_id: uuid.UUID, account_id: uuid.UUID, tx: Tx) -> Answer:
    holds.release(tx, hold_id, account_id)
    return Answer(204, {})


# -- keyed requests -----------------------------------------------------------------------------


def keyed(
    house: House, request: idempotency.Request | None, work: Callable[[Tx], Answer]
) -> Answer:
    """Do `work` once per key, whoever comes first; without a key, each time.

    A refusal met after somebody else's success with the same key (hold already paid, by this very
    request's twin) gives that success.
    """
    if request is None:
        return house.db.transact(work)
    perform = idempotency.keyed(request, work)
    again = idempotency.replay(request, work)
    try:
        return house.db.transact(perform, instead={idempotency.CONSTRAINT: again})
    except Refusal:
        found = find_answer(house, request)
        if found is None:
            raise
        return found


def top_up(house: House, request: idempotency.Request, amount_minor: int) -> Answer:
    """Credit the customer's own wallet where self-service is open; raise TopUpClosed."""
    if not house.config.self_top_ups:
        raise TopUpClosed()
    with house.turns.turn(request.account_id):
        return keyed(house, request, partial(_top_up, request.account_id, new_id(), amount_minor))


def _top_up(account_id: uuid.UUID, ledger_id: uuid.UUID, amount_minor: int, tx: Tx) -> Answer:
    balance = wallet.top_up(tx, account_id, ledger_id, amount_minor)
    body = {"id": ledger_id, "amount_minor": amount_minor, "balance_minor": balance.balance_minor}
    return Answer(201, shapes.jsonable(body))


def pay(house: House, request: idempotency.Request, admitted: Pass, hold_id: uuid.UUID) -> Answer:
    """Pay a hold; raise the refusals of `bookings.pay`."""
    sale = house.sales.get(admitted.performance_id)
    hall = house.seatmap_of(sale)
    payer = Payer(request, admitted, Payment(new_id(), new_id(), hold_id))
    alone = partial(keyed, house, request, partial(_pay, hall, payer))
    with house.turns.turn(request.account_id):
        return house.till.pay(payer, partial(_paid, hall), alone)


def _pay(hall: Seatmap, payer: Payer, tx: Tx) -> Answer:
    return _paid(hall, bookings.pay(tx, payer.admitted, payer.payment))


def _paid(hall: Seatmap, booked: Booked) -> Answer:
    return Answer(201, shapes.jsonable(shapes.booking(booked, hall)))


def cancel(house: House, request: idempotency.Request, reference: str) -> Answer:
    """Cancel the customer's own booking; raise the refusals of `bookings.cancel`."""
    booked = house.db.read(bookings.get_own, reference, request.account_id)
    with house.turns.turn(request.account_id):
        return keyed(house, request, partial(_cancel, booked, new_id()))


def _cancel(booked: Booked, ledger_id: uuid.UUID, tx: Tx) -> Answer:
    cancelled = bookings.cancel(tx, booked, ledger_id)
    body = {"refund_minor": cancelled.refund_minor, "cancelled_at": cancelled.cancelled_at}
    return Answer(201, shapes.jsonable(body))


def scan(
    house: House, performance_id: int, code: str, request: idempotency.Request | None = None
) -> Answer:
    """Open the door for a ticket's code, once; raise the refusals of `tickets.scan`."""
    hall = house.seatmap_of(house.sales.get(performance_id))
    return keyed(house, request, partial(_scan, hall, performance_id, code.strip().upper()))


def _scan(hall: Seatmap, performance_id: int, code: str, tx: Tx) -> Answer:
    scan = tickets.scan(tx, performance_id, code)
    seat = hall.places[scan.seat_no].label
    body = {"seat": seat, "name": scan.name, "scanned_at": scan.scanned_at}
    return Answer(201, shapes.jsonable(body))


def find_answer(house: House, request: idempotency.Request) -> Answer | None:
    """Return the kept answer to a keyed request, if there is one."""
    return house.db.lookup(idempotency.find, request)


def request_digest(body: bytes) -> bytes:
    """Return what tells two bodies under one key apart: SHA-256, 32 bytes."""
    return hashlib.sha256(body).digest()
