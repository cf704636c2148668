"""Paying for a hold, for browsers.

Promises:

1. What is paid is exactly the hold that the page showed: the form names it.
2. Sent twice, it pays once and both times lands on the same booking.
3. While the hold lives it can be paid, even when the time for choosing is over.
4. Too little money, or too late: the page says what is still possible.
"""

import uuid

from flask import Blueprint, Response, flash, request, url_for

from webapp.domain import holds, wallet
from webapp.domain.errors import (
    AlreadyBooked,
    Expired,
    HoldExpired,
    HoldReplaced,
    InsufficientFunds,
    NotFound,
)
from webapp.domain.holds import Held
from webapp.domain.idempotency import Request
from webapp.domain.waiting_room import Pass
from webapp.web import actions, guards, inputs, phrases, shapes
from webapp.web.forms import keyed_request, new_key, page, see_other
from webapp.web.guards import customer, person
from webapp.web.house import house
from webapp.web.languages import gettext
from webapp.web.praise import praise
from webapp.web.seat_pages import read_tried, write_tried
from webapp.web.standing import find_standing

blueprint = Blueprint("checkout", __name__)


@blueprint.get("/performances/<int:performance_id>/checkout")
@customer
def show(performance_id: int) -> Response:
    """Show the hold, its price and how long it lasts."""
    return _checkout_page(performance_id)


@blueprint.post("/performances/<int:performance_id>/pay")
@customer
def pay(performance_id: int) -> Response:
    """Pay the hold that the form names, and show the booking."""
    hold_id = _read_hold_id()
    try:
        reference = _pay(performance_id, hold_id, keyed_request(str(hold_id)))
        flash(gettext("Paid. These are your tickets."), "done")
    except AlreadyBooked as booked:
        reference = booked.facts["reference"]
    except (InsufficientFunds, HoldExpired, HoldReplaced) as refusal:
        return _checkout_page(performance_id, refusal)
    return see_other(url_for("account.booking", reference=reference))


def _pay(performance_id: int, hold_id: uuid.UUID, keyed: Request) -> str:
    """Return the booking's reference. The hold says whose stay it belongs to; the row decides."""
    held = house().db.read(holds.get_own, hold_id, person().id)
    if held.performance_id != performance_id:
        raise NotFound()
    admitted = Pass(held.entry_id, performance_id, person().id, guards.place_of_use())
    return str(actions.pay(house(), keyed, admitted, hold_id).body["reference"])


@blueprint.post("/performances/<int:performance_id>/hold/release")
@customer
def release(performance_id: int) -> Response:
    """Give the seats back. One that has ended anyway is no reason to complain."""
    try:
        actions.release_hold(house(), person().id, _read_hold_id())
    except Expired as ended:
        flash(gettext(ended.title), "note")
    else:
        flash(gettext("You gave the seats back. Nothing was charged."), "done")
    return see_other(url_for("seats.choose", performance_id=performance_id))


def _read_hold_id() -> uuid.UUID:
    return inputs.form(inputs.Payment, {"hold_id": request.form.get("hold_id", "")}).hold_id


def _checkout_page(
    performance_id: int,
    refusal: InsufficientFunds | HoldExpired | HoldReplaced | None = None,
) -> Response:
    standing = find_standing(house(), performance_id, person().id)
    performance = shapes.performance(standing.sale, standing.status)
    if standing.held is None:
        return page(
            "sale/no_hold.html",
            HoldExpired.status,
            standing=standing,
            performance=performance,
        )
    hall = house().seatmap_of(standing.sale)
    balance = house().db.lookup(wallet.get, person().id)
    return page(
        "sale/checkout.html",
        200 if refusal is None else refusal.status,
        standing=standing,
        performance=performance,
        held=standing.held,
        hall=hall,
        praise=praise(hall, standing.held.seat_nos),
        elsewhere=_elsewhere(standing.held),
        places=hall.places,
        names=phrases.section_names(hall),
        seconds_left=(standing.held.expires_at - standing.now).total_seconds(),
        balance=balance,
        short_minor=max(0, standing.held.total_minor - balance.balance_minor),
        may_top_up=house().config.self_top_ups,
        key=new_key(),
        top_up_key=new_key(),
        refusal=refusal,
    )


def _elsewhere(held: Held) -> dict[str, str]:
    """Return the form that asks for as many good seats in another place: its fields."""
    tried = read_tried(request.args.get("tried", "")) or held.seat_nos
    wanted = {name: request.args.get(name, "") for name in ("price_level", "section")}
    return {"quantity": str(len(held.seats)), "tried": write_tried(tried), **wanted}
