"""Choosing seats, for browsers: the best available, or seat by seat in plain lists.

Promises:

1. Only who is inside sees the choice; everybody else is led to where they stand.
2. A hall of any size comes in bounded pages: a section, then at most about `SEATS_SHOWN` seats of
   whole rows.
3. A refused choice comes back with what was chosen, the reason, the next step and the right status.
4. Where the rule is lenient, a choice that leaves a single seat alone is told which one, and goes on.
5. Asking for the best again tries elsewhere: rows that were offered already come last.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from flask import Blueprint, Response, flash, request, url_for

from webapp.domain import seatmap
from webapp.domain.catalogue import Price
from webapp.domain.errors import (
    Invalid,
    LeavesSingleSeat,
    NotAdmitted,
    NotEnoughSeats,
    Refusal,
    SalePaused,
    SeatsTaken,
    SeatUnknown,
    TooManySeats,
)
from webapp.domain.seatmap import FREE, Place, Seatmap
from webapp.domain.waiting_room import Pass
from webapp.web import actions, guards, inputs, phrases, seat_map, shapes, sold_out
from webapp.web.choosing import Wish
from webapp.web.forms import faults, page, see_other
from webapp.web.guards import customer, person
from webapp.web.house import house
from webapp.web.languages import N_, gettext
from webapp.web.standing import Standing, find_standing

blueprint = Blueprint("seats", __name__)

SEATS_SHOWN = 400
BESIDE_THE_SEATS = (
    Invalid,
    LeavesSingleSeat,
    NotEnoughSeats,
    SalePaused,
    SeatsTaken,
    SeatUnknown,
    TooManySeats,
)
WISH_FAULTS = {
    "seats": N_("Choose at least one seat, and each seat once."),
    "quantity": N_("Say how many seats you want, as a number."),
}
TOGETHER = {
    "near": N_("No free group was side by side; these seats are the nearest together."),
    "apart": N_("No section had so many seats free: these are in different sections."),
}
TRIED_KEPT = 60
_TRIED = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})*")


@dataclass(frozen=True, slots=True)
class Section:
    """A section as the list of sections shows it."""

    code: str
    name: str
    free: int
    prices: tuple[Price, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """Some whole rows of a section: as much as one page shows."""

    number: int
    rows: tuple[tuple[Place, ...], ...]
    free: int


@blueprint.get("/performances/<int:performance_id>/seats")
@customer
def choose(performance_id: int) -> Response:
    """Show the seats to whoever is inside; lead everybody else to where they stand."""
    standing = find_standing(house(), performance_id, person().id)
    if standing.inside:
        return _seats_page(standing)
    if standing.held is not None:
        return see_other(url_for("checkout.show", performance_id=performance_id))
    if standing.waiting:
        return see_other(url_for("sale.waiting", performance_id=performance_id))
    flash(gettext("It is not your turn, or your turn has ended."), "note")
    return see_other(url_for("sale.performance", performance_id=performance_id))


@blueprint.post("/performances/<int:performance_id>/hold")
@customer
def hold(performance_id: int) -> Response:
    """Hold what the form asks for, and go on to pay."""
    standing = find_standing(house(), performance_id, person().id)
    if standing.stay is None:
        raise NotAdmitted()
    tried = read_tried(request.form.get("tried", ""))
    admitted = Pass(standing.stay.entry_id, performance_id, person().id, guards.place_of_use())
    try:
        wish = _read_wish(tried)
        sale = sold_out.find(house(), performance_id) if standing.inside else None
        if sale is not None:
            sold_out.refuse(house(), sale, wish)
        alone = _left_alone(standing, wish)
        placed = actions.place_hold(house(), admitted, wish)
    except BESIDE_THE_SEATS as refusal:
        return _seats_page(standing, refusal)
    if placed.together in TOGETHER:
        flash(gettext(TOGETHER[placed.together]), "note")
    if alone:
        flash(alone, "note")
    if not wish.quantity:
        return see_other(url_for("checkout.show", performance_id=performance_id))
    asked = {
        "tried": write_tried([*tried, *placed.held.seat_nos]),
        "price_level": wish.price_level or "",
        "section": wish.section or "",
    }
    return see_other(
        url_for("checkout.show", performance_id=performance_id) + f"?{urlencode(asked)}"
    )


def _left_alone(standing: Standing, wish: Wish) -> str:
    """Name the seat that a choice leaves alone where that is allowed but not kind; "" for none."""
    if not wish.labels or standing.sale.rules.single_seat_rule != "lenient":
        return ""
    hall = house().seatmap_of(standing.sale)
    states = house().availability.get(standing.sale.rules.id).states
    mine = standing.held.seat_nos if standing.held else ()
    as_if_free = "".join(FREE if no in mine else state for no, state in enumerate(states))
    alone = seatmap.single_seats_left(hall, as_if_free, hall.get_places(wish.labels))
    if not alone:
        return ""
    names = phrases.section_names(hall)
    return gettext(
        "%(seat)s is left alone beside yours: hardly anybody buys a single seat. "
        "If you can, move by one.",
        seat=phrases.seat(alone[0], names),
    )


def read_tried(text: str) -> tuple[int, ...]:
    """Read which seats were offered already: `12.13`; anything else counts as none."""
    return tuple(map(int, text.split("."))) if _TRIED.fullmatch(text) else ()


def write_tried(seat_nos: Sequence[int]) -> str:
    """Write which seats were offered, the last ones if there were many."""
    return ".".join(map(str, seat_nos[-TRIED_KEPT:]))


def _read_wish(tried: Sequence[int]) -> Wish:
    """Return the form's wish; raise Invalid."""
    if "quantity" in request.form:
        names = ("quantity", "price_level", "section")
        given = {name: request.form[name] for name in names if request.form.get(name)}
        best = inputs.form(inputs.BestAvailable, given)
        return Wish((), best.quantity, best.price_level, best.section, frozenset(tried))
    seats = request.form.getlist("seat")
    if not seats or len(set(seats)) < len(seats):
        raise Invalid(errors=[{"pointer": "/seats", "detail": "one or more, each once"}])
    return Wish(tuple(seats))


# -- the page -----------------------------------------------------------------------------------


def _seats_page(standing: Standing, refusal: Refusal | None = None) -> Response:
    sale = standing.sale
    hall = house().seatmap_of(sale)
    # After a refusal only fresh states will do: the page must not offer again what was just taken.
    states = house().availability.get(sale.rules.id, *([0.0] if refusal else [])).states
    mine = frozenset(standing.held.seat_nos if standing.held else ())
    sections = _sections(hall, states, mine, sale.prices)
    shown = next((s for s in sections if s.code == request.values.get("at")), None)
    if shown is None and len(sections) == 1:
        shown = sections[0]
    parts = _parts(hall, states, mine, shown.code) if shown else []
    chosen = request.form.getlist("seat")
    return page(
        "sale/seats.html",
        200 if refusal is None else refusal.status,
        standing=standing,
        performance=shapes.performance(sale, standing.status),
        sections=sections,
        shown=shown,
        parts=parts,
        part=_chosen_part(parts),
        states=states,
        mine=mine,
        chosen=frozenset(chosen),
        hall=hall,
        data=seat_map.page_data(standing, hall, chosen),
        seconds_left=_turn_seconds(standing),
        refusal=refusal,
        faults=faults(refusal, WISH_FAULTS),
        about=_places_of(hall, refusal),
        names=phrases.section_names(hall),
    )


def _turn_seconds(standing: Standing) -> float:
    """Return how long the customer may still choose."""
    if standing.stay is None or standing.stay.access_expires_at is None:
        return 0.0
    return max(0.0, (standing.stay.access_expires_at - standing.now).total_seconds())


def _sections(
    hall: Seatmap, states: str, mine: Collection[int], prices: dict[str, Price]
) -> list[Section]:
    """Return the hall's sections from the stage to the back."""
    names = phrases.section_names(hall)
    free: dict[str, int] = {}
    levels: dict[str, set[str]] = {}
    for place in hall.places:
        open_to_me = states[place.seat_no] == FREE or place.seat_no in mine
        free[place.section] = free.get(place.section, 0) + open_to_me
        levels.setdefault(place.section, set()).add(place.price_level)
    return [
        Section(
            code,
            names.get(code, code),
            free[code],
            tuple(price for price in prices.values() if price.code in levels[code]),
        )
        for code in free
    ]


def _parts(hall: Seatmap, states: str, mine: Collection[int], section: str) -> list[Part]:
    """Cut a section into pages of whole rows, the first row first."""
    rows = [row for row in hall.rows if row[0].section == section]
    pages: list[list[tuple[Place, ...]]] = [[]]
    for row in sorted(rows, key=lambda row: (row[0].y, row[0].seat_no)):
        if pages[-1] and sum(map(len, pages[-1])) + len(row) > SEATS_SHOWN:
            pages.append([])
        pages[-1].append(row)
    return [
        Part(number, tuple(rows), _count_free(rows, states, mine))
        for number, rows in enumerate(pages, 1)
    ]


def _count_free(rows: Sequence[Sequence[Place]], states: str, mine: Collection[int]) -> int:
    return sum(
        states[place.seat_no] == FREE or place.seat_no in mine for row in rows for place in row
    )


def _chosen_part(parts: Sequence[Part]) -> Part | None:
    wanted = request.values.get("part", "")
    return next((part for part in parts if str(part.number) == wanted), parts[0] if parts else None)


def _places_of(hall: Seatmap, refusal: Refusal | None) -> list[Place]:
    """Return the places that a refusal is about, as far as the hall has them."""
    labels = refusal.facts.get("seats", ()) if refusal else ()
    return [hall.by_label[label] for label in labels if label in hall.by_label]
