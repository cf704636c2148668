"""The organiser's and the door's pages.

Promises:

1. An organiser sees and steers only performances of their own.
2. The door answers in one large word: go, already in, or stop; a code opens it once.
"""

import re
from typing import Any

from flask import Blueprint, Response, flash, request, url_for

from webapp.domain import bookings, catalogue, outlook, sales
from webapp.domain.errors import (
    AlreadyScanned,
    Refusal,
    TicketUnknown,
    TicketVoided,
    WrongPerformance,
)
from webapp.web import actions, guards, inputs, phrases, shapes
from webapp.web.forms import page, see_other
from webapp.web.guards import person
from webapp.web.house import house
from webapp.web.languages import gettext
from webapp.web.standing import status_of

blueprint = Blueprint("organiser", __name__)

DOOR_PERFORMANCES_MAX = 50
_CODE = re.compile(f"[{bookings.REFERENCE_ALPHABET}]{{{bookings.CODE_LENGTH}}}")


# -- the organiser ------------------------------------------------------------------------------


@blueprint.get("/organiser")
@guards.organiser
def performances() -> Response:
    """Show the organiser's own performances: seats, people, and whether the sale goes on."""
    ids = house().db.read(sales.list_own, person().id)
    people = house().db.read(outlook.count_people, ids)
    return page(
        "organiser/performances.html",
        performances=[_overview(performance_id) for performance_id in ids],
        people=people,
        now=house().db.clock.now(),
    )


def _overview(performance_id: int) -> dict[str, Any]:
    """Return a performance with its seats counted; read anew, so that a pause shows at once."""
    sale = house().sales.get(performance_id, 0)
    return {
        **shapes.performance(sale, status_of(house(), sale)),
        "paused_at": sale.rules.paused_at,
        "seats": house().availability.get(performance_id).counts(),
    }


@blueprint.post("/organiser/performances/<int:performance_id>/pause")
@guards.organiser
def pause(performance_id: int) -> Response:
    """Pause a sale: admission and new holds stop, paying goes on."""
    house().db.transact(sales.set_paused, performance_id, person().id, True)
    flash(gettext("Paused. Nobody is admitted and no seat is held until you resume."), "done")
    return see_other(url_for("organiser.performances"))


@blueprint.post("/organiser/performances/<int:performance_id>/resume")
@guards.organiser
def resume(performance_id: int) -> Response:
    """Let a paused sale go on."""
    house().db.transact(sales.set_paused, performance_id, person().id, False)
    flash(gettext("Resumed. The sale goes on."), "done")
    return see_other(url_for("organiser.performances"))


@blueprint.post("/organiser/performances/<int:performance_id>/single-seat-rule")
@guards.organiser
def set_single_seat_rule(performance_id: int) -> Response:
    """Say what becomes of choices that leave a single seat alone."""
    rule = inputs.form(inputs.SingleSeatRule, {"rule": request.form.get("rule", "")}).rule
    house().db.transact(sales.set_single_seat_rule, performance_id, person().id, rule)
    flash(gettext("Changed. It holds for every choice from now on."), "done")
    return see_other(url_for("organiser.performances"))


# -- the door -----------------------------------------------------------------------------------


@blueprint.get("/door")
@guards.door
def door() -> Response:
    """Let the steward choose the performance that the door is for."""
    ids = house().db.read(catalogue.list_current, DOOR_PERFORMANCES_MAX)
    return page("door/performances.html", sales=[house().sales.get(id_) for id_ in ids])


@blueprint.get("/door/<int:performance_id>")
@guards.door
def door_of(performance_id: int) -> Response:
    """Show the form for a code."""
    return page("door/check.html", sale=house().sales.get(performance_id), refusal=None)


@blueprint.post("/door/<int:performance_id>")
@guards.door
def check(performance_id: int) -> Response:
    """Open the door for a code, once."""
    sale = house().sales.get(performance_id)
    code = re.sub(r"[\s-]", "", request.form.get("code", "")).upper()
    try:
        if not _CODE.fullmatch(code):
            raise TicketUnknown()
        scan = actions.scan(house(), performance_id, code).body
    except (AlreadyScanned, TicketUnknown, TicketVoided, WrongPerformance) as refusal:
        return _stop(performance_id, refusal)
    hall = house().seatmap_of(sale)
    seat = phrases.seat(hall.by_label[scan["seat"]], phrases.section_names(hall))
    flash(f"{seat} — {scan['name']}", "go")
    return see_other(url_for("organiser.door_of", performance_id=performance_id))


def _stop(performance_id: int, refusal: Refusal) -> Response:
    sale = house().sales.get(performance_id)
    return page("door/check.html", refusal.status, sale=sale, refusal=refusal)
