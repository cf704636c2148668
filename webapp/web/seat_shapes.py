"""What the hall and its seats look like in JSON: to be drawn, to be listed, and who has them."""

import json
import re
from datetime import datetime
from typing import Literal, NotRequired, cast

from typing_extensions import TypedDict

from webapp.domain import seatmap as seats
from webapp.domain.seatmap import Place
from webapp.domain.seatmap import Seatmap as Hall

SeatState = Literal["free", "held", "sold", "blocked"]
STATES: dict[str, SeatState] = {
    seats.FREE: "free",
    seats.HELD: "held",
    seats.SOLD: "sold",
    seats.BLOCKED: "blocked",
}


class Seat(TypedDict):
    """Where a seat is. `seat` is the name by which every call knows it."""

    seat: str
    section: str
    row: str
    number: int


class PricedSeat(Seat):
    """A seat and what it costs."""

    price_level: str
    price_minor: int


class ListedSeat(PricedSeat):
    """A seat, what it costs and whether it can be had."""

    status: SeatState


class DrawnSeat(Seat):
    """A seat on the map, in the geometry's units."""

    x: int
    y: int
    price_level: str
    accessible: bool
    companion: NotRequired[Literal[True]]
    restricted_view: NotRequired[Literal[True]]


class Section(TypedDict):
    """A section on the map."""

    code: str
    name: str
    names: NotRequired[dict[str, str]]
    y: int
    height: int
    seats: int


class Row(TypedDict):
    """A row of a section and how many seats it has."""

    section: str
    row: str
    seats: int


class Stage(TypedDict):
    """Where the stage is."""

    x: int
    y: int
    width: int
    height: int


class Seatmap(TypedDict):
    """One version of a hall; its seats' order is that of `states` in the availability."""

    seatmap_version: str
    name: str
    width: int
    height: int
    stage: Stage
    sections: list[Section]
    rows: list[Row]
    seats: list[DrawnSeat]


class Seen(TypedDict):
    """What all who look at the same moment are told alike."""

    seatmap_version: str
    version: str
    as_of: datetime
    free: int
    held: int
    sold: int
    blocked: int
    states: NotRequired[str]
    changes: NotRequired[dict[str, Literal["f", "h", "s", "b"]]]


class Availability(Seen):
    """Every seat's state at one moment: all `states`, or the `changes` since a version."""

    poll_after_ms: int


def seat(place: Place) -> Seat:
    """Where a seat is, without what it costs or who has it."""
    return {
        "seat": place.label,
        "section": place.section,
        "row": place.row,
        "number": place.number,
    }


def priced_seat(place: Place, price_minor: int) -> PricedSeat:
    """A seat and what it costs."""
    return {**seat(place), "price_level": place.price_level, "price_minor": price_minor}


def _drawn(place: Place) -> DrawnSeat:
    return {
        "seat": place.label,
        "section": place.section,
        "row": place.row,
        "number": place.number,
        "x": place.x,
        "y": place.y,
        "price_level": place.price_level,
        "accessible": place.accessible,
    }


def seatmap(hall: Hall) -> Seatmap:
    """A hall, to be drawn."""
    drawn = [_drawn(place) for place in hall.places]
    # Only where it is so: said of each of 100,000 seats it would be 4 MB.
    for seat_no in hall.companion:
        drawn[seat_no]["companion"] = True
    for seat_no in hall.restricted:
        drawn[seat_no]["restricted_view"] = True
    return {
        "seatmap_version": hall.version,
        "name": hall.name,
        "width": hall.geometry["width"],
        "height": hall.geometry["height"],
        "stage": hall.geometry["stage"],
        "sections": hall.geometry["sections"],
        "rows": [
            {"section": row[0].section, "row": row[0].row, "seats": len(row)} for row in hall.rows
        ],
        "seats": drawn,
    }


def availability(
    seatmap_version: str,
    version: str,
    as_of: datetime,
    states: str,
    before: str | None,
) -> Seen:
    """The states of all seats, or what changed since `before` where that is shorter."""
    shape: Seen = {
        "seatmap_version": seatmap_version,
        "version": version,
        "as_of": as_of,
        "free": states.count(seats.FREE),
        "held": states.count(seats.HELD),
        "sold": states.count(seats.SOLD),
        "blocked": states.count(seats.BLOCKED),
    }
    changed = changes(before, states) if before is not None else None
    if changed is not None and len(json.dumps(changed)) < len(states):
        shape["changes"] = cast(dict[str, Literal["f", "h", "s", "b"]], changed)
    else:
        shape["states"] = states
    return shape


_DIFFERENT = re.compile(rb"[^\0]")


def changes(before: str, after: str) -> dict[str, str] | None:
    """Return the new state of each seat that differs, by its index; None for another hall.

    As two big numbers: comparing 20,000 characters one by one took 14 times as long (measured).
    """
    if len(before) != len(after):
        return None
    difference = int.from_bytes(before.encode()) ^ int.from_bytes(after.encode())
    found = _DIFFERENT.finditer(difference.to_bytes(len(after)))
    return {str(match.start()): after[match.start()] for match in found}
