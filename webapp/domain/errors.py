"""Every way the house says no.

A `Refusal` is an answer, not an accident: the customer can act on it. Promises:

1. A leaf is a docstring (its title for people) and a `code` (for machines, never changed once published).
2. It is raised with facts, never with prose; facts become fields of the answer and hold nothing secret.
3. The family decides the HTTP status; one module (`webapp.web.failures`) maps it. Malformed input (400)
   and tokens (401) are decided in `web`, before the domain is reached.
"""

from typing import Any, ClassVar


class Refusal(Exception):
    """The house says no, for a reason the customer can act on."""

    code: ClassVar[str] = "refused"
    status: ClassVar[int] = 409

    def __init__(self, **facts: Any) -> None:
        super().__init__(self.code, facts)
        self.facts = facts

    @property
    def title(self) -> str:
        """The first line of the leaf's docstring."""
        return (type(self).__doc__ or self.code).strip().splitlines()[0]


class Invalid(Refusal):
    """The values given do not fit."""

    code = "invalid"
    status = 422


class Denied(Refusal):
    """You are not allowed to do this."""

    code = "denied"
    status = 403


class NotFound(Refusal):
    """There is nothing here."""

    code = "not_found"
    status = 404


class Conflict(Refusal):
    """Things are no longer as this request needs them."""

    code = "conflict"
    status = 409


class Expired(Refusal):
    """The time for this has passed."""

    code = "expired"
    status = 410


# -- accounts ---------------------------------------------------------------------------------


class EmailTaken(Conflict):
    """This address already has an account."""

    code = "email_taken"


class TooManyAttempts(Refusal):
    """Too many attempts; wait a little."""

    code = "too_many_attempts"
    status = 429


# -- the waiting room -------------------------------------------------------------------------


class SaleNotOpen(Conflict):
    """The sale has not opened yet."""

    code = "sale_not_open"


class SaleClosed(Conflict):
    """The sale has closed."""

    code = "sale_closed"


class SalePaused(Conflict):
    """The sale is paused; what you hold can still be paid."""

    code = "sale_paused"


class SoldOut(Conflict):
    """Every seat is sold."""

    code = "sold_out"


class NotAdmitted(Denied):
    """It is not your turn, or your turn has ended."""

    code = "not_admitted"


class TurnOver(Expired):
    """This stay in the waiting room has ended."""

    code = "turn_over"


# -- seats and holds --------------------------------------------------------------------------


class SeatUnknown(NotFound):
    """There is no such seat in this hall."""

    code = "seat_unknown"


class SeatsTaken(Conflict):
    """Somebody else has one of these seats."""

    code = "seats_taken"


class TooManySeats(Conflict):
    """That is more seats than one customer may have."""

    code = "too_many_seats"


class LeavesSingleSeat(Conflict):
    """This choice would leave a single seat alone."""

    code = "leaves_single_seat"


class NotEnoughSeats(Conflict):
    """There are not enough free seats for this wish."""

    code = "not_enough_seats"


class HoldExpired(Expired):
    """This hold has ended; its seats are free for everybody."""

    code = "hold_expired"


class HoldReplaced(Expired):
    """A newer choice of seats has taken this hold's place."""

    code = "hold_replaced"


# -- money and tickets ------------------------------------------------------------------------


class InsufficientFunds(Refusal):
    """The wallet holds too little; the seats stay held."""

    code = "insufficient_funds"
    status = 402


class TopUpClosed(Denied):
    """Wallets are credited by the operator here."""

    code = "top_up_closed"


class IdempotencyKeyReused(Invalid):
    """This Idempotency-Key was used for another request."""

    code = "idempotency_key_reused"


class AlreadyBooked(Conflict):
    """This hold is already paid."""

    code = "already_booked"


class AlreadyCancelled(Conflict):
    """This booking is already cancelled."""

    code = "already_cancelled"


class TooLate(Conflict):
    """It is too late to cancel."""

    code = "too_late"


class AlreadyScanned(Conflict):
    """This ticket has already opened the door."""

    code = "already_scanned"


class TicketUnknown(NotFound):
    """There is no such ticket."""

    code = "ticket_unknown"


class TicketVoided(Conflict):
    """This ticket was cancelled."""

    code = "ticket_voided"


class WrongPerformance(Conflict):
    """This ticket is for another performance."""

    code = "wrong_performance"
