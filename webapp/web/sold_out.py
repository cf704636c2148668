"""Who wants seats of a house that is sold out is refused from memory, in the words of the deciding transaction.

Promises:

1. Only where the sale is open and every seat that is not blocked was paid at most `STALE_MAX_SECONDS` ago. A sale
   that is paused, closed or yet to come has its own words, which the database has the say in.
2. A house that has seats pays nothing for this: its seats are not looked at. Only one that was sold out when
   somebody last looked is looked at again, once for all who ask.
"""

from typing import NoReturn

from webapp.domain.catalogue import Sale
from webapp.domain.errors import NotEnoughSeats, SeatsTaken, TooManySeats
from webapp.web.choosing import Wish
from webapp.web.house import House


def was(house: House, performance_id: int) -> bool:
    """Whether a house was sold out when somebody last looked: whether to look at all."""
    last = house.availability.find_last(performance_id)
    return last is not None and last.sold_out


def find(house: House, performance_id: int) -> Sale | None:
    """Return the sale if it is open and known to be sold out."""
    if not was(house, performance_id) or not house.availability.get(performance_id).sold_out:
        return None
    sale = house.sales.get(performance_id)
    return sale if sale.rules.status(house.db.clock.now(), sold_out=False) == "open" else None


def refuse(house: House, sale: Sale, wish: Wish) -> NoReturn:
    """Raise SeatUnknown, TooManySeats, SeatsTaken, or for the best available NotEnoughSeats."""
    if not wish.labels:
        raise NotEnoughSeats(free=0)
    places = house.seatmap_of(sale).get_places(wish.labels)
    if len(places) > sale.rules.seats_max:
        raise TooManySeats(seats_max=sale.rules.seats_max)
    raise SeatsTaken(seats=[place.label for place in places])
