"""References that have no foreign key, because a foreign key reads, and reads lock at the sale."""

from typing import Any

from sqlalchemy import literal, select
from sqlalchemy.orm import InstrumentedAttribute, aliased

from webapp.domain.audit.invariants.invariant import Broken, invariant, told
from webapp.domain.model import (
    Account,
    Allowance,
    Booking,
    Hold,
    IdempotencyKey,
    LedgerEntry,
    Performance,
    QueueEntry,
    RoomProgress,
    Seat,
    Ticket,
    Wallet,
)

_REFERENCES: tuple[tuple[InstrumentedAttribute[Any], InstrumentedAttribute[Any]], ...] = (
    (QueueEntry.performance_id, Performance.id),
    (QueueEntry.account_id, Account.id),
    (RoomProgress.performance_id, Performance.id),
    (Allowance.performance_id, Performance.id),
    (Allowance.account_id, Account.id),
    (Allowance.hold_id, Hold.id),
    (Allowance.previous_hold_id, Hold.id),
    (Seat.performance_id, Performance.id),
    (Seat.hold_id, Hold.id),
    (Seat.displaced_hold_id, Hold.id),
    (Seat.ticket_id, Ticket.id),
    (Hold.performance_id, Performance.id),
    (Hold.account_id, Account.id),
    (Hold.entry_id, QueueEntry.id),
    (Hold.replaced_by, Hold.id),
    (Booking.performance_id, Performance.id),
    (Booking.account_id, Account.id),
    (Booking.hold_id, Hold.id),
    (Ticket.performance_id, Performance.id),
    (Ticket.booking_id, Booking.id),
    (Wallet.account_id, Account.id),
    (LedgerEntry.account_id, Wallet.account_id),
    (LedgerEntry.booking_id, Booking.id),
    (IdempotencyKey.account_id, Account.id),
)


def _dangling(reference: InstrumentedAttribute[Any], target: InstrumentedAttribute[Any]) -> Broken:
    """Find what `reference` names and `target` does not have."""
    there = aliased(target.class_)
    found = getattr(there, target.key)
    missing = (
        told(missing=reference)
        .outerjoin(there, found == reference)
        .where(reference.is_not(None), found.is_(None))
        .distinct()
    )
    return missing, f"{reference} is {{missing}}, which does not exist"


REFERENCES = invariant(
    "references",
    "kinds of reference",
    select(literal(len(_REFERENCES))),
    *(_dangling(*pair) for pair in _REFERENCES),
)
