"""The hall as a value, who has which seat now, and which free seats go well together."""

import random
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from tests.builders import enter, make_accounts, make_sale, pay, place
from tests.conftest import AdvancingClock
from webapp.db import Database
from webapp.domain import halls, seatmap
from webapp.domain.errors import NotEnoughSeats, SeatUnknown
from webapp.domain.model import Performance
from webapp.domain.seatmap import Choice, Place, Seatmap

# -- a hall of our own: sections of rows of seats, "." being an aisle ---------------------------------


def hall(*sections: Sequence[str]) -> tuple[Seatmap, str]:
    """Draw a hall, one letter per seat with its state; return it and its states."""
    places, states = [], []
    for block, rows in enumerate(sections):
        for depth, row in enumerate(rows):
            for column, state in enumerate(row):
                if state == ".":
                    continue
                section, name = f"S{block}", "ABCDEFGH"[depth]
                places.append(
                    Place(
                        seat_no=len(places),
                        label=f"{section}-{name}-{column}",
                        section=section,
                        row=name,
                        number=column,
                        x=column * 10,
                        y=(block * 10 + depth) * 10,
                        price_level="front" if depth == 0 else "back",
                        accessible=False,
                    )
                )
                states.append(state)
    return Seatmap(1, "v", "Drawn", {}, tuple(places)), "".join(states)


def labels(places: Sequence[Place]) -> list[str]:
    return [place.label for place in places]


def choose(drawn: tuple[Seatmap, str], quantity: int, **wish: str) -> Choice:
    return seatmap.choose(*drawn, quantity, random.Random(0), **wish)


# -- choosing: examples ---------------------------------------------------------------------------------


def test_seats_side_by_side_before_the_middle_of_the_stage() -> None:
    drawn = hall(["f" * 9, "f" * 9])
    best = seatmap.choose(*drawn, 3, random.Random(0), spread=1)
    assert labels(best.places) == ["S0-A-3", "S0-A-4", "S0-A-5"]
    assert best.together == "row"


def choose_with(drawn: tuple[Seatmap, str], quantity: int, seed: int) -> Choice:
    return seatmap.choose(*drawn, quantity, random.Random(seed))


def test_a_crowd_is_spread_over_the_best_groups() -> None:
    drawn = hall(["f" * 30, "f" * 30, "f" * 30, "f" * 30])
    chosen = {tuple(labels(choose_with(drawn, 2, seed).places)) for seed in range(400)}
    assert 20 <= len(chosen) <= seatmap.CHOICES_KEPT


def test_no_single_seat_is_left_when_it_can_be_helped() -> None:
    drawn = hall(["hfffh", "hffh."])
    for seed in range(50):
        assert labels(choose_with(drawn, 2, seed).places) == ["S0-B-1", "S0-B-2"]
    assert choose(hall(["hfffh"]), 2).together == "row"  # it cannot be helped


def test_an_aisle_and_a_taken_seat_part_neighbours() -> None:
    for row in ("ff.ff", "ffhff", "ffbff"):
        assert choose(hall([row]), 3).together == "near"
        assert choose(hall([row]), 2).together == "row"


def test_without_a_row_the_nearest_in_one_section_then_across() -> None:
    near = choose(hall(["fhf", "hfh", "fhf"], ["fff"]), 4)
    assert near.together == "near"
    assert {place.section for place in near.places} == {"S0"}
    apart = choose(hall(["fhf"], ["fhf"]), 3)
    assert apart.together == "apart"
    assert len({place.section for place in apart.places}) == 2


def test_a_wish_narrows_the_choice() -> None:
    drawn = hall(["ff", "ffff"], ["ffff"])
    assert choose(drawn, 2, section="S1").places[0].section == "S1"
    assert {p.price_level for p in choose(drawn, 4, price_level="back").places} == {"back"}
    with pytest.raises(NotEnoughSeats) as refusal:
        choose(drawn, 3, section="S0", price_level="front")
    assert refusal.value.facts == {"free": 2}


# -- choosing: properties -------------------------------------------------------------------------------

rows = st.text("fffhsb.", min_size=1, max_size=9)
sections = st.lists(st.lists(rows, min_size=1, max_size=4), min_size=1, max_size=3)


def adjacent(places: Sequence[Place]) -> bool:
    return all(
        (a.section, a.row, a.number + 1) == (b.section, b.row, b.number)
        for a, b in pairwise(places)
    )


def groups(drawn: tuple[Seatmap, str], quantity: int) -> list[tuple[Place, ...]]:
    """Find every group of free neighbours the plain way."""
    hall_map, states = drawn
    ordered = sorted(hall_map.places, key=lambda p: (p.section, p.row, p.number))
    windows = [tuple(ordered[i : i + quantity]) for i in range(len(ordered) - quantity + 1)]
    return [w for w in windows if adjacent(w) and all(states[p.seat_no] == "f" for p in w)]


@settings(max_examples=300, deadline=None)
@given(drawing=sections, quantity=st.integers(1, 6), seed=st.integers(0, 99))
def test_whatever_the_hall_looks_like(drawing: list[list[str]], quantity: int, seed: int) -> None:
    drawn = hall(*drawing)
    hall_map, states = drawn
    free = states.count("f")
    if quantity > free:
        with pytest.raises(NotEnoughSeats) as refusal:
            choose_with(drawn, quantity, seed)
        assert refusal.value.facts == {"free": free}
        return
    choice = choose_with(drawn, quantity, seed)
    assert len({place.seat_no for place in choice.places}) == quantity
    assert all(states[place.seat_no] == "f" for place in choice.places)
    possible = groups(drawn, quantity)
    if possible:
        assert choice.together == "row"
        assert adjacent(choice.places)
        alone = len(seatmap.single_seats_left(hall_map, states, choice.places))
        fewest = min(len(seatmap.single_seats_left(hall_map, states, g)) for g in possible)
        assert alone == fewest
        return
    roomy = {
        section
        for section in {p.section for p in hall_map.places}
        if sum(states[p.seat_no] == "f" for p in hall_map.places if p.section == section)
        >= quantity
    }
    assert choice.together == ("near" if roomy else "apart")
    if roomy:
        assert {place.section for place in choice.places} <= roomy
        assert len({place.section for place in choice.places}) == 1


# -- single seats -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "taken", "alone"),
    [
        ("fffff", [1, 2], [0]),
        ("fffff", [1, 2, 3], [0, 4]),
        ("fffff", [0, 1], []),
        ("fffff", [0, 1, 2, 3, 4], []),
        ("ffhff", [0], [1]),
        ("fhfff", [2], []),  # the seat before the held one was alone already
        ("fff.f", [0, 1], [2]),  # so was the one behind the aisle
        ("ffffff", [0, 2, 4], [1, 3, 5]),
        ("ffsfb", [1], [0]),
    ],
)
def test_single_seats_that_a_choice_would_leave(
    row: str, taken: list[int], alone: list[int]
) -> None:
    hall_map, states = hall([row, "f"], ["fhf"])
    by_number = {p.number: p for p in hall_map.rows[0]}
    chosen = [by_number[number] for number in taken]
    left = seatmap.single_seats_left(hall_map, states, chosen)
    assert [place.number for place in left] == alone


# -- the hall ---------------------------------------------------------------------------------------------


def test_places_come_by_label_in_their_order_and_strangers_are_named() -> None:
    hall_map, _ = hall(["fff"])
    assert [p.seat_no for p in hall_map.get_places(["S0-A-2", "S0-A-0"])] == [0, 2]
    with pytest.raises(SeatUnknown) as refusal:
        hall_map.get_places(["S0-A-1", "S9-A-1", "nowhere"])
    assert refusal.value.facts == {"seats": ["S9-A-1", "nowhere"]}


@settings(max_examples=60, deadline=None)
@given(seats=st.integers(1, 3_000), levels=st.integers(1, 5))
def test_a_generated_hall_is_one_of_exactly_so_many_different_seats(
    seats: int, levels: int
) -> None:
    names = [f"level-{number}" for number in range(levels)]
    plan = halls.generate(seats, names)
    assert [place.seat_no for place in plan.places] == list(range(seats))
    assert len({place.label for place in plan.places}) == seats
    assert len({(place.x, place.y) for place in plan.places}) == seats
    assert {place.price_level for place in plan.places} <= set(names)
    assert sum(section["seats"] for section in plan.geometry["sections"]) == seats
    assert max(place.x for place in plan.places) < plan.geometry["width"]
    assert max(place.y for place in plan.places) < plan.geometry["height"]
    assert plan.version == halls.generate(seats, names).version
    assert plan.version != halls.generate(seats + 1, names).version


def test_a_stored_hall_comes_back_as_it_was(db: Database) -> None:
    sale = make_sale(db, seats=500)
    rules = select(Performance.seatmap_id).where(Performance.id == sale)
    seatmap_id = db.read(lambda tx: tx.execute(rules).scalar_one())
    plan = halls.generate(500, ["standard"])
    loaded = db.read(seatmap.load, seatmap_id)
    assert loaded.places == plan.places
    assert loaded.version == plan.version
    assert loaded.geometry == plan.geometry


def test_sales_in_one_hall_share_its_map(db: Database) -> None:
    first, second, other = (make_sale(db, seats=seats) for seats in (50, 50, 51))
    query = select(Performance.id, Performance.seatmap_id)
    maps = {row.id: row.seatmap_id for row in db.read(lambda tx: tx.execute(query).all())}
    assert maps[first] == maps[second] != maps[other]


# -- states -----------------------------------------------------------------------------------------------


def test_every_state_is_one_letter_in_the_order_of_seats(
    db: Database, clock: AdvancingClock
) -> None:
    sale = make_sale(db, seats=12, blocked=[0, 11], hold_seconds=60)
    first, second = make_accounts(db, 2)
    buyer, holder = enter(db, first, sale), enter(db, second, sale)
    pay(db, buyer, place(db, buyer, [3, 4]))
    place(db, holder, [6, 7])
    assert db.lookup(seatmap.states, sale) == "bffssfhhfffb"
    clock.advance(61)
    assert db.lookup(seatmap.states, sale) == "bffssffffffb"


def test_the_states_of_a_performance_that_is_not_there_are_none(db: Database) -> None:
    assert db.lookup(seatmap.states, 999) == ""


@pytest.mark.parametrize(
    ("states", "over"),
    [("ssss", True), ("sbbs", True), ("sshs", False), ("ssfs", False), ("bbbb", True)],
)
def test_sold_out_means_paid_and_held_seats_never_make_it_so(states: str, over: bool) -> None:
    assert seatmap.is_sold_out(states) is over


def test_a_second_customer_sees_a_hold_expire_at_its_instant(
    db: Database, clock: AdvancingClock
) -> None:
    sale = make_sale(db, seats=3, hold_seconds=60)
    [customer] = make_accounts(db)
    held = place(db, enter(db, customer, sale), [1])
    clock.advance((held.expires_at - clock.now() - timedelta(seconds=20)).total_seconds())
    assert db.lookup(seatmap.states, sale) == "fhf"
    clock.advance(20)
    assert db.lookup(seatmap.states, sale) == "fff"
