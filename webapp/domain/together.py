"""Several customers' holds in one transaction: what a crowd asks for at the same moment.

The holds of a group cost hardly more exchanges with the database than one. Promises:

1. Each hold, its seats, its stay and its journal entry are exactly as `holds.place` would make them.
2. Only the plain case is done here: everybody gets all seats wanted and replaces no hold. If anybody does
   not, nothing is stored and those are named; `holds.place` has the words for them.
3. Rows are locked in the order of their keys, table by table as `holds.place` does, so that groups and
   single holds do not lock each other up.

On PostgreSQL. SQLite has one writer, and takes no less time for a group.
"""

import uuid
from collections.abc import Sequence, Set
from dataclasses import dataclass

from sqlalchemy import Integer, bindparam, select
from sqlalchemy.dialects import postgresql

from webapp.db import Tx
from webapp.domain import holds, seats, staying, waiting_room
from webapp.domain.catalogue import Rules
from webapp.domain.holds import Held, Offer
from webapp.domain.model import Allowance, table_of
from webapp.domain.rows import many
from webapp.domain.waiting_room import Pass
from webapp.statements import Prepared

_ALLOWANCE = table_of(Allowance)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A hold that a customer asks for."""

    admitted: Pass
    hold_id: uuid.UUID
    offers: Sequence[Offer]


class NotTogether(Exception):
    """Some of a group cannot have their hold in it, or not so simply; nothing is stored."""

    def __init__(self, hold_ids: Set[uuid.UUID]) -> None:
        super().__init__(f"{len(hold_ids)} of a group")
        self.hold_ids = hold_ids


def place_together(tx: Tx, rules: Rules, group: Sequence[Wanted]) -> list[Held]:
    """Do `enter` and `place` for customers of one sale who want different seats, on PostgreSQL.

    Each hold is as it would be alone, down to its journal entry. It is for those who get what they want
    and replace nothing: raises NotTogether naming the others, for whom `place` has the words.
    """
    entered = staying.enter_together(tx, [one.admitted for one in group], rules)
    claimed = _claim_together(tx, rules, group)
    _all_or_apart(
        group,
        {
            one.hold_id
            for one in group
            if one.admitted.entry_id in entered and len(one.offers) <= rules.seats_max
        }
        & claimed,
    )
    helds = [
        holds.make_held(tx, entered[one.admitted.entry_id][0], one.hold_id, one.offers)
        for one in group
    ]
    wanted = [(seat_no, held.id, held.expires_at) for held in helds for seat_no in held.seat_nos]
    displaced: dict[uuid.UUID | None, dict[int, uuid.UUID | None]] = {held.id: {} for held in helds}
    for seat_no, hold_id, before in seats.take_together(tx, rules.id, wanted):
        displaced[hold_id][seat_no] = before
    _all_or_apart(group, {held.id for held in helds if len(displaced[held.id]) == len(held.seats)})
    holds.insert_all(tx, helds)
    for one, held in zip(group, helds, strict=True):
        tx.next_one()
        admission, first_used_from = entered[held.entry_id]
        waiting_room.note_place(tx, one.admitted, first_used_from)
        losers = {
            str(seat_no): str(loser) for seat_no, loser in displaced[held.id].items() if loser
        }
        holds.record_placed(tx, held, admission, losers)
    return helds


def _all_or_apart(group: Sequence[Wanted], fit: Set[uuid.UUID]) -> None:
    others = {one.hold_id for one in group} - fit
    if others:
        raise NotTogether(others)


def _claim_together(tx: Tx, rules: Rules, group: Sequence[Wanted]) -> set[uuid.UUID]:
    """Claim the allowances of those who may hold so many seats; return who replaces nothing by that."""
    ordered = sorted(group, key=lambda one: one.admitted.account_id)
    rows = tx.fetch(
        _CLAIM_TOGETHER,
        performance_id=rules.id,
        seats_max=rules.seats_max,
        account_id=[one.admitted.account_id for one in ordered],
        hold_id=[one.hold_id for one in ordered],
        seats_held=[len(one.offers) for one in ordered],
    )
    return {hold_id for hold_id, previous in rows if previous is None}


_CLAIMS = many(_ALLOWANCE.c.account_id, _ALLOWANCE.c.hold_id, _ALLOWANCE.c.seats_held)
_CLAIM_TOGETHER = Prepared(
    holds.claiming(
        postgresql.insert(_ALLOWANCE).from_select(
            holds.CLAIMED, select(bindparam("performance_id", type_=Integer), *_CLAIMS.c)
        )
    )
)
