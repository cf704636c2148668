"""The hall as a value, who sits where, and which free seats go well together.

A `Seatmap` never changes (a new geometry is a new version), so any process may keep it for ever. Seat
states are a string, one character per seat in the order of `seat_no`: `f`ree, `h`eld, `s`old, `b`locked.
Choosing decides nothing: the keyed update of `holds.place` does, and who loses it chooses anew.
"""

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cached_property, lru_cache
from heapq import nsmallest
from itertools import accumulate, groupby, islice, pairwise
from math import hypot
from typing import Any

from sqlalchemy import case, func, select

from webapp.db import Tx, make
from webapp.domain.errors import NotEnoughSeats, SeatUnknown
from webapp.domain.model import Seat, SeatPlace, table_of
from webapp.domain.model import Seatmap as SeatmapRow

FREE, HELD, SOLD, BLOCKED = "f", "h", "s", "b"
CHOICES_KEPT = 36  # the crowd spreads over this many of the best groups
RANKINGS_KEPT = 8  # of one moment and one wish each; a crowd wants the same few


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


@dataclass(frozen=True, eq=False)  # a process keeps one object of each
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

    @cached_property
    def stretches(self) -> tuple["Stretch", ...]:
        """The rows, cut at the aisles: where a number is skipped, there are no neighbours."""
        centre = sum(place.x for place in self.places) / max(1, len(self.places))
        cut: list[list[Place]] = []
        for row in self.rows:
            cut.append([row[0]])
            for before, place in pairwise(row):
                if place.number == before.number + 1:
                    cut[-1].append(place)
                else:
                    cut.append([place])
        return tuple(Stretch(tuple(places), centre) for places in cut)

    @cached_property
    def restricted(self) -> frozenset[int]:
        """The seats from which one does not see everything."""
        return frozenset(self.geometry.get("restricted", ()))

    @cached_property
    def companion(self) -> frozenset[int]:
        """The seats kept beside a wheelchair's place for whoever comes along."""
        return frozenset(self.geometry.get("companion", ()))

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


def has_sold_out(tx: Tx, performance_id: int) -> bool:
    """Return `is_sold_out` of the states now, having read as far as the first seat that is left."""
    left = select(Seat.seat_no).where(
        Seat.performance_id == performance_id, Seat.blocked.is_(False), Seat.ticket_id.is_(None)
    )
    return not tx.execute(select(left.exists())).scalar_one()


# -- best available -----------------------------------------------------------------------------


class Stretch:
    """Adjacent seats of one row, and what choosing among them needs, worked out once per hall."""

    def __init__(self, places: tuple[Place, ...], centre: float) -> None:
        self.places = places
        self.section = places[0].section
        self.seat_nos = [place.seat_no for place in places]
        self._levels = {place.price_level for place in places}
        # How far a seat is from the best there is, before the middle of the stage; summed up from
        # the left, so that a group's mean takes one subtraction.
        away = [place.y + abs(place.x - centre) / 2 for place in places]
        self._away = [0.0, *accumulate(away)]
        self.middle = away.index(min(away))

    def states(self, states: str, price_level: str | None = None) -> str:
        """Return these seats' states; those of another price level count as blocked."""
        mine = "".join([states[seat_no] for seat_no in self.seat_nos])
        if price_level is None or self._levels == {price_level}:
            return mine
        if price_level not in self._levels:
            return BLOCKED * len(mine)
        levels = (place.price_level for place in self.places)
        return "".join(
            state if level == price_level else BLOCKED
            for state, level in zip(mine, levels, strict=True)
        )

    def distance(self, start: int, end: int) -> float:
        """Return how far the seats from `start` up to `end` are from the best, on average."""
        return (self._away[end] - self._away[start]) / (end - start)


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
    spread: int = CHOICES_KEPT,
    avoid: Set[int] = frozenset(),
    under_way: Set[int] = frozenset(),
) -> Choice:
    """Choose good free seats for a party.

    1. Same row and adjacent, leaving no single seat beside them if it can be helped.
    2. Else nearest together within one section.
    3. Else across sections; `together` says which of the three it is.

    Of the `spread` best groups a random one is taken, so that a crowd spreads. The rows of the seats in
    `avoid` come last: whoever asks again wants to sit elsewhere. Seats `under_way` to somebody else are
    not free. Raises NotEnoughSeats.
    """
    ranking = _rank(seatmap, states, quantity, price_level, section, frozenset(avoid))
    possible = (
        (group[:2], seats)
        for group in ranking.groups
        if under_way.isdisjoint(seats := ranking.seat_nos(group))
    )
    best = list(islice(possible, spread))
    if best:
        fewest = best[0][0]
        chosen = rng.choice([seats for merit, seats in best if merit == fewest])
        return Choice(tuple(seatmap.places[seat_no] for seat_no in chosen), "row")
    return _scattered(ranking.stretches, quantity, rng, spread, under_way)


# In the order of merit: is its row one to avoid, how many single seats would it leave, how far is it
# from the best seats; then where it is: which stretch, and where in it.
_Group = tuple[bool, int, float, int, int]


@dataclass(frozen=True, slots=True)
class _Ranking:
    """The free neighbours of one moment, best first, and all free seats for those who find none."""

    stretches: list[tuple[Stretch, str]]
    groups: list[_Group]
    quantity: int

    def seat_nos(self, group: _Group) -> list[int]:
        *_, stretch_no, start = group
        return self.stretches[stretch_no][0].seat_nos[start : start + self.quantity]


@lru_cache(maxsize=RANKINGS_KEPT)
def _rank(
    seatmap: Seatmap,
    states: str,
    quantity: int,
    price_level: str | None,
    section: str | None,
    avoid: frozenset[int],
) -> _Ranking:
    """Rank the groups of `quantity` free neighbours. A crowd shares the work of each moment."""
    stretches = [
        (stretch, stretch.states(states, price_level))
        for stretch in seatmap.stretches
        if section is None or stretch.section == section
    ]
    free = sum(mine.count(FREE) for _, mine in stretches)
    if quantity > free:
        raise NotEnoughSeats(free=free)
    groups = [
        (
            not avoid.isdisjoint(stretch.seat_nos),
            alone,
            stretch.distance(start, start + quantity),
            stretch_no,
            start,
        )
        for stretch_no, (stretch, mine) in enumerate(stretches)
        for start, alone in _windows(mine, quantity, stretch.middle)
    ]
    return _Ranking(stretches, sorted(groups), quantity)


def _windows(states: str, quantity: int, middle: int) -> Iterator[tuple[int, int]]:
    """Yield where groups of neighbours could start, and how many single seats each would leave.

    In each free run the one nearest the middle, others side by side from there, and one at each end:
    groups that overlap would send a crowd to the same few seats. Those at the ends leave no single
    seat whenever any group could.
    """
    for run in _FREE_RUN.finditer(states):
        first, last = run.start(), run.end() - quantity
        if last < first:
            continue
        best = min(max(first, middle - quantity // 2), last)
        side_by_side = range(first + (best - first) % quantity, last + 1, quantity)
        for start in {first, *side_by_side, last}:
            yield start, (start - first == 1) + (last - start == 1)


_FREE_RUN = re.compile(f"{FREE}+")


def _scattered(
    stretches: Sequence[tuple[Stretch, str]],
    quantity: int,
    rng: random.Random,
    spread: int,
    under_way: Set[int],
) -> Choice:
    """Choose the nearest to one of the best seats: in one section that has room, else anywhere."""
    sections: dict[str, list[tuple[float, Place]]] = defaultdict(list)
    for stretch, mine in stretches:
        for at, (place, state) in enumerate(zip(stretch.places, mine, strict=True)):
            if state == FREE and place.seat_no not in under_way:
                sections[stretch.section].append((stretch.distance(at, at + 1), place))
    free = sum(map(len, sections.values()))
    if quantity > free:
        raise NotEnoughSeats(free=free)
    roomy = [places for places in sections.values() if len(places) >= quantity]
    pool = rng.choice(roomy) if roomy else [one for places in sections.values() for one in places]
    _, anchor = rng.choice(nsmallest(spread, pool, key=lambda one: one[0]))
    nearest = nsmallest(
        quantity,
        (place for _, place in pool),
        key=lambda place: (hypot(place.x - anchor.x, place.y - anchor.y), place.seat_no),
    )
    group = tuple(sorted(nearest, key=lambda place: place.seat_no))
    return Choice(group, "near" if roomy else "apart")


def single_seats_left(seatmap: Seatmap, states: str, chosen: Iterable[Place]) -> list[Place]:
    """Return the free seats that taking `chosen` would leave without a free neighbour, and that had one.

    A seat that was alone before is nobody's fault.
    """
    taken = {place.seat_no for place in chosen}
    alone: list[Place] = []
    for stretch in seatmap.stretches:
        if taken.isdisjoint(place.seat_no for place in stretch.places):
            continue
        before = stretch.states(states)
        after = "".join(
            HELD if place.seat_no in taken else state
            for place, state in zip(stretch.places, before, strict=True)
        )
        for run in _FREE_RUN.finditer(after):
            at = run.start()
            neighbours = before[max(0, at - 1) : at] + before[at + 1 : at + 2]
            if run.end() - at == 1 and FREE in neighbours:
                alone.append(stretch.places[at])
    return alone
