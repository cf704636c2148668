"""A booking is a live hold, paid at the price it showed, and every coin of it is in the ledger."""

from typing import Any

from sqlalchemy import and_, case, func, or_
from sqlalchemy.orm import InstrumentedAttribute

from webapp.domain.audit.invariants.invariant import Query, count_of, invariant, number_of, told
from webapp.domain.model import Booking, Hold, LedgerEntry, Ticket, Wallet

BOOKINGS_OF_HOLDS = invariant(
    "bookings_of_holds",
    "bookings",
    count_of(Booking),
    (
        told(
            booking=Booking.id,
            paid_at=Booking.paid_at,
            hold=Hold.id,
            reason=Hold.end_reason,
            ended_at=Hold.ended_at,
            expires_at=Hold.expires_at,
        )
        .join(Hold, Hold.id == Booking.hold_id)
        .where(
            or_(
                Booking.paid_at >= Hold.expires_at,
                Hold.end_reason.is_distinct_from("paid"),
                Hold.ended_at.is_distinct_from(Booking.paid_at),
            )
        ),
        "booking {booking} was paid at {paid_at} from hold {hold}, which expired at {expires_at} and "
        "ended at {ended_at} ({reason})",
    ),
    (
        told(booking=Booking.id, hold=Hold.id)
        .join(Hold, Hold.id == Booking.hold_id)
        .where(
            or_(
                Hold.account_id != Booking.account_id,
                Hold.performance_id != Booking.performance_id,
                Hold.total_minor != Booking.total_minor,
                Hold.currency != Booking.currency,
            )
        ),
        "booking {booking} differs from its hold {hold} in customer, performance, total or currency",
    ),
    (
        told(hold=Hold.id)
        .outerjoin(Booking, Booking.hold_id == Hold.id)
        .where(Hold.end_reason == "paid", Booking.id.is_(None)),
        "hold {hold} was paid and there is no booking",
    ),
)

_PRICES = (
    told(
        booking=Ticket.booking_id,
        tickets=func.count(),
        prices=func.sum(Ticket.price_minor),
        voided=number_of(Ticket.voided_at.is_not(None)),
    )
    .group_by(Ticket.booking_id)
    .subquery()
)
BOOKING_TOTALS = invariant(
    "booking_totals",
    "bookings",
    count_of(Booking),
    (
        told(
            booking=Booking.id,
            total=Booking.total_minor,
            prices=func.coalesce(_PRICES.c.prices, 0),
        )
        .outerjoin(_PRICES, _PRICES.c.booking == Booking.id)
        .where(Booking.total_minor != func.coalesce(_PRICES.c.prices, 0)),
        "booking {booking} cost {total}, its tickets {prices}",
    ),
)


def _paid(kind: str, moment: InstrumentedAttribute[Any], sign: int) -> Query:
    """Find bookings whose movement in the ledger is missing, too much or another than it must be."""
    return (
        told(
            booking=Booking.id,
            total=Booking.total_minor,
            moment=moment,
            ledger=LedgerEntry.id,
            amount=LedgerEntry.amount_minor,
            at=LedgerEntry.at,
        )
        .outerjoin(
            LedgerEntry, and_(LedgerEntry.booking_id == Booking.id, LedgerEntry.kind == kind)
        )
        .where(
            or_(
                LedgerEntry.id.is_(None) != moment.is_(None),
                LedgerEntry.amount_minor != sign * Booking.total_minor,
                LedgerEntry.account_id != Booking.account_id,
                LedgerEntry.at != moment,
            )
        )
    )


def _again(kind: str) -> Query:
    """Find bookings for which money moved twice."""
    return (
        told(booking=LedgerEntry.booking_id, times=func.count())
        .where(LedgerEntry.kind == kind)
        .group_by(LedgerEntry.booking_id)
        .having(func.count() > 1)
    )


SPENDS = invariant(
    "spends",
    "bookings",
    count_of(Booking),
    (
        _paid("spend", Booking.paid_at, -1),
        "booking {booking} cost {total} at {moment}; its spend is {ledger}: {amount} at {at}",
    ),
    (_again("spend"), "booking {booking} was paid {times} times"),
)
REFUNDS = invariant(
    "refunds",
    "cancelled bookings",
    count_of(Booking, Booking.cancelled_at.is_not(None)),
    (
        _paid("refund", Booking.cancelled_at, 1),
        "booking {booking} over {total} was cancelled at {moment}; its refund is {ledger}: {amount} "
        "at {at}",
    ),
    (_again("refund"), "booking {booking} was refunded {times} times"),
    (
        told(
            booking=Booking.id,
            cancelled_at=Booking.cancelled_at,
            voided=_PRICES.c.voided,
            tickets=_PRICES.c.tickets,
        )
        .join(_PRICES, _PRICES.c.booking == Booking.id)
        .where(
            _PRICES.c.voided
            != case((Booking.cancelled_at.is_not(None), _PRICES.c.tickets), else_=0)
        ),
        "booking {booking}, cancelled at {cancelled_at}, has {voided} of {tickets} tickets void",
    ),
)


_SUMS = (
    told(account=LedgerEntry.account_id, total=func.sum(LedgerEntry.amount_minor))
    .group_by(LedgerEntry.account_id)
    .subquery()
)
BALANCES = invariant(
    "balances",
    "wallets",
    count_of(Wallet),
    (
        told(
            wallet=Wallet.account_id,
            balance=Wallet.balance_minor,
            total=func.coalesce(_SUMS.c.total, 0),
        )
        .outerjoin(_SUMS, _SUMS.c.account == Wallet.account_id)
        .where(
            or_(
                Wallet.balance_minor != func.coalesce(_SUMS.c.total, 0),
                Wallet.balance_minor < 0,
            )
        ),
        "wallet {wallet} holds {balance}, its ledger says {total}",
    ),
)
