"""Choosing, paying, cancelling, and the door."""

import uuid

from flask import Response

from webapp.domain import bookings, holds
from webapp.domain.bookings import Booked
from webapp.domain.errors import TicketUnknown
from webapp.web import actions, choosing, documents, guards, inputs, shapes, sold_out
from webapp.web.api.replies import find_keyed, keyed, paged, reply, reply_kept
from webapp.web.guards import person
from webapp.web.house import house

# -- holds --------------------------------------------------------------------------------------


def place_hold(performance_id: int) -> Response:
    """Hold named seats, or the best available, in place of what one held here before."""
    admitted = guards.get_pass(performance_id)
    wish = choosing.read_wish(inputs.body(inputs.HoldWish))
    request = find_keyed()
    if request is not None:
        return reply_kept(actions.place_hold_once(house(), request, admitted, wish))
    placed = actions.place_hold(house(), admitted, wish)
    hall = house().seatmap_of(house().sales.get(performance_id))
    return reply(shapes.placed_hold(placed.held, hall, placed.together), 201)


def refuse_early(performance_id: int) -> None:
    """Refuse an access token that is none, or another performance's, and who comes to a sold-out house."""
    guards.get_claims("access", performance_id)
    sale = sold_out.find(house(), performance_id)
    if sale is not None:
        sold_out.refuse(house(), sale, choosing.read_wish(inputs.body(inputs.HoldWish)))


def get_hold(hold_id: uuid.UUID) -> Response:
    """Show a live hold."""
    held = house().db.read(holds.get_own, hold_id, person().id)
    hall = house().seatmap_of(house().sales.get(held.performance_id))
    return reply(shapes.hold(held, hall))


def release_hold(hold_id: uuid.UUID) -> Response:
    """Give a hold's seats back."""
    return reply_kept(actions.release_hold(house(), person().id, hold_id, find_keyed()))


# -- bookings -----------------------------------------------------------------------------------


def pay() -> Response:
    """Pay a hold; ends the access token, which may be past its end while the hold lives."""
    admitted = guards.get_pass(None, expired_too=True)
    hold_id = inputs.body(inputs.Payment).hold_id
    return reply_kept(actions.pay(house(), keyed(), admitted, hold_id))


def list_bookings() -> Response:
    """List one's bookings, newest first."""
    page = inputs.query(inputs.PageByUuid)
    found = house().db.read(bookings.list_own, person().id, page.cursor, page.limit + 1)
    return paged(found, page.limit, lambda booked: booked.id, _booking)


def get_booking(reference: str) -> Response:
    """Show one's booking."""
    return reply(_booking(house().db.read(bookings.get_own, reference, person().id)))


def _booking(booked: Booked) -> shapes.Booking:
    return shapes.booking(booked, house().seatmap_of(house().sales.get(booked.performance_id)))


def cancel(reference: str) -> Response:
    """Cancel one's booking: seats free, money back."""
    return reply_kept(actions.cancel(house(), keyed(), reference))


def get_ticket_svg(reference: str, code: str) -> Response:
    """Show a ticket's QR code."""
    return documents.answer_svg(_get_ticket(reference, code))


def get_ticket_pdf(reference: str, code: str) -> Response:
    """Show a ticket to print."""
    return documents.answer_pdf(_get_ticket(reference, code))


def _get_ticket(reference: str, code: str) -> documents.PrintedTicket:
    return documents.get_own(house(), reference, code, person().id)


# -- the door -----------------------------------------------------------------------------------


def scan() -> Response:
    """Open the door for a ticket's code, once."""
    given = inputs.body(inputs.ScannedCode)
    code = given.code.strip().upper()
    if not code.isascii() or not code.isalnum():
        raise TicketUnknown()  # scanners read posters, too
    return reply_kept(actions.scan(house(), given.performance_id, code, find_keyed()))
