"""Where somebody stands at one performance: what its page offers next, and which way leads on.

Nothing is decided here: the transactions behind the forms check all of it again.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime

from webapp.db import Tx
from webapp.domain import holds, waiting_room
from webapp.domain.catalogue import Sale
from webapp.domain.holds import Held
from webapp.domain.waiting_room import Stay
from webapp.web import queue
from webapp.web.house import House


@dataclass(frozen=True, slots=True)
class Standing:
    """A performance and one customer's stay and live hold there, at `now`."""

    sale: Sale
    status: str
    now: datetime
    stay: Stay | None = None
    held: Held | None = None

    @property
    def inside(self) -> bool:
        """Whether the customer may choose seats."""
        return self.stay is not None and self.stay.inside(self.now)

    @property
    def waiting(self) -> bool:
        """Whether the customer is in line."""
        return self.stay is not None and self.stay.admitted_at is None

    @property
    def may_join(self) -> bool:
        """Whether the waiting room takes newcomers."""
        return self.status in ("prequeue", "open", "paused")


def status_of(house: House, sale: Sale) -> str:
    """Return a sale's status now."""
    sold_out = house.availability.get(sale.rules.id).sold_out
    return sale.rules.status(house.db.clock.now(), sold_out=sold_out)


def find_standing(house: House, performance_id: int, account_id: uuid.UUID | None) -> Standing:
    """Look where somebody stands; raise NotFound for a performance that is not there."""
    sale = house.sales.get(performance_id)
    status = status_of(house, sale)
    if account_id is None:
        return Standing(sale, status, house.db.clock.now())
    stay, held = house.db.read(_look, performance_id, account_id)
    if stay is not None:
        queue.note_seen(house, stay)
    return Standing(sale, status, house.db.clock.now(), stay, held)


def _look(tx: Tx, performance_id: int, account_id: uuid.UUID) -> tuple[Stay | None, Held | None]:
    return (
        waiting_room.find_stay(tx, performance_id, account_id),
        holds.find_live(tx, performance_id, account_id),
    )
