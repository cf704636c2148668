"""What must be true of the tables at any instant, as statements that return only what is wrong.

Each invariant counts what it looked at and has one or more queries for what breaks it, with the sentence
that says so. Most are guarded by a keyed update and a constraint as well; here they are proven from
outside, together with the references that have no foreign key.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    bindparam,
    case,
    distinct,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.orm import InstrumentedAttribute, aliased

from webapp.db import Tx
from webapp.domain.audit.findings import Findings, Result
from webapp.domain.model import (
    Account,
    Allowance,
    Base,
    Booking,
    Hold,
    IdempotencyKey,
    Instant,
    LedgerEntry,
    Performance,
    QueueEntry,
    RoomProgress,
    Seat,
    Seatmap,
    SeatPlace,
    Ticket,
    Wallet,
)

Query = Select[*tuple[Any, ...]]
INSTANT = bindparam("instant", type_=Instant())


@dataclass(frozen=True, slots=True)
class Invariant:
    """One check. `broken` pairs a query for what is wrong with the sentence its rows fill in."""

    name: str
    things: str
    counted: Query
    broken: tuple[tuple[Query, str], ...]


def check_invariants(tx: Tx, instant: datetime, shown: int) -> Iterator[Result]:
    """Check every invariant as of `instant`."""
    for invariant in INVARIANTS:
        findings = Findings(shown)
        for query, sentence in invariant.broken:
            for row in tx.execute(query.limit(shown + 1), {"instant": instant}):
                findings.note(sentence.format_map(row._mapping))
        counted = tx.execute(invariant.counted).scalar_one()
        yield findings.result(invariant.name, invariant.things, counted)


def _count(model: type[Base], *conditions: ColumnElement[bool]) -> Query:
    return select(func.count()).select_from(model).where(*conditions)


def _number(condition: Any) -> Any:
    """How many rows of a group fulfil a condition."""
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


# -- seats --------------------------------------------------------------------------------------

_HALL = (
    select(
        Performance.id.label("performance"),
        Seatmap.seat_count.label("capacity"),
        func.count(Seat.seat_no).label("seats"),
        func.coalesce(func.min(Seat.seat_no), 0).label("first"),
        func.coalesce(func.max(Seat.seat_no), -1).label("last"),
        _number(Seat.ticket_id.is_not(None)).label("sold"),
        _number(Seat.held_until > INSTANT).label("held"),
        _number(Seat.blocked).label("blocked"),
        _number(
            and_(
                Seat.ticket_id.is_(None),
                Seat.blocked.is_(False),
                or_(Seat.hold_id.is_(None), Seat.held_until <= INSTANT),
            )
        ).label("free"),
    )
    .join(Seatmap, Seatmap.id == Performance.seatmap_id)
    .outerjoin(Seat, Seat.performance_id == Performance.id)
    .group_by(Performance.id, Seatmap.seat_count)
    .subquery()
)
_PLACES = (
    select(
        Seatmap.id.label("seatmap"),
        Seatmap.seat_count.label("capacity"),
        func.count(SeatPlace.seat_no).label("places"),
    )
    .outerjoin(SeatPlace, SeatPlace.seatmap_id == Seatmap.id)
    .group_by(Seatmap.id, Seatmap.seat_count)
    .subquery()
)
CAPACITY = Invariant(
    "capacity",
    "performances",
    _count(Performance),
    (
        (
            select(_HALL).where(
                or_(
                    _HALL.c.sold + _HALL.c.held + _HALL.c.free + _HALL.c.blocked
                    != _HALL.c.capacity,
                    _HALL.c.seats != _HALL.c.capacity,
                    _HALL.c.first != 0,
                    _HALL.c.last != _HALL.c.capacity - 1,
                )
            ),
            "performance {performance}: {sold} sold + {held} held + {free} free + {blocked} blocked of "
            "{seats} seats numbered {first} to {last} are not its capacity of {capacity}",
        ),
        (
            select(_PLACES).where(_PLACES.c.places != _PLACES.c.capacity),
            "seatmap {seatmap} has {places} places, not {capacity}",
        ),
    ),
)

_LIVE_TICKET = Ticket.voided_at.is_(None)
ONE_OWNER = Invariant(
    "one_owner",
    "seats",
    _count(Seat),
    (
        (
            select(
                Ticket.performance_id.label("performance"),
                Ticket.seat_no.label("seat"),
                func.count().label("tickets"),
            )
            .where(_LIVE_TICKET)
            .group_by(Ticket.performance_id, Ticket.seat_no)
            .having(func.count() > 1),
            "seat {performance}/{seat} has {tickets} live tickets",
        ),
        (
            select(
                Seat.performance_id.label("performance"),
                Seat.seat_no.label("seat"),
                Seat.ticket_id.label("ticket"),
                Seat.hold_id.label("hold"),
                Seat.blocked.label("blocked"),
            ).where(
                or_(
                    and_(Seat.ticket_id.is_not(None), Seat.hold_id.is_not(None)),
                    and_(
                        Seat.blocked,
                        or_(Seat.ticket_id.is_not(None), Seat.hold_id.is_not(None)),
                    ),
                )
            ),
            "seat {performance}/{seat} is not one person's: ticket {ticket}, hold {hold}, blocked {blocked}",
        ),
    ),
)

_SEAT_OF_TICKET = and_(Seat.performance_id == Ticket.performance_id, Seat.seat_no == Ticket.seat_no)
SOLD_SEATS = Invariant(
    "sold_seats",
    "live tickets",
    _count(Ticket, _LIVE_TICKET),
    (
        (
            select(
                Ticket.id.label("ticket"),
                Ticket.performance_id.label("performance"),
                Ticket.seat_no.label("seat"),
                Seat.ticket_id.label("other"),
            )
            .outerjoin(Seat, _SEAT_OF_TICKET)
            .where(_LIVE_TICKET, Seat.ticket_id.is_distinct_from(Ticket.id)),
            "ticket {ticket} is live for seat {performance}/{seat}, whose ticket is {other}",
        ),
        (
            select(
                Seat.performance_id.label("performance"),
                Seat.seat_no.label("seat"),
                Ticket.id.label("ticket"),
                Ticket.voided_at.label("voided_at"),
            )
            .join(Ticket, Ticket.id == Seat.ticket_id)
            .where(or_(Ticket.voided_at.is_not(None), ~_SEAT_OF_TICKET)),
            "seat {performance}/{seat} has ticket {ticket}, voided at {voided_at} or for another seat",
        ),
    ),
)

HELD_SEATS = Invariant(
    "held_seats",
    "seats with a hold",
    _count(Seat, Seat.hold_id.is_not(None)),
    (
        (
            select(
                Seat.performance_id.label("performance"),
                Seat.seat_no.label("seat"),
                Seat.held_until.label("held_until"),
                Hold.id.label("hold"),
                Hold.performance_id.label("place"),
                Hold.expires_at.label("expires_at"),
                Hold.ended_at.label("ended_at"),
            )
            .join(Hold, Hold.id == Seat.hold_id)
            .where(
                or_(
                    Hold.ended_at.is_not(None),
                    Hold.performance_id != Seat.performance_id,
                    Hold.expires_at != Seat.held_until,
                )
            ),
            "seat {performance}/{seat} is held until {held_until} by hold {hold} at performance {place}, "
            "which expires at {expires_at} and ended at {ended_at}",
        ),
        (
            select(Hold.id.label("hold"), Hold.swept_at.label("swept_at")).where(
                Hold.swept_at.is_not(None), Hold.ended_at.is_(None)
            ),
            "hold {hold} was swept at {swept_at} and is open",
        ),
    ),
)

# -- bookings -----------------------------------------------------------------------------------

BOOKINGS_OF_HOLDS = Invariant(
    "bookings_of_holds",
    "bookings",
    _count(Booking),
    (
        (
            select(
                Booking.id.label("booking"),
                Booking.paid_at.label("paid_at"),
                Hold.id.label("hold"),
                Hold.end_reason.label("reason"),
                Hold.ended_at.label("ended_at"),
                Hold.expires_at.label("expires_at"),
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
            select(Booking.id.label("booking"), Hold.id.label("hold"))
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
            select(Hold.id.label("hold"))
            .outerjoin(Booking, Booking.hold_id == Hold.id)
            .where(Hold.end_reason == "paid", Booking.id.is_(None)),
            "hold {hold} was paid and there is no booking",
        ),
    ),
)

_PRICES = (
    select(
        Ticket.booking_id.label("booking"),
        func.count().label("tickets"),
        func.sum(Ticket.price_minor).label("prices"),
        _number(Ticket.voided_at.is_not(None)).label("voided"),
    )
    .group_by(Ticket.booking_id)
    .subquery()
)
BOOKING_TOTALS = Invariant(
    "booking_totals",
    "bookings",
    _count(Booking),
    (
        (
            select(
                Booking.id.label("booking"),
                Booking.total_minor.label("total"),
                func.coalesce(_PRICES.c.prices, 0).label("prices"),
            )
            .outerjoin(_PRICES, _PRICES.c.booking == Booking.id)
            .where(Booking.total_minor != func.coalesce(_PRICES.c.prices, 0)),
            "booking {booking} cost {total}, its tickets {prices}",
        ),
    ),
)


def _paid(kind: str, moment: Any, sign: int, must: ColumnElement[bool]) -> Query:
    """Bookings for which the ledger lacks the movement they call for, or has another one."""
    return (
        select(
            Booking.id.label("booking"),
            Booking.total_minor.label("total"),
            moment.label("moment"),
            LedgerEntry.id.label("ledger"),
            LedgerEntry.amount_minor.label("amount"),
            LedgerEntry.at.label("at"),
        )
        .outerjoin(
            LedgerEntry, and_(LedgerEntry.booking_id == Booking.id, LedgerEntry.kind == kind)
        )
        .where(
            or_(
                and_(must, LedgerEntry.id.is_(None)),
                and_(~must, LedgerEntry.id.is_not(None)),
                LedgerEntry.amount_minor != sign * Booking.total_minor,
                LedgerEntry.account_id != Booking.account_id,
                LedgerEntry.at != moment,
            )
        )
    )


def _once(kind: str) -> Query:
    return (
        select(LedgerEntry.booking_id.label("booking"), func.count().label("times"))
        .where(LedgerEntry.kind == kind)
        .group_by(LedgerEntry.booking_id)
        .having(func.count() > 1)
    )


SPENDS = Invariant(
    "spends",
    "bookings",
    _count(Booking),
    (
        (
            _paid("spend", Booking.paid_at, -1, Booking.paid_at.is_not(None)),
            "booking {booking} cost {total} at {moment}; its spend is {ledger}: {amount} at {at}",
        ),
        (_once("spend"), "booking {booking} was paid {times} times"),
    ),
)
REFUNDS = Invariant(
    "refunds",
    "cancelled bookings",
    _count(Booking, Booking.cancelled_at.is_not(None)),
    (
        (
            _paid("refund", Booking.cancelled_at, 1, Booking.cancelled_at.is_not(None)),
            "booking {booking} over {total} was cancelled at {moment}; its refund is {ledger}: {amount} "
            "at {at}",
        ),
        (_once("refund"), "booking {booking} was refunded {times} times"),
        (
            select(
                Booking.id.label("booking"),
                Booking.cancelled_at.label("cancelled_at"),
                _PRICES.c.voided.label("voided"),
                _PRICES.c.tickets.label("tickets"),
            )
            .join(_PRICES, _PRICES.c.booking == Booking.id)
            .where(
                _PRICES.c.voided
                != case((Booking.cancelled_at.is_not(None), _PRICES.c.tickets), else_=0)
            ),
            "booking {booking}, cancelled at {cancelled_at}, has {voided} of {tickets} tickets void",
        ),
    ),
)

# -- money --------------------------------------------------------------------------------------

_SUMS = (
    select(
        LedgerEntry.account_id.label("account"), func.sum(LedgerEntry.amount_minor).label("total")
    )
    .group_by(LedgerEntry.account_id)
    .subquery()
)
BALANCES = Invariant(
    "balances",
    "wallets",
    _count(Wallet),
    (
        (
            select(
                Wallet.account_id.label("wallet"),
                Wallet.balance_minor.label("balance"),
                func.coalesce(_SUMS.c.total, 0).label("total"),
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
    ),
)

# -- customers ----------------------------------------------------------------------------------

_BOUGHT = (
    select(
        Booking.performance_id.label("performance"),
        Booking.account_id.label("account"),
        func.count().label("seats"),
    )
    .join(Ticket, Ticket.booking_id == Booking.id)
    .where(Booking.cancelled_at.is_(None), _LIVE_TICKET)
    .group_by(Booking.performance_id, Booking.account_id)
    .subquery()
)
_ALLOWANCE_OF_BOUGHT = and_(
    Allowance.performance_id == _BOUGHT.c.performance, Allowance.account_id == _BOUGHT.c.account
)
ALLOWANCES = Invariant(
    "allowances",
    "allowances",
    _count(Allowance),
    (
        (
            select(
                Allowance.performance_id.label("performance"),
                Allowance.account_id.label("account"),
                Allowance.seats_bought.label("counted"),
                func.coalesce(_BOUGHT.c.seats, 0).label("seats"),
                Performance.seats_max.label("most"),
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
            select(
                Hold.id.label("hold"),
                Hold.account_id.label("account"),
                Allowance.hold_id.label("other"),
            )
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
    ),
)

# -- the waiting room ---------------------------------------------------------------------------

_NUMBERS = (
    select(
        Performance.id.label("performance"),
        func.coalesce(RoomProgress.last_number, -1).label("given"),
        func.count(QueueEntry.number).label("entries"),
        func.count(distinct(QueueEntry.number)).label("numbers"),
        func.coalesce(func.min(QueueEntry.number), 1).label("first"),
        func.coalesce(func.max(QueueEntry.number), 0).label("last"),
    )
    .outerjoin(RoomProgress, RoomProgress.performance_id == Performance.id)
    .outerjoin(QueueEntry, QueueEntry.performance_id == Performance.id)
    .group_by(Performance.id, RoomProgress.last_number)
    .subquery()
)
NUMBERS = Invariant(
    "numbers",
    "numbered entries",
    _count(QueueEntry, QueueEntry.number.is_not(None)),
    (
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
    ),
)

STAYS = Invariant(
    "stays",
    "queue entries",
    _count(QueueEntry),
    (
        (
            select(
                QueueEntry.performance_id.label("performance"),
                QueueEntry.account_id.label("account"),
                func.count().label("stays"),
            )
            .where(QueueEntry.ended_at.is_(None))
            .group_by(QueueEntry.performance_id, QueueEntry.account_id)
            .having(func.count() > 1),
            "customer {account} waits {stays} times for performance {performance}",
        ),
        (
            select(
                QueueEntry.id.label("entry"),
                QueueEntry.admitted_at.label("admitted_at"),
                QueueEntry.access_expires_at.label("access_expires_at"),
                QueueEntry.end_reason.label("reason"),
                QueueEntry.ended_at.label("ended_at"),
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
                        QueueEntry.end_reason.in_(("expired", "paid")),
                        QueueEntry.admitted_at.is_(None),
                    ),
                )
            ),
            "queue entry {entry} cannot be: admitted at {admitted_at} until {access_expires_at}, ended at "
            "{ended_at} ({reason})",
        ),
        (
            select(QueueEntry.id.label("entry"))
            .outerjoin(Hold, and_(Hold.entry_id == QueueEntry.id, Hold.end_reason == "paid"))
            .where(QueueEntry.end_reason == "paid", Hold.id.is_(None)),
            "queue entry {entry} ended as paid, and no hold of it was",
        ),
    ),
)
HOLDS_OF_STAYS = Invariant(
    "holds_of_stays",
    "holds",
    _count(Hold),
    (
        (
            select(
                Hold.id.label("hold"),
                QueueEntry.id.label("entry"),
                Hold.placed_at.label("placed_at"),
                Hold.expires_at.label("expires_at"),
                QueueEntry.access_expires_at.label("access_expires_at"),
                QueueEntry.holds_end_at.label("holds_end_at"),
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
            select(
                Hold.id.label("hold"),
                QueueEntry.id.label("entry"),
                QueueEntry.end_reason.label("reason"),
                QueueEntry.ended_at.label("ended_at"),
            )
            .join(QueueEntry, QueueEntry.id == Hold.entry_id)
            .where(
                Hold.ended_at.is_(None),
                Hold.expires_at > INSTANT,
                QueueEntry.ended_at.is_not(None),
            ),
            "hold {hold} lives, but its stay {entry} ended at {ended_at} ({reason})",
        ),
        (
            select(
                Hold.id.label("hold"),
                Hold.ended_at.label("paid_at"),
                QueueEntry.id.label("entry"),
                QueueEntry.end_reason.label("reason"),
                QueueEntry.ended_at.label("ended_at"),
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
            select(QueueEntry.id.label("entry"), QueueEntry.holds_end_at.label("holds_end_at"))
            .outerjoin(Hold, Hold.entry_id == QueueEntry.id)
            .where(QueueEntry.holds_end_at.is_not(None), Hold.id.is_(None)),
            "queue entry {entry} has an end of its holds, {holds_end_at}, and never had one",
        ),
    ),
)

# -- references without foreign keys ------------------------------------------------------------


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


def _dangling(
    reference: InstrumentedAttribute[Any], target: InstrumentedAttribute[Any]
) -> tuple[Query, str]:
    """Find what `reference` names and `target` does not have."""
    there = aliased(target.class_)
    found = getattr(there, target.key)
    missing = (
        select(reference.label("missing"))
        .outerjoin(there, found == reference)
        .where(reference.is_not(None), found.is_(None))
        .distinct()
    )
    return missing, f"{reference} is {{missing}}, which does not exist"


REFERENCES = Invariant(
    "references",
    "kinds of reference",
    select(literal(len(_REFERENCES))),
    tuple(_dangling(*pair) for pair in _REFERENCES),
)

INVARIANTS = (
    CAPACITY,
    ONE_OWNER,
    SOLD_SEATS,
    HELD_SEATS,
    BOOKINGS_OF_HOLDS,
    BOOKING_TOTALS,
    SPENDS,
    REFUNDS,
    BALANCES,
    ALLOWANCES,
    NUMBERS,
    STAYS,
    HOLDS_OF_STAYS,
    REFERENCES,
)
