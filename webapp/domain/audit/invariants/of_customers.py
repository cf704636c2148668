"""What a customer may do: one stay at a time, one hold at a time, so many seats and no more."""

from sqlalchemy import and_, distinct, func, or_, select

from webapp.domain.audit.invariants.invariant import INSTANT, count_of, invariant, told
from webapp.domain.model import (
    Allowance,
    Booking,
    Hold,
    Performance,
    QueueEntry,
    RoomProgress,
    Ticket,
)

_BOUGHT = (
    told(performance=Booking.performance_id, account=Booking.account_id, seats=func.count())
    .join(Ticket, Ticket.booking_id == Booking.id)
    .where(Booking.cancelled_at.is_(None), Ticket.voided_at.is_(None))
    .group_by(Booking.performance_id, Booking.account_id)
    .subquery()
)
_ALLOWANCE_OF_BOUGHT = and_(
    Allowance.performance_id == _BOUGHT.c.performance, Allowance.account_id == _BOUGHT.c.account
)
ALLOWANCES = invariant(
    "allowances",
    "allowances",
    count_of(Allowance),
    (
        told(
            performance=Allowance.performance_id,
            account=Allowance.account_id,
            counted=Allowance.seats_bought,
            seats=func.coalesce(_BOUGHT.c.seats, 0),
            most=Performance.seats_max,
        )
        .join(Performance, Performance.id == Allowance.performance_id)
        .outerjoin(_BOUGHT, _ALLOWANCE_OF_BOUGHT)
        .where(
            or_(
                Allowance.seats_bought != func.coalesce(_BOUGHT.c.seats, 0),
                Allowance.seats_bought > Performance.seats_max,
            )
        ),
        "customer {account} at performance {performance}: counted {counted} seats bought, has {seats} "
        "live tickets, may have {most}",
    ),
    (
        select(_BOUGHT)
        .outerjoin(Allowance, _ALLOWANCE_OF_BOUGHT)
        .where(Allowance.account_id.is_(None)),
        "customer {account} at performance {performance} has {seats} live tickets and no allowance",
    ),
    (
        told(hold=Hold.id, account=Hold.account_id, other=Allowance.hold_id)
        .outerjoin(
            Allowance,
            and_(
                Allowance.performance_id == Hold.performance_id,
                Allowance.account_id == Hold.account_id,
            ),
        )
        .where(Hold.ended_at.is_(None), Allowance.hold_id.is_distinct_from(Hold.id)),
        "hold {hold} is open, but customer {account}'s one hold there is {other}",
    ),
)


_NUMBERS = (
    told(
        performance=Performance.id,
        given=func.coalesce(RoomProgress.last_number, -1),
        entries=func.count(QueueEntry.number),
        numbers=func.count(distinct(QueueEntry.number)),
        first=func.coalesce(func.min(QueueEntry.number), 1),
        last=func.coalesce(func.max(QueueEntry.number), 0),
    )
    .outerjoin(RoomProgress, RoomProgress.performance_id == Performance.id)
    .outerjoin(QueueEntry, QueueEntry.performance_id == Performance.id)
    .group_by(Performance.id, RoomProgress.last_number)
    .subquery()
)
NUMBERS = invariant(
    "numbers",
    "numbered entries",
    count_of(QueueEntry, QueueEntry.number.is_not(None)),
    (
        select(_NUMBERS).where(
            or_(
                _NUMBERS.c.first != 1,
                _NUMBERS.c.last != _NUMBERS.c.given,
                _NUMBERS.c.entries != _NUMBERS.c.given,
                _NUMBERS.c.numbers != _NUMBERS.c.given,
            )
        ),
        "performance {performance} gave {given} numbers; {entries} entries have {numbers} different "
        "ones from {first} to {last}",
    ),
)

STAYS = invariant(
    "stays",
    "queue entries",
    count_of(QueueEntry),
    (
        told(
            performance=QueueEntry.performance_id,
            account=QueueEntry.account_id,
            stays=func.count(),
        )
        .where(QueueEntry.ended_at.is_(None))
        .group_by(QueueEntry.performance_id, QueueEntry.account_id)
        .having(func.count() > 1),
        "customer {account} waits {stays} times for performance {performance}",
    ),
    (
        told(
            entry=QueueEntry.id,
            admitted_at=QueueEntry.admitted_at,
            access_expires_at=QueueEntry.access_expires_at,
            reason=QueueEntry.end_reason,
            ended_at=QueueEntry.ended_at,
        ).where(
            or_(
                (QueueEntry.admitted_at.is_(None)) != (QueueEntry.access_expires_at.is_(None)),
                QueueEntry.access_expires_at <= QueueEntry.admitted_at,
                (QueueEntry.ended_at.is_(None)) != (QueueEntry.end_reason.is_(None)),
                and_(QueueEntry.retired_at.is_not(None), QueueEntry.ended_at.is_(None)),
                and_(
                    QueueEntry.end_reason == "expired",
                    QueueEntry.access_expires_at > QueueEntry.ended_at,
                ),
                and_(
                    QueueEntry.end_reason.in_(("expired", "paid", "no_show", "idle")),
                    QueueEntry.admitted_at.is_(None),
                ),
            )
        ),
        "queue entry {entry} cannot be: admitted at {admitted_at} until {access_expires_at}, ended at "
        "{ended_at} ({reason})",
    ),
    (
        told(entry=QueueEntry.id)
        .outerjoin(Hold, and_(Hold.entry_id == QueueEntry.id, Hold.end_reason == "paid"))
        .where(QueueEntry.end_reason == "paid", Hold.id.is_(None)),
        "queue entry {entry} ended as paid, and no hold of it was",
    ),
)
HOLDS_OF_STAYS = invariant(
    "holds_of_stays",
    "holds",
    count_of(Hold),
    (
        told(
            hold=Hold.id,
            entry=QueueEntry.id,
            placed_at=Hold.placed_at,
            expires_at=Hold.expires_at,
            access_expires_at=QueueEntry.access_expires_at,
            holds_end_at=QueueEntry.holds_end_at,
        )
        .join(QueueEntry, QueueEntry.id == Hold.entry_id)
        .where(
            or_(
                QueueEntry.account_id != Hold.account_id,
                QueueEntry.performance_id != Hold.performance_id,
                QueueEntry.access_expires_at.is_(None),
                QueueEntry.access_expires_at <= Hold.placed_at,
                QueueEntry.holds_end_at.is_(None),
                QueueEntry.holds_end_at < Hold.expires_at,
            )
        ),
        "hold {hold}, placed at {placed_at} until {expires_at}, is not of its stay {entry}, whose access "
        "ended at {access_expires_at} and its holds at {holds_end_at}",
    ),
    (
        told(
            hold=Hold.id,
            entry=QueueEntry.id,
            reason=QueueEntry.end_reason,
            ended_at=QueueEntry.ended_at,
        )
        .join(QueueEntry, QueueEntry.id == Hold.entry_id)
        .where(
            Hold.ended_at.is_(None), Hold.expires_at > INSTANT, QueueEntry.ended_at.is_not(None)
        ),
        "hold {hold} lives, but its stay {entry} ended at {ended_at} ({reason})",
    ),
    (
        told(
            hold=Hold.id,
            paid_at=Hold.ended_at,
            entry=QueueEntry.id,
            reason=QueueEntry.end_reason,
            ended_at=QueueEntry.ended_at,
        )
        .join(QueueEntry, QueueEntry.id == Hold.entry_id)
        .where(
            Hold.end_reason == "paid",
            or_(
                QueueEntry.end_reason.is_distinct_from("paid"),
                QueueEntry.ended_at.is_distinct_from(Hold.ended_at),
            ),
        ),
        "hold {hold} was paid at {paid_at}, but its stay {entry} ended at {ended_at} ({reason})",
    ),
    (
        told(entry=QueueEntry.id, holds_end_at=QueueEntry.holds_end_at)
        .outerjoin(Hold, Hold.entry_id == QueueEntry.id)
        .where(QueueEntry.holds_end_at.is_not(None), Hold.id.is_(None)),
        "queue entry {entry} has an end of its holds, {holds_end_at}, and never had one",
    ),
)
