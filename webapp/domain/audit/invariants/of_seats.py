"""Every seat is somebody's or nobody's, and all seats are there."""

from sqlalchemy import and_, func, or_, select

from webapp.domain.audit.invariants.invariant import INSTANT, count_of, invariant, number_of, told
from webapp.domain.model import Hold, Performance, Seat, Seatmap, SeatPlace, Ticket

_HALL = (
    told(
        performance=Performance.id,
        capacity=Seatmap.seat_count,
        seats=func.count(Seat.seat_no),
        first=func.coalesce(func.min(Seat.seat_no), 0),
        last=func.coalesce(func.max(Seat.seat_no), -1),
        sold=number_of(Seat.ticket_id.is_not(None)),
        held=number_of(Seat.held_until > INSTANT),
        blocked=number_of(Seat.blocked),
        free=number_of(
            and_(
                Seat.ticket_id.is_(None),
                Seat.blocked.is_(False),
                or_(Seat.hold_id.is_(None), Seat.held_until <= INSTANT),
            )
        ),
    )
    .join(Seatmap, Seatmap.id == Performance.seatmap_id)
    .outerjoin(Seat, Seat.performance_id == Performance.id)
    .group_by(Performance.id, Seatmap.seat_count)
    .subquery()
)
_PLACES = (
    told(seatmap=Seatmap.id, capacity=Seatmap.seat_count, places=func.count(SeatPlace.seat_no))
    .outerjoin(SeatPlace, SeatPlace.seatmap_id == Seatmap.id)
    .group_by(Seatmap.id, Seatmap.seat_count)
    .subquery()
)
CAPACITY = invariant(
    "capacity",
    "performances",
    count_of(Performance),
    (
        select(_HALL).where(
            or_(
                _HALL.c.sold + _HALL.c.held + _HALL.c.free + _HALL.c.blocked != _HALL.c.capacity,
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
)

_LIVE_TICKET = Ticket.voided_at.is_(None)
ONE_OWNER = invariant(
    "one_owner",
    "seats",
    count_of(Seat),
    (
        told(performance=Ticket.performance_id, seat=Ticket.seat_no, tickets=func.count())
        .where(_LIVE_TICKET)
        .group_by(Ticket.performance_id, Ticket.seat_no)
        .having(func.count() > 1),
        "seat {performance}/{seat} has {tickets} live tickets",
    ),
    (
        told(
            performance=Seat.performance_id,
            seat=Seat.seat_no,
            ticket=Seat.ticket_id,
            hold=Seat.hold_id,
            blocked=Seat.blocked,
        ).where(
            or_(
                and_(Seat.ticket_id.is_not(None), Seat.hold_id.is_not(None)),
                and_(Seat.blocked, or_(Seat.ticket_id.is_not(None), Seat.hold_id.is_not(None))),
            )
        ),
        "seat {performance}/{seat} is not one person's: ticket {ticket}, hold {hold}, blocked {blocked}",
    ),
)

_SEAT_OF_TICKET = and_(Seat.performance_id == Ticket.performance_id, Seat.seat_no == Ticket.seat_no)
SOLD_SEATS = invariant(
    "sold_seats",
    "live tickets",
    count_of(Ticket, _LIVE_TICKET),
    (
        told(
            ticket=Ticket.id,
            performance=Ticket.performance_id,
            seat=Ticket.seat_no,
            other=Seat.ticket_id,
        )
        .outerjoin(Seat, _SEAT_OF_TICKET)
        .where(_LIVE_TICKET, Seat.ticket_id.is_distinct_from(Ticket.id)),
        "ticket {ticket} is live for seat {performance}/{seat}, whose ticket is {other}",
    ),
    (
        told(
            performance=Seat.performance_id,
            seat=Seat.seat_no,
            ticket=Ticket.id,
            voided_at=Ticket.voided_at,
        )
        .join(Ticket, Ticket.id == Seat.ticket_id)
        .where(or_(Ticket.voided_at.is_not(None), ~_SEAT_OF_TICKET)),
        "seat {performance}/{seat} has ticket {ticket}, voided at {voided_at} or for another seat",
    ),
)

HELD_SEATS = invariant(
    "held_seats",
    "seats with a hold",
    count_of(Seat, Seat.hold_id.is_not(None)),
    (
        told(
            performance=Seat.performance_id,
            seat=Seat.seat_no,
            held_until=Seat.held_until,
            hold=Hold.id,
            place=Hold.performance_id,
            expires_at=Hold.expires_at,
            ended_at=Hold.ended_at,
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
        told(hold=Hold.id, swept_at=Hold.swept_at).where(
            Hold.swept_at.is_not(None), Hold.ended_at.is_(None)
        ),
        "hold {hold} was swept at {swept_at} and is open",
    ),
)
