"""The hall as a value, who sits where, and which free seats go well together.

A `Seatmap` never changes (a new geometry is a new version), so any process may keep it for ever. Seat
states are a string, one character per seat in the order of `seat_no`: `f`ree, `h`eld, `s`old, `b`locked.
Choosing decides nothing: the keyed update of `holds.place` does, and who loses it chooses anew.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

from sqlalchemy import case, func, select

from webapp.db import Tx, make
from webapp.domain.errors import NotEnoughSeats, SeatUnknown
from webapp.domain.model import Seat, SeatPlace, table_of
from webapp.domain.model import Seatmap as SeatmapRow

FREE, HELD, SOLD, BLOCKED = "f", "h", "s", "b"
CHOICES_KEPT = 36  # the crowd spreads over this many of the best groups


@dataclass(frozen=True, slots=True)
class Place:
    """One seat of a hall. `x` and `y` are in the geometry's units, the stage being at small `y`."""

    seat_no: int
    label: str
    section: str
    row: str
    number: int
    x: int
    y: int
    price_level: str
    accessible: bool


@dataclass(frozen=True)
class Seatmap:
    """One version of a hall."""

    id: int
    version: str
    name: str
    geometry: dict[str, Any]
    places: tuple[Place, ...]

    @cached_property
    def by_label(self) -> dict[str, Place]:
        """Find a place by the name that customers and the API use."""
        return {place.label: place for place in self.places}

    @cached_property
    def rows(self) -> tuple[tuple[Place, ...], ...]:
        """The hall's rows, each from its first number to its last."""
        ordered = sorted(self.places, key=lambda place: (place.section, place.row, place.number))
        grouped = groupby(ordered, key=lambda place: (place.section, place.row))
        return tuple(tuple(row) for _, row in grouped)

    def get_places(self, labels: Iterable[str]) -> list[Place]:
        """Return the places of `labels`, sorted by seat_no; raise SeatUnknown naming the strangers."""
        labels = list(labels)
        unknown = [label for label in labels if label not in self.by_label]
        if unknown:
            raise SeatUnknown(seats=unknown)
        return sorted((self.by_label[label] for label in labels), key=lambda place: place.seat_no)


def load(tx: Tx, seatmap_id: int) -> Seatmap:
    """Read a whole hall: about 20 ms for 20,000 seats, so keep what it returns."""
    row = tx.execute(select(table_of(SeatmapRow)).where(SeatmapRow.id == seatmap_id)).one()
    places = tx.execute(
        select(*(c for c in table_of(SeatPlace).c if c.name != "seatmap_id"))
        .where(SeatPlace.seatmap_id == seatmap_id)
        .order_by(SeatPlace.seat_no)
    )
    return Seatmap(
        row.id, row.version, row.name, row.geometry, tuple(make(Place, place) for place in places)
    )


def states(tx: Tx, performance_id: int) -> str:
    """Return every seat's state now, in the order of seat_no. An expired hold is no hold."""
    state = case(
        (Seat.blocked, BLOCKED),
        (Seat.ticket_id.is_not(None), SOLD),
        (Seat.held_until > tx.now, HELD),
        else_=FREE,
    ).label("state")
    ordered = (
        select(state).where(Seat.performance_id == performance_id).order_by(Seat.seat_no).subquery()
    )
    return tx.execute(select(func.aggregate_strings(ordered.c.state, ""))).scalar() or ""


def is_sold_out(states: str) -> bool:
    """Whether every seat that is not blocked is paid; held seats never make it so."""
    return FREE not in states and HELD not in states


# -- best available -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Choice:
    """A group of free seats and how close they are: `row` (adjacent), `near` (one section) or `apart`."""

    places: tuple[Place, ...]
    together: str


def choose(
    seatmap: Seatmap,
    states: str,
    quantity: int,
    rng: random.Random,
    *,
    price_level: str | None = None,
    section: str | None = None,
) -> Choice:
    """Choose good free seats for a party.

    1. Same row and adjacent, leaving no single seat beside them if it can be helped.
    2. Else nearest together within one section.
    3. Else across sections; `together` says which of the three it is.

    Of the best few dozen groups a random one is taken, so that a crowd spreads. Raises NotEnoughSeats.
    """

    def wanted(place: Place) -> bool:
        return (
            states[place.seat_no] == FREE
            and (price_level is None or place.price_level == price_level)
            and (section is None or place.section == section)
        )

    centre = (
        sum(place.x for place in seatmap.places) / len(seatmap.places) if seatmap.places else 0.0
    )
    free = [place for place in seatmap.places if wanted(place)]
    if quantity > len(free):
        raise NotEnoughSeats(free=len(free))
    adjacent = [
        (alone, _distance(group, centre), group)
        for row in seatmap.rows
        for run in _runs(row, wanted)
        for group, alone in _windows(run, quantity)
    ]
    if adjacent:
        fewest = min(alone for alone, _, _ in adjacent)
        ranked = sorted((d, g[0].seat_no, g) for alone, d, g in adjacent if alone == fewest)
        return Choice(rng.choice(ranked[:CHOICES_KEPT])[2], "row")
    return _scattered(free, quantity, centre, rng)


def _scattered(free: list[Place], quantity: int, centre: float, rng: random.Random) -> Choice:
    sections: dict[str, list[Place]] = defaultdict(list)
    for place in free:
        sections[place.section].append(place)
    roomy = [places for places in sections.values() if len(places) >= quantity]
    pool = rng.choice(roomy) if roomy else free
    # The anchor is random among the best, its neighbours are the nearest: few seats are left here, so
    # a crowd that all took the best anchor would fight for it.
    anchors = sorted(pool, key=lambda place: _distance((place,), centre))[:CHOICES_KEPT]
    anchor = rng.choice(anchors)
    nearest = sorted(pool, key=lambda p: ((p.x - anchor.x) ** 2 + (p.y - anchor.y) ** 2, p.seat_no))
    group = tuple(sorted(nearest[:quantity], key=lambda place: place.seat_no))
    return Choice(group, "near" if roomy else "apart")


def _runs(row: Sequence[Place], wanted: Any) -> Iterator[list[Place]]:
    """Yield the stretches of adjacent wanted seats; a gap in the numbers is an aisle."""
    run: list[Place] = []
    for place in row:
        if run and place.number != run[-1].number + 1:
            yield run
            run = []
        if wanted(place):
            run.append(place)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _windows(run: list[Place], quantity: int) -> Iterator[tuple[tuple[Place, ...], int]]:
    """Yield each group of `quantity` neighbours in a run and how many single seats it leaves alone."""
    for start in range(len(run) - quantity + 1):
        left, right = start, len(run) - start - quantity
        yield tuple(run[start : start + quantity]), (left == 1) + (right == 1)


def _distance(group: Sequence[Place], centre: float) -> float:
    """How far a group is from the best seat there is: before the middle of the stage."""
    return sum(place.y + abs(place.x - centre) / 2 for place in group) / len(group)


def single_seats_left(seatmap: Seatmap, states: str, chosen: Iterable[Place]) -> list[Place]:
    """Return the free seats that taking `chosen` would leave without a free neighbour, and that had one.

    A seat that was alone before is nobody's fault.
    """
    taken = {place.seat_no for place in chosen}
    rows = {(place.section, place.row) for place in chosen}
    alone: list[Place] = []
    for row in seatmap.rows:
        if (row[0].section, row[0].row) not in rows:
            continue
        for run in _runs(row, lambda place: states[place.seat_no] == FREE):
            if len(run) < 2:
                continue
            left = [
                rest
                for rest in _runs(run, lambda place: place.seat_no not in taken)
                if len(rest) == 1
            ]
            alone += [rest[0] for rest in left]
    return alone
