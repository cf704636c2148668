"""Who has each seat, as the journal tells it in its order.

Ids are not commit order, but of two transactions that touched the same seat the later one drew its id
later (see `journal`), so each seat's story is told in order. A seat is free (None), `BLOCKED`, held (a
hold's id and its end, one tuple for all its seats) or sold (a ticket's id): eight bytes a seat besides.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select

from webapp.db import Tx
from webapp.domain.audit.facts import hex_of, readable, stream
from webapp.domain.audit.findings import Findings
from webapp.domain.model import Seat

BLOCKED = "blocked"
Owner = None | str | tuple[str, datetime]


class Owners:
    """The seats of every performance, and what was unlawful in how they changed hands."""

    def __init__(self, unlawful: Findings) -> None:
        self._halls: dict[int, list[Owner]] = {}
        self._unlawful = unlawful
        self.handed = 0  # seats that changed hands

    def open(self, performance_id: int, seat_count: int, blocked: Iterable[int]) -> None:
        """Begin with every seat free, except the blocked ones."""
        if performance_id in self._halls:
            self._unlawful.note(f"performance {performance_id} was opened twice")
        self._halls[performance_id] = [None] * seat_count
        for seat_no in blocked:
            self._halls[performance_id][seat_no] = BLOCKED

    def hold(
        self,
        performance_id: int,
        seat_nos: Sequence[int],
        holder: tuple[str, datetime],
        at: datetime,
        replaced: str | None,
        displaced: Mapping[str, str],
    ) -> None:
        """Give free seats to a hold, and those of the hold it replaces or of dead ones it names."""
        for seat_no, hall in self._each(performance_id, seat_nos):
            owner = hall[seat_no]
            if owner is None:
                lawful = str(seat_no) not in displaced
            elif isinstance(owner, tuple):
                dead = owner[1] <= at and owner[0] == displaced.get(str(seat_no))
                lawful = dead or owner[0] == replaced
            else:
                lawful = False
            if not lawful:
                self._complain(performance_id, seat_no, owner, f"was taken by hold {_id(holder)}")
            hall[seat_no] = holder

    def free(self, performance_id: int, seat_nos: Sequence[int], losers: Collection[str]) -> None:
        """Take seats from those of `losers` (holds or tickets) that have them."""
        for seat_no, hall in self._each(performance_id, seat_nos):
            owner = hall[seat_no]
            if (owner[0] if isinstance(owner, tuple) else owner) not in losers:
                told = ", ".join(readable(loser) for loser in losers)
                self._complain(performance_id, seat_no, owner, f"was freed as if of {told}")
            hall[seat_no] = None

    def sell(
        self, performance_id: int, tickets: Sequence[Sequence[Any]], hold_id: str, at: datetime
    ) -> None:
        """Turn a live hold's seats into tickets."""
        ticket_of = {seat_no: ticket_id for ticket_id, seat_no, _ in tickets}
        for seat_no, hall in self._each(performance_id, list(ticket_of)):
            owner = hall[seat_no]
            if not (isinstance(owner, tuple) and owner[0] == hold_id and at < owner[1]):
                event = f"was sold for hold {readable(hold_id)}"
                self._complain(performance_id, seat_no, owner, event)
            hall[seat_no] = ticket_of[seat_no]

    def _each(
        self, performance_id: int, seat_nos: Sequence[int]
    ) -> Iterable[tuple[int, list[Owner]]]:
        hall = self._halls.get(performance_id, [])
        self.handed += len(seat_nos)
        for seat_no in seat_nos:
            if 0 <= seat_no < len(hall):
                yield seat_no, hall
            else:
                self._unlawful.note(f"seat {performance_id}/{seat_no} was never opened")

    def _complain(self, performance_id: int, seat_no: int, owner: Owner, event: str) -> None:
        self._unlawful.note(f"seat {performance_id}/{seat_no} {event} while {_told(owner)}")

    def compare(self, tx: Tx, findings: Findings) -> int:
        """Note where the rows disagree; return how many seats are not free. Ends the replay."""
        rows = stream(tx, _TAKEN)
        taken = 0
        for performance_id, seat_no, blocked, hold_id, held_until, ticket_id in rows:
            taken += 1
            held = (hold_id, held_until) if hold_id else None
            row: Owner = ticket_id or held or (BLOCKED if blocked else None)
            hall = self._halls.get(performance_id, [])
            known = hall[seat_no] if seat_no < len(hall) else None
            if known != row:
                findings.note(
                    f"seat {performance_id}/{seat_no} is {_told(known)} in the journal, "
                    f"{_told(row)} in the table"
                )
            if known is not None:
                hall[seat_no] = None
        for performance_id, hall in self._halls.items():
            for seat_no, owner in enumerate(hall):
                if owner is not None:
                    taken += 1
                    findings.note(
                        f"seat {performance_id}/{seat_no} is {_told(owner)} in the journal, "
                        "free in the table"
                    )
        return taken


_TAKEN = select(
    Seat.performance_id,
    Seat.seat_no,
    Seat.blocked,
    hex_of(Seat.hold_id),
    Seat.held_until,
    hex_of(Seat.ticket_id),
).where(or_(Seat.blocked, Seat.hold_id.is_not(None), Seat.ticket_id.is_not(None)))


def _id(holder: tuple[str, datetime]) -> str:
    return readable(holder[0])


def _told(owner: Owner) -> str:
    if owner is None:
        return "free"
    if isinstance(owner, tuple):
        return f"held by {_id(owner)} until {owner[1].isoformat()}"
    return BLOCKED if owner == BLOCKED else f"sold as ticket {readable(owner)}"
