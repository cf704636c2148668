"""Generated halls: stalls, circle and balcony of any size, and how a hall becomes a seatmap.

A plan is a value; `store` writes it once per version, so a thousand sales in one hall share its geometry.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import Any

from sqlalchemy import insert, select

from webapp.db import Tx
from webapp.domain.model import Seatmap, SeatPlace, Venue
from webapp.domain.seatmap import Place

SEAT_UNITS = 10  # distance between neighbours, in the geometry's units
SEATS_MAX = 200_000
PLACES_PER_BATCH = 10_000
_ONE_SECTION_MAX = 300
_AISLE_EVERY = 14  # at most so many seats side by side without an aisle
_FACTS_OF_A_PLACE = attrgetter(*Place.__slots__)
_SHARES = (("ST", "Stalls", 0.5), ("CI", "Circle", 0.3), ("BA", "Balcony", 0.2))


@dataclass(frozen=True)
class Plan:
    """A hall before it is stored; `places` are in the order of seat_no."""

    name: str
    geometry: dict[str, Any]
    places: tuple[Place, ...]

    @cached_property
    def version(self) -> str:
        """The hash of everything a map would show: another hall, another version."""
        content = json.dumps([self.geometry, list(map(_FACTS_OF_A_PLACE, self.places))])
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def generate(seats: int, levels: Sequence[str], name: str = "") -> Plan:
    """Plan a hall of exactly `seats` seats; `levels` are price levels from the stage to the back.

    With three levels or more the stalls get all but the last two, circle and balcony one each.
    """
    if not 1 <= seats <= SEATS_MAX:
        raise ValueError(f"a hall has 1 to {SEATS_MAX} seats")
    shares = _SHARES if seats > _ONE_SECTION_MAX else (("ST", "Stalls", 1.0),)
    places: list[Place] = []
    sections: list[dict[str, Any]] = []
    top = 6 * SEAT_UNITS
    for position, (code, title, share) in enumerate(shares):
        last = position == len(shares) - 1
        count = seats - len(places) if last else round(seats * share)
        mine = _levels_of(position, len(shares), levels)
        bottom = _fill(places, code, count, top, mine)
        sections.append(
            {"code": code, "name": title, "y": top, "height": bottom - top, "seats": count}
        )
        top = bottom + 4 * SEAT_UNITS
    width = max(place.x for place in places) + 2 * SEAT_UNITS
    geometry = {
        "width": width,
        "height": top,
        "stage": {
            "x": round(width * 0.2),
            "y": 0,
            "width": round(width * 0.6),
            "height": 3 * SEAT_UNITS,
        },
        "sections": sections,
    }
    return Plan(name or f"Hall of {seats}", geometry, tuple(places))


def _levels_of(position: int, sections: int, levels: Sequence[str]) -> Sequence[str]:
    if sections == 1:
        return levels
    if len(levels) < sections:
        return [levels[min(position, len(levels) - 1)]]
    behind = sections - 1
    return levels[:-behind] if position == 0 else [levels[len(levels) - behind + position - 1]]


def _fill(places: list[Place], section: str, count: int, top: int, levels: Sequence[str]) -> int:
    """Add a section's seats row by row; return the `y` below its last row."""
    width = min(60, max(1, math.ceil(math.sqrt(count * 2.2))))
    rows = math.ceil(count / width)
    aisles = (width - 1) // _AISLE_EVERY
    placed = 0
    for row in range(rows):
        in_row = min(width, count - placed)
        level = levels[min(len(levels) - 1, row * len(levels) // rows)]
        left = (width - in_row) // 2
        for seat in range(in_row):
            column = left + seat
            aisle = column * (aisles + 1) // width if aisles else 0
            number = seat + 1 + aisle  # an aisle skips a number: neighbours have adjacent numbers
            places.append(
                Place(
                    seat_no=len(places),
                    label=f"{section}-{letters(row)}-{number}",
                    section=section,
                    row=letters(row),
                    number=number,
                    x=(column + aisle * 2 + 1) * SEAT_UNITS,
                    y=top + row * SEAT_UNITS,
                    price_level=level,
                    accessible=row == rows - 1 and (seat < 2 or seat >= in_row - 2),
                )
            )
        placed += in_row
    return top + rows * SEAT_UNITS


def letters(row: int) -> str:
    """Name a row or a section: A to Z, then AA, AB, …"""
    text = ""
    row += 1
    while row:
        row, letter = divmod(row - 1, 26)
        text = chr(ord("A") + letter) + text
    return text


def store(tx: Tx, plan: Plan, venue_id: int) -> int:
    """Write the plan unless its version is there; return the seatmap's id."""
    known = select(Seatmap.id).where(Seatmap.version == plan.version)
    if (seatmap_id := tx.session.execute(known).scalar_one_or_none()) is not None:
        return seatmap_id
    seatmap = Seatmap(
        venue_id=venue_id,
        version=plan.version,
        name=plan.name,
        seat_count=len(plan.places),
        geometry=plan.geometry,
    )
    tx.session.add(seatmap)
    tx.session.flush()
    columns = Place.__slots__
    # In parts: making 200,000 rows at once leaves the transaction idle for too long, and the memory full.
    for start in range(0, len(plan.places), PLACES_PER_BATCH):
        part = plan.places[start : start + PLACES_PER_BATCH]
        tx.execute(
            insert(SeatPlace),
            [
                {"seatmap_id": seatmap.id} | {name: getattr(place, name) for name in columns}
                for place in part
            ],
        )
    return seatmap.id


def find_or_create_venue(tx: Tx, name: str, address: str = "") -> int:
    """Return the id of the venue of that name."""
    known = select(Venue.id).where(Venue.name == name).order_by(Venue.id).limit(1)
    if (venue_id := tx.session.execute(known).scalar_one_or_none()) is not None:
        return venue_id
    venue = Venue(name=name, address=address)
    tx.session.add(venue)
    tx.session.flush()
    return venue.id
