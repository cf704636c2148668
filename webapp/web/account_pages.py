"""What a customer has, for browsers: bookings with their tickets, and the wallet.

Promises:

1. Somebody else's booking is a 404, its tickets too.
2. A cancellation shows what comes back before it is asked for; sent twice, it refunds once.
3. A top-up sent twice counts once.
"""

from collections.abc import Sequence
from typing import Any

from flask import Blueprint, Response, flash, request, url_for

from webapp.domain import bookings, wallet
from webapp.domain.bookings import Booked
from webapp.domain.errors import (
    AlreadyCancelled,
    AlreadyScanned,
    Invalid,
    Refusal,
    TooLate,
    TopUpClosed,
)
from webapp.web import actions, documents, inputs, phrases
from webapp.web.forms import faults, keyed_request, local_path, new_key, page, see_other
from webapp.web.guards import customer, person
from webapp.web.house import house
from webapp.web.languages import N_, gettext

blueprint = Blueprint("account", __name__)

SHOWN_PER_PAGE = 20
TOP_UP_FAULTS = {"amount": N_("Please enter an amount above zero and within the limit.")}


@blueprint.get("/bookings")
@customer
def list_bookings() -> Response:
    """List the customer's bookings, newest first."""
    before = inputs.query(inputs.PageByUuid).cursor
    found = house().db.read(bookings.list_own, person().id, before, SHOWN_PER_PAGE + 1)
    shown, more = _cut(found)
    sales = {booked.performance_id: house().sales.get(booked.performance_id) for booked in shown}
    return page("account/bookings.html", bookings=shown, sales=sales, more=more)


@blueprint.get("/bookings/<reference>")
@customer
def booking(reference: str) -> Response:
    """Show a booking with its tickets."""
    return _booking_page("account/booking.html", _get_own(reference))


@blueprint.get("/bookings/<reference>/cancellation")
@customer
def confirm_cancellation(reference: str) -> Response:
    """Show what a cancellation gives back, and ask."""
    return _booking_page("account/cancellation.html", _get_own(reference), key=new_key())


@blueprint.post("/bookings/<reference>/cancellation")
@customer
def cancel(reference: str) -> Response:
    """Cancel a booking and refund it."""
    try:
        answer = actions.cancel(house(), keyed_request("cancel"), reference)
    except (AlreadyCancelled, AlreadyScanned, TooLate) as refusal:
        return _booking_page("account/booking.html", _get_own(reference), refusal)
    refund = phrases.money(answer.body["refund_minor"], house().config.currency)
    flash(gettext("Cancelled. %(amount)s is back in your wallet.", amount=refund), "done")
    return see_other(url_for("account.booking", reference=reference))


@blueprint.get("/bookings/<reference>/tickets/<code>.pdf")
@customer
def ticket_pdf(reference: str, code: str) -> Response:
    """Give a ticket to be printed."""
    return documents.answer_pdf(documents.get_own(house(), reference, code, person().id))


@blueprint.get("/bookings/<reference>/calendar.ics")
@customer
def calendar(reference: str) -> Response:
    """Give a booking to be put into a calendar."""
    booked = _get_own(reference)
    sale = house().sales.get(booked.performance_id)
    return documents.answer_calendar(sale, booked, house().seatmap_of(sale))


def _get_own(reference: str) -> Booked:
    return house().db.read(bookings.get_own, reference, person().id)


def _booking_page(
    template: str, booked: Booked, refusal: Refusal | None = None, **more: Any
) -> Response:
    sale = house().sales.get(booked.performance_id)
    hall = house().seatmap_of(sale)
    scanned = any(ticket.scanned_at for ticket in booked.tickets)
    now = house().db.clock.now()
    cancellable = booked.cancelled_at is None and not scanned and now < sale.rules.cancellable_until
    return page(
        template,
        200 if refusal is None else refusal.status,
        booking=booked,
        sale=sale,
        hall=hall,
        places=hall.places,
        qr=documents.data_uri,
        names=phrases.section_names(hall),
        cancellable=cancellable,
        refusal=refusal,
        **more,
    )


# -- the wallet ---------------------------------------------------------------------------------


@blueprint.get("/wallet")
@customer
def show_wallet() -> Response:
    """Show the balance and every movement."""
    return _wallet_page()


@blueprint.post("/wallet/top-ups")
@customer
def top_up() -> Response:
    """Add money where that is self-service, and go back to where it was needed."""
    text = request.form.get("amount", "")
    amount_minor = phrases.parse_money(text, house().config.currency)
    limit = house().config.top_up_max_minor
    try:
        if amount_minor is None or not 1 <= amount_minor <= limit:
            raise Invalid(errors=[{"pointer": "/amount", "detail": f"1 to {limit}"}])
        actions.top_up(house(), keyed_request(str(amount_minor)), amount_minor)
    except (Invalid, TopUpClosed) as refusal:
        return _wallet_page(refusal)
    added = phrases.money(amount_minor, house().config.currency)
    flash(gettext("%(amount)s added.", amount=added), "done")
    return see_other(local_path(request.form.get("next")) or url_for("account.show_wallet"))


def _wallet_page(refusal: Refusal | None = None) -> Response:
    before = inputs.query(inputs.PageByUuid).cursor
    found = house().db.read(wallet.list_movements, person().id, before, SHOWN_PER_PAGE + 1)
    movements, more = _cut(found)
    return page(
        "account/wallet.html",
        200 if refusal is None else refusal.status,
        balance=house().db.lookup(wallet.get, person().id),
        movements=movements,
        more=more,
        key=new_key(),
        may_top_up=house().config.self_top_ups,
        top_up_max_minor=house().config.top_up_max_minor,
        amount=request.form.get("amount", ""),
        next=local_path(request.form.get("next")) or "",
        refusal=refusal,
        faults=faults(refusal, TOP_UP_FAULTS),
    )


def _cut(found: Sequence[Any]) -> tuple[Sequence[Any], Any]:
    """Return a page of what was found and, when there is more, the id to go on from."""
    if len(found) <= SHOWN_PER_PAGE:
        return found, None
    return found[:SHOWN_PER_PAGE], found[SHOWN_PER_PAGE - 1].id
