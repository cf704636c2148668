"""What the seat map's script gets: the hall once and for ever, the sale's words and prices with the page.

Promises:

1. A hall's drawing is immutable under its version, and small: every browser keeps it.
2. The page brings everything that depends on the language or on the customer, so that the script has no
   words of its own.
3. Availability comes from the contract's endpoint; it says itself when to be asked again.
"""

import gzip
from typing import Any

from flask import Blueprint, Response, request, url_for

from webapp.domain.catalogue import Sale
from webapp.domain.errors import NotFound
from webapp.domain.seatmap import Seatmap
from webapp.web import phrases
from webapp.web.assets import YEAR_SECONDS
from webapp.web.guards import public
from webapp.web.house import house
from webapp.web.languages import gettext
from webapp.web.standing import Standing

blueprint = Blueprint("seat_map", __name__)


@blueprint.get("/performances/<int:performance_id>/map/<version>.json")
@public
def drawing(performance_id: int, version: str) -> Response:
    """Give the hall to be drawn, compressed as it is kept."""
    sale = house().sales.get(performance_id)
    if version != sale.seatmap_version:
        raise NotFound()
    content = house().maps.get(sale.rules.seatmap_id)
    if request.accept_encodings["gzip"]:
        response = Response(content, mimetype="application/json")
        response.headers["Content-Encoding"] = "gzip"
    else:
        response = Response(gzip.decompress(content), mimetype="application/json")
    response.headers["Cache-Control"] = f"public, max-age={YEAR_SECONDS}, immutable"
    response.vary.add("Accept-Encoding")
    return response


def page_data(standing: Standing, hall: Seatmap, chosen: list[str]) -> dict[str, Any]:
    """Return what the page tells its script; `chosen` are labels that a refused form had."""
    sale = standing.sale
    rules = sale.rules
    return {
        "map": url_for("seat_map.drawing", performance_id=rules.id, version=sale.seatmap_version),
        "availability": f"/api/v1/performances/{rules.id}/availability",
        "rule": rules.single_seat_rule,
        "seatsMax": rules.seats_max,
        "mine": standing.held.seat_nos if standing.held else [],
        "chosen": chosen,
        "money": _money(sale),
        "levels": [
            {"code": price.code, "name": price.name, "minor": price.price_minor}
            for price in sale.prices.values()
        ],
        "sections": phrases.section_names(hall),
        "words": _words(),
    }


def _money(sale: Sale) -> dict[str, Any]:
    """Say how to write an amount: the script puts the digits into our own way of writing it."""
    currency = sale.rules.currency
    zero = phrases.money(0, currency)
    digits = phrases.enter_money(0, currency)
    return {"pattern": zero.replace(digits, "{}"), "decimals": len(digits.partition(".")[2])}


def _words() -> dict[str, str]:
    return {
        "stage": gettext("Stage"),
        "seat": gettext("Row {row}, seat {seat}"),
        "place": gettext("{section}, row {row}, seat {seat}"),
        "free": gettext("free"),
        "held": gettext("held"),
        "sold": gettext("sold"),
        "closed": gettext("closed"),
        "yours": gettext("yours"),
        "chosen": gettext("chosen"),
        "taken": gettext("Somebody else has this seat"),
        "from": gettext("from {price}"),
        "freeSeats": gettext("{count} free"),
        "full": gettext("full"),
        "accessible": gettext("wheelchair place"),
        "companion": gettext("companion seat"),
        "restricted": gettext("restricted view"),
        "limit": gettext("At most {count} seats for each customer."),
        "lost": gettext("Somebody else just took {place}."),
        "nearest": gettext("Take the nearest free one instead: {place}, {price}"),
        "alone": gettext("{place} would be left alone."),
        "takeIt": gettext("Take it as well"),
        "strict": gettext("The organiser does not allow that: take it as well, or move by one."),
        "remove": gettext("Give up {place}"),
        "none": gettext("No seat chosen yet"),
        "added": gettext("Chosen: {place}, {price}. {count} in all, {total}."),
        "removed": gettext("No longer chosen: {place}."),
        "offline": gettext("No connection. The map shows how it was; it goes on by itself."),
        "online": gettext("The connection is back."),
        "section": gettext("{section}: {free}, {from}"),
    }
