"""The organiser's page of one waiting room: how it goes, how it is set, whom it lets past the line.

Promises:

1. An organiser sees and steers only performances of their own; anything else is not there.
2. What was entered is checked as a whole and comes back with a sentence for each fault.
3. Times are entered and shown in the house's zone.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from flask import Blueprint, Response, flash, request, url_for

from webapp.db import Tx
from webapp.domain import catalogue, lottery, outlook, rooms
from webapp.domain.errors import Invalid, NotFound, Refusal
from webapp.domain.outlook import Figures
from webapp.domain.rooms import Settings
from webapp.web import guards, inputs, phrases
from webapp.web.forms import faults, page, see_other
from webapp.web.guards import person
from webapp.web.house import house
from webapp.web.languages import gettext
from webapp.web.standing import status_of

blueprint = Blueprint("rooms", __name__)

R = "/organiser/performances/<int:performance_id>/room"


@blueprint.get(R)
@guards.organiser
def room(performance_id: int) -> Response:
    """Show a waiting room to its organiser."""
    return _page(performance_id)


@blueprint.post(R)
@guards.organiser
def change(performance_id: int) -> Response:
    """Set how the room is."""
    values = {name: text for name, text in request.form.items() if text.strip()}
    try:
        wish = inputs.form(inputs.RoomWish, values)
        house().db.transact(rooms.change, performance_id, person().id, _changes(wish))
    except Invalid as refusal:
        return _page(performance_id, refusal)
    return _done(performance_id, "changed")


def _changes(wish: inputs.RoomWish) -> dict[str, Any]:
    """Turn a form into settings: times without a zone are the house's; a room may be switched off."""
    changes = wish.model_dump()
    for name, value in changes.items():
        if isinstance(value, datetime) and value.tzinfo is None:
            changes[name] = value.replace(tzinfo=phrases.ZONE)
    if "off" in request.form:
        changes["capacity"] = None
    elif changes["capacity"] is None:
        raise Invalid(errors=[{"pointer": "/capacity", "detail": "is needed while the room is on"}])
    return changes


@blueprint.post(R + "/guests")
@guards.organiser
def invite(performance_id: int) -> Response:
    """Let somebody past the line, or put them on the guest list."""
    return _do(performance_id, rooms.invite, "email", "invited")


@blueprint.post(R + "/guests/remove")
@guards.organiser
def disinvite(performance_id: int) -> Response:
    """Take somebody off the guest list."""
    return _do(performance_id, rooms.disinvite, "email", "disinvited")


@blueprint.post(R + "/revoke")
@guards.organiser
def revoke(performance_id: int) -> Response:
    """End somebody's stay."""
    return _do(performance_id, rooms.revoke, "email", "revoked")


@blueprint.post(R + "/beacon")
@guards.organiser
def enter_beacon(performance_id: int) -> Response:
    """Enter the value of the lottery's beacon."""
    return _do(performance_id, lottery.set_beacon, "beacon", "beacon")


def _do(
    performance_id: int, work: Callable[[Tx, int, Any, str], None], field: str, done: str
) -> Response:
    text = request.form.get(field, "").strip()
    try:
        house().db.transact(work, performance_id, person().id, text)
    except NotFound as refusal:
        if not refusal.facts:
            raise  # not the organiser's own
        return _page(performance_id, refusal)
    except Invalid as refusal:
        return _page(performance_id, refusal)
    return _done(performance_id, done)


def _done(performance_id: int, what: str) -> Response:
    flash(gettext(phrases.ROOM[what]), "done")
    return see_other(url_for("rooms.room", performance_id=performance_id))


def _page(performance_id: int, refusal: Refusal | None = None) -> Response:
    sale, settings, figures, guests, publication = house().db.read(
        _read, performance_id, person().id
    )
    return page(
        "organiser/room.html",
        200 if refusal is None else refusal.status,
        sale=sale,
        sale_status=status_of(house(), sale),
        settings=settings,
        figures=figures,
        guests=guests,
        lottery=publication,
        pace=house().rooms.get(performance_id, 0),
        now=house().db.clock.now(),
        faults=[gettext(phrases.NOBODY)]
        if isinstance(refusal, NotFound)
        else faults(refusal, phrases.ROOM_FAULTS),
        entered=request.form,
    )


def _read(
    tx: Tx, performance_id: int, organiser_id: Any
) -> tuple[catalogue.Sale, Settings, Figures, list[str], lottery.Publication | None]:
    rooms.get_own(tx, performance_id, organiser_id)
    sale = catalogue.get_sale(tx, performance_id)
    return (
        sale,
        rooms.get_settings(tx, performance_id),
        outlook.measure(tx, sale.rules),
        rooms.list_guests(tx, performance_id),
        lottery.find_publication(tx, performance_id),
    )
