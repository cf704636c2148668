"""What a customer does, as a crowd's process runs it: the steps that HTTP would take, by their names."""

import json
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from webapp.domain.errors import Refusal, SeatsTaken
from webapp.domain.idempotency import Answer, Request
from webapp.domain.waiting_room import Pass
from webapp.web import actions
from webapp.web.choosing import Wish
from webapp.web.house import House


@dataclass(frozen=True)
class Hold:
    """A hold as its customer sees it."""

    id: uuid.UUID
    admitted: Pass
    seats: tuple[int, ...]
    total_minor: int


def join(house: House, account_id: uuid.UUID, performance_id: int) -> Pass:
    stay, _ = actions.join(house, account_id, performance_id)
    return Pass(stay.entry_id, performance_id, account_id)


def hold(house: House, admitted: Pass, seats: Sequence[int]) -> Hold:
    hall = house.seatmap_of(house.sales.get(admitted.performance_id))
    return _hold(house, admitted, Wish(tuple(hall.places[seat].label for seat in seats)))


def hold_best(house: House, admitted: Pass, quantity: int) -> Hold:
    return _hold(house, admitted, Wish(quantity=quantity))


def _hold(house: House, admitted: Pass, wish: Wish) -> Hold:
    held = actions.place_hold(house, admitted, wish).held
    return Hold(held.id, admitted, tuple(held.seat_nos), held.total_minor)


def pay(house: House, held: Hold, key: str) -> dict[str, Any]:
    request = keyed(held.admitted.account_id, "/api/v1/bookings", key, {"hold_id": str(held.id)})
    return actions.pay(house, request, held.admitted, held.id).body


def cancel(house: House, account_id: uuid.UUID, reference: str, key: str) -> Answer:
    request = keyed(account_id, f"/api/v1/bookings/{reference}/cancellation", key, {})
    return actions.cancel(house, request, reference)


def top_up(house: House, account_id: uuid.UUID, amount_minor: int, key: str) -> Answer:
    request = keyed(account_id, "/api/v1/wallet/top-ups", key, {"amount_minor": amount_minor})
    return actions.top_up(house, request, amount_minor)


def keyed(account_id: uuid.UUID, path: str, key: str, body: dict[str, Any]) -> Request:
    digest = actions.request_digest(json.dumps(body).encode())
    return Request(account_id, "POST", path, key, digest)


# -- longer ways --------------------------------------------------------------------------------


def join_and_hold(
    house: House, account_id: uuid.UUID, performance_id: int, seats: Sequence[int]
) -> Hold:
    return hold(house, join(house, account_id, performance_id), seats)


def join_and_hold_best(
    house: House, account_id: uuid.UUID, performance_id: int, quantity: int
) -> Hold:
    return hold_best(house, join(house, account_id, performance_id), quantity)


def buy(house: House, account_id: uuid.UUID, performance_id: int, seats: Sequence[int]) -> str:
    """Join, choose, pay; returns the booking's reference."""
    held = join_and_hold(house, account_id, performance_id, seats)
    return str(pay(house, held, str(held.id))["reference"])


def hold_anew(
    house: House, account_id: uuid.UUID, performance_id: int, choices: Sequence[Sequence[int]]
) -> list[tuple[int, ...]]:
    """Join and choose again and again; returns the seats of each choice that was not refused."""
    admitted = join(house, account_id, performance_id)
    got = []
    for seats in choices:
        with suppress(SeatsTaken):
            got.append(hold(house, admitted, seats).seats)
    return got


def come_and_go(
    house: House, account_id: uuid.UUID, performance_id: int, choices: Sequence[Sequence[int]]
) -> int:
    """Join, choose, pay and leave, again and again; returns how many times that was refused."""
    refused = 0
    for seats in choices:
        try:
            buy(house, account_id, performance_id, seats)
        except Refusal:
            refused += 1
        actions.leave(house, account_id, performance_id)
    return refused


@dataclass(frozen=True)
class Touch:
    """Seats that one transaction wanted, and when, by the clock that the processes share."""

    seats: frozenset[int]
    began: float
    ended: float

    def met(self, other: "Touch") -> bool:
        return (
            self.began < other.ended
            and other.began < self.ended
            and not self.seats.isdisjoint(other.seats)
        )


def buy_and_return(
    house: House,
    account_ids: Sequence[uuid.UUID],
    performance_id: int,
    choices: Sequence[Sequence[int]],
) -> list[Touch]:
    """Let one customer after another buy his choice, if it is free, and give it back.

    Returns every transaction that touched seats.
    """
    touches = []

    def timed(seats: Sequence[int], step: Any, *arguments: Any) -> Any:
        began = time.monotonic()
        try:
            return step(house, *arguments)
        finally:
            touches.append(Touch(frozenset(seats), began, time.monotonic()))

    for account_id, seats in zip(account_ids, choices, strict=True):
        admitted = join(house, account_id, performance_id)
        with suppress(SeatsTaken):
            held = timed(seats, hold, admitted, seats)
            reference = timed(seats, pay, held, str(held.id))["reference"]
            timed(seats, cancel, account_id, reference, "back")
    return touches


def pay_around_expiry(
    house: House, account_id: uuid.UUID, performance_id: int, seat: int, offset_seconds: float
) -> str:
    """Hold a seat and pay it when its time is over, give or take `offset_seconds`."""
    admitted = join(house, account_id, performance_id)
    hall = house.seatmap_of(house.sales.get(performance_id))
    held = actions.place_hold(house, admitted, Wish((hall.places[seat].label,))).held
    left = (held.expires_at - house.db.clock.now()).total_seconds() + offset_seconds
    time.sleep(max(0.0, left))
    request = keyed(account_id, "/api/v1/bookings", str(held.id), {"hold_id": str(held.id)})
    return str(actions.pay(house, request, admitted, held.id).body["reference"])


def in_a_tab(house: House, tab: str, held: Hold, *others: Any) -> Any:
    """What one customer does in one of several tabs."""
    if tab == "pay":
        return pay(house, held, *others)
    if tab == "replace":
        return hold(house, held.admitted, *others)
    if tab == "top up":
        return top_up(house, held.admitted.account_id, *others)
    raise ValueError(tab)
