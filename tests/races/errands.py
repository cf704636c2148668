"""What a customer does, as a crowd's process runs it: the steps that HTTP would take, by their names."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from webapp.domain.idempotency import Answer, Request
from webapp.domain.waiting_room import Pass
from webapp.web import actions
from webapp.web.actions import Wish
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
    body = {"amount_minor": amount_minor}
    return actions.top_up(
        house, keyed(account_id, "/api/v1/wallet/top-ups", key, body), amount_minor
    )


def keyed(account_id: uuid.UUID, path: str, key: str, body: dict[str, Any]) -> Request:
    digest = actions.request_digest(json.dumps(body).encode())
    return Request(account_id, "POST", path, key, digest)


def buy(house: House, account_id: uuid.UUID, performance_id: int, seats: Sequence[int]) -> str:
    """The whole way: join, choose, pay. Returns the booking's reference."""
    held = hold(house, join(house, account_id, performance_id), seats)
    return str(pay(house, held, str(held.id))["reference"])
