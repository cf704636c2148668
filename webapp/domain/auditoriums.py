"""Generated auditoriums: rows on arcs around a stage, in sections and tiers, of any size.

What `halls` stores is a plan; this module plans the halls that look like halls, from a theatre of some
hundred seats to an arena of twenty thousand. A straight block, for tests and quick sales, is
`halls.generate`.

1. Exactly as many seats as asked for.
2. Within a row of a section, neighbours have adjacent numbers; between sections there is an aisle.
3. The ends of each tier's last row are for wheelchairs, the seats beside them for companions. The
   outermost seats of the first upper rows have a restricted view.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from webapp.domain.halls import SEAT_UNITS, SEATS_MAX, Plan, letters
from webapp.domain.seatmap import Place

ROW_UNITS = 11
_AISLE_UNITS = 26
_TIER_UNITS = 44
_STAGE_UNITS = 70
_ARENA_FROM = 4_000
_RESTRICTED_ROWS, _RESTRICTED_SEATS = 3, 2


@dataclass(frozen=True, slots=True)
class _Tier:
    code: str
    name: str
    name_ko: str
    share: float
    sections: int


_THEATRE = (
    _Tier("1", "Stalls", "1층", 0.5, 3),
    _Tier("2", "Circle", "2층", 0.3, 4),
    _Tier("3", "Balcony", "3층", 0.2, 4),
)
_ARENA = (
    _Tier("F", "Floor", "플로어", 0.2, 6),
    _Tier("1", "Lower tier", "1층", 0.33, 14),
    _Tier("2", "Upper tier", "2층", 0.47, 18),
)
_THEATRE_SHAPE = (math.radians(43), 230.0, 145.0)
_ARENA_SHAPE = (math.radians(98), 154.0, 0.0)


def plan(seats: int, levels: Sequence[str], name: str = "") -> Plan:
    """Plan an auditorium of exactly `seats` seats; `levels` are price levels from the stage to the back."""
    if not 1 <= seats <= SEATS_MAX:
        raise ValueError(f"a hall has 1 to {SEATS_MAX} seats")
    arena = seats >= _ARENA_FROM
    tiers = _ARENA if arena else _THEATRE
    drawn = _Drawing(*(_ARENA_SHAPE if arena else _THEATRE_SHAPE))
    placed = 0
    for position, tier in enumerate(tiers):
        last = position == len(tiers) - 1
        count = seats - placed if last else round(seats * tier.share)
        placed += count
        drawn.add_tier(tier, count, _levels_of(position, len(tiers), levels), position > 0)
    return drawn.finish(name or f"Auditorium of {seats}")


def _levels_of(position: int, tiers: int, levels: Sequence[str]) -> Sequence[str]:
    """Share the price levels out: the lowest tier gets all that the upper ones leave."""
    if len(levels) < tiers:
        return [levels[min(position, len(levels) - 1)]]
    behind = tiers - 1
    return levels[:-behind] if position == 0 else [levels[len(levels) - behind + position - 1]]


@dataclass(frozen=True, slots=True)
class _Spot:
    """A seat before it has its number: polar, and what is special about it."""

    section: int
    row: int
    number: int
    radius: float
    angle: float
    level: str


class _Drawing:
    """Seats as they are added, from the stage outwards."""

    def __init__(self, half_angle: float, first_radius: float, stage_y: float) -> None:
        self._half_angle = half_angle
        self._radius = first_radius
        self._stage_y = stage_y
        self._tiers: list[tuple[_Tier, list[_Spot], bool]] = []

    def add_tier(self, tier: _Tier, count: int, levels: Sequence[str], upper: bool) -> None:
        """Add as many rows as the tier needs; all of them give up a little rather than the last one much."""
        rooms: list[int] = []  # of one section
        radii: list[float] = []
        while sum(rooms) * tier.sections < count:
            rooms.append(max(1, int(self._arc(self._radius, tier.sections) / SEAT_UNITS)))
            radii.append(self._radius)
            self._radius += ROW_UNITS
        sections = [
            _shrink(rooms, count // tier.sections + (rank < count % tier.sections))
            for rank in _inner(tier)
        ]
        spots = [
            spot
            for row, sizes in enumerate(zip(*sections, strict=True))
            for spot in self._row(tier, row, radii[row], sizes, _level(levels, row, len(rooms)))
        ]
        self._tiers.append((tier, spots, upper))
        self._radius += _TIER_UNITS

    def _arc(self, radius: float, sections: int) -> float:
        return (2 * self._half_angle * radius - (sections - 1) * _AISLE_UNITS) / sections

    def _row(
        self, tier: _Tier, row: int, radius: float, sizes: Sequence[int], level: str
    ) -> list[_Spot]:
        span = 2 * self._half_angle / tier.sections
        spots = []
        for section, size in enumerate(sizes):
            middle = -self._half_angle + (section + 0.5) * span
            for seat in range(size):
                angle = middle + (seat - (size - 1) / 2) * SEAT_UNITS / radius
                spots.append(_Spot(section, row, seat + 1, radius, angle, level))
        return spots

    def finish(self, name: str) -> Plan:
        """Put every spot where it belongs: sections one after the other, the stage on top."""
        points = [_point(spot) for _, spots, _ in self._tiers for spot in spots]
        left = min(x for x, _ in points) - 2 * SEAT_UNITS
        stage_top = self._stage_y - _STAGE_UNITS / 2
        top = min([stage_top, *(y for _, y in points)]) - 2 * SEAT_UNITS
        places: list[Place] = []
        sections: list[dict[str, Any]] = []
        marks: dict[str, list[int]] = {"companion": [], "restricted": []}
        for tier, spots, upper in self._tiers:
            rows = max((spot.row for spot in spots), default=0) + 1
            for number in range(tier.sections):
                mine = [spot for spot in spots if spot.section == number]
                if mine:
                    code = f"{tier.code}{letters(number)}"
                    added = _places(mine, code, len(places), left, top, rows, marks)
                    if upper and number in (0, tier.sections - 1):
                        marks["restricted"] += _restricted(added, first=number == 0)
                    places += added
                    sections.append(_section(tier, letters(number), code, added))
        width = max(place.x for place in places) + 2 * SEAT_UNITS
        stage_width = min(3 * _STAGE_UNITS, width - 2 * SEAT_UNITS)
        geometry = {
            "width": width,
            "height": max(place.y for place in places) + 2 * SEAT_UNITS,
            "stage": {
                "x": round(-left - stage_width / 2),
                "y": round(stage_top - top),
                "width": stage_width,
                "height": _STAGE_UNITS,
            },
            "sections": sections,
            **marks,
        }
        return Plan(name, geometry, tuple(places))


def _shrink(rooms: Sequence[int], count: int) -> list[int]:
    """Share `count` seats out over rows with that much room, each as full as the others."""
    filled = [count * before // max(1, sum(rooms)) for before in accumulate(rooms, initial=0)]
    return [after - before for before, after in pairwise(filled)]


def _inner(tier: _Tier) -> list[int]:
    """Return each section's rank from the middle, so that the seats left over are in the middle."""
    order = sorted(range(tier.sections), key=lambda s: abs(s - (tier.sections - 1) / 2))
    return [order.index(section) for section in range(tier.sections)]


def _level(levels: Sequence[str], row: int, rows: int) -> str:
    return levels[min(len(levels) - 1, row * len(levels) // rows)]


def _point(spot: _Spot) -> tuple[float, float]:
    return spot.radius * math.sin(spot.angle), spot.radius * math.cos(spot.angle)


def _places(
    spots: Sequence[_Spot],
    code: str,
    first: int,
    left: float,
    top: float,
    rows: int,
    marks: dict[str, list[int]],
) -> list[Place]:
    places = []
    size = {spot.row: 0 for spot in spots}
    for spot in spots:
        size[spot.row] += 1
    for seat_no, spot in enumerate(spots, first):
        from_end = min(spot.number - 1, size[spot.row] - spot.number)
        at_the_back = spot.row == rows - 1
        if at_the_back and from_end == 1:
            marks["companion"].append(seat_no)
        x, y = _point(spot)
        places.append(
            Place(
                seat_no=seat_no,
                label=f"{code}-{letters(spot.row)}-{spot.number}",
                section=code,
                row=letters(spot.row),
                number=spot.number,
                x=round(x - left),
                y=round(y - top),
                price_level=spot.level,
                accessible=at_the_back and from_end == 0,
            )
        )
    return places


def _restricted(places: Sequence[Place], *, first: bool) -> list[int]:
    """Return the seats behind the railing: outermost in the first rows of an outermost section."""
    rows = list(dict.fromkeys(place.row for place in places))[:_RESTRICTED_ROWS]
    found = []
    for row in rows:
        seats = [place.seat_no for place in places if place.row == row]
        found += seats[:_RESTRICTED_SEATS] if first else seats[-_RESTRICTED_SEATS:]
    return found


def _section(tier: _Tier, letter: str, code: str, places: Sequence[Place]) -> dict[str, Any]:
    top, bottom = min(p.y for p in places), max(p.y for p in places)
    return {
        "code": code,
        "name": f"{tier.name} {letter}",
        "names": {"ko": f"{tier.name_ko} {letter}구역"},
        "y": top,
        "height": bottom - top + SEAT_UNITS,
        "seats": len(places),
    }
