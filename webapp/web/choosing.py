"""Choosing the best seats for a party: in a read, decided by the keyed update, chosen anew when lost.

Promises:

1. Losing the race for a group is no conflict retry. Only a fresh read may say that there are too few.
2. Requests of one process keep off each other's seats while there are others (`webapp/web/attempts.py`). That is a
   hint and decides nothing: other processes, and the update, know nothing of it.
"""

import time
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from webapp.db import Busy
from webapp.domain import holds, seatmap
from webapp.domain.catalogue import Rules, Sale
from webapp.domain.errors import NotEnoughSeats, SeatsTaken
from webapp.domain.holds import Offer
from webapp.domain.seatmap import Choice, Place
from webapp.domain.waiting_room import Pass
from webapp.web import inputs
from webapp.web.attempts import CHOICE_MAX_AGE_SECONDS
from webapp.web.house import House

T = TypeVar("T")

SPREAD_DOUBLINGS_MAX = 10


@dataclass(frozen=True, slots=True)
class Wish:
    """What a customer wants: named seats, or the best available."""

    labels: tuple[str, ...] = ()
    quantity: int = 0
    price_level: str | None = None
    section: str | None = None
    avoid: frozenset[int] = frozenset()


def read_wish(given: inputs.HoldWish) -> Wish:
    """Return what a request of the API asks for."""
    best = given.best_available
    if best is None:
        return Wish(labels=tuple(given.seats or ()))
    return Wish(quantity=best.quantity, price_level=best.price_level, section=best.section)


def offers(sale: Sale, places: Iterable[Place]) -> list[Offer]:
    """Return places with the prices that the customer was shown."""
    return [
        Offer(place.seat_no, place.label, sale.prices[place.price_level].price_minor)
        for place in places
    ]


def place_best(
    house: House,
    admitted: Pass,
    wish: Wish,
    sale: Sale,
    decide: Callable[[Rules, Sequence[Offer], str], T],
) -> T:
    """Let `decide` hold the best available seats; raise NotEnoughSeats, Busy, or what it raises."""
    fresh, lost = False, 0
    deadline = time.monotonic() + house.config.transaction_seconds
    while time.monotonic() < deadline:
        # Whoever loses steps further out of the crowd.
        spread = seatmap.CHOICES_KEPT << min(lost, SPREAD_DOUBLINGS_MAX)
        try:
            states = (_fresh_states if fresh else _recent_states)(house, admitted)
            pick = partial(_pick, house, sale, wish, spread, states)
            with house.attempts.attempt(sale.rules.id, pick) as choice:
                return decide(sale.rules, offers(sale, choice.places), choice.together)
        except SeatsTaken:
            lost += 1
        except NotEnoughSeats:
            if fresh:
                raise
            fresh = True
    raise Busy("best available")


def _pick(
    house: House, sale: Sale, wish: Wish, spread: int, states: str, under_way: Set[int]
) -> Choice:
    return seatmap.choose(
        house.seatmap_of(sale),
        states,
        wish.quantity,
        house.rng,
        price_level=wish.price_level,
        section=wish.section,
        avoid=wish.avoid,
        spread=spread,
        under_way=under_way,
    )


def _recent_states(house: House, admitted: Pass) -> str:
    return house.availability.get(admitted.performance_id, CHOICE_MAX_AGE_SECONDS).states


def _fresh_states(house: House, admitted: Pass) -> str:
    """Return the seat states as this customer may use them: his own hold is free to him."""
    states = house.availability.get(admitted.performance_id, 0).states
    held = house.db.lookup(holds.find_live, admitted.performance_id, admitted.account_id)
    if held is None:
        return states
    own = list(states)
    for seat_no in held.seat_nos:
        own[seat_no] = seatmap.FREE
    return "".join(own)
