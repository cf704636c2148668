"""At the door: a ticket opens it once."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, update

from webapp.db import Tx
from webapp.domain.errors import AlreadyScanned, TicketUnknown, TicketVoided, WrongPerformance
from webapp.domain.model import Account, Booking, Ticket, table_of

_TICKET = table_of(Ticket)


@dataclass(frozen=True, slots=True)
class Scan:
    """Who comes in, and to which seat."""

    ticket_id: uuid.UUID
    seat_no: int
    name: str
    scanned_at: datetime


def scan(tx: Tx, performance_id: int, code: str) -> Scan:
    """Open the door for a code, once.

    Raises TicketUnknown, WrongPerformance, TicketVoided, AlreadyScanned (with the first time).
    """
    row = tx.execute(
        update(_TICKET)
        .where(
            Ticket.code == code,
            Ticket.performance_id == performance_id,
            func.coalesce(Ticket.scanned_at, Ticket.voided_at).is_(
                None
            ),  # or a partial index would do
        )
        .values(scanned_at=tx.now)
        .returning(_TICKET.c.id, _TICKET.c.seat_no, _TICKET.c.booking_id)
    ).one_or_none()
    if row is None:
        raise _why_not(tx, performance_id, code)
    buyer = select(Booking.account_id).where(Booking.id == row.booking_id).scalar_subquery()
    name = tx.execute(select(Account.name).where(Account.id == buyer)).scalar_one()
    tx.record(
        "ticket_scanned", performance_id=performance_id, ticket_id=str(row.id), seat_no=row.seat_no
    )
    return Scan(row.id, row.seat_no, name, tx.now)


def _why_not(tx: Tx, performance_id: int, code: str) -> Exception:
    row = tx.execute(
        select(Ticket.performance_id, Ticket.voided_at, Ticket.scanned_at).where(
            Ticket.code == code
        )
    ).one_or_none()
    if row is None:
        return TicketUnknown()
    if row.performance_id != performance_id:
        return WrongPerformance()
    if row.voided_at is not None:
        return TicketVoided()
    return AlreadyScanned(scanned_at=row.scanned_at)
