"""Auditoriums: as many seats as asked for, rows that bow around the stage, special seats marked."""

from itertools import combinations, pairwise
from math import hypot

import pytest

from webapp.domain import auditoriums
from webapp.domain.halls import SEATS_MAX

LEVELS = ["VIP", "R", "S", "A"]


@pytest.mark.parametrize("seats", [1, 7, 120, 1_999, 2_000, 20_000])
def test_exactly_as_many_seats_as_asked_for(seats: int) -> None:
    plan = auditoriums.plan(seats, LEVELS)
    assert len(plan.places) == seats
    assert [place.seat_no for place in plan.places] == list(range(seats))
    assert len({place.label for place in plan.places}) == seats
    assert sum(section["seats"] for section in plan.geometry["sections"]) == seats


@pytest.mark.parametrize("seats", [0, SEATS_MAX + 1])
def test_no_hall_of_that_size(seats: int) -> None:
    with pytest.raises(ValueError, match="seats"):
        auditoriums.plan(seats, LEVELS)


def test_nobody_sits_on_somebody_elses_lap() -> None:
    plan = auditoriums.plan(600, LEVELS)
    for one, other in combinations(plan.places, 2):
        assert hypot(one.x - other.x, one.y - other.y) > 7


def test_neighbours_have_adjacent_numbers() -> None:
    places = auditoriums.plan(2_000, LEVELS).places
    for before, after in pairwise(places):
        if (before.section, before.row) == (after.section, after.row):
            assert after.number == before.number + 1


def test_everything_is_inside_the_drawing() -> None:
    plan = auditoriums.plan(20_000, LEVELS)
    stage = plan.geometry["stage"]
    assert stage["x"] >= 0
    assert stage["x"] + stage["width"] <= plan.geometry["width"]
    assert stage["y"] >= 0
    for place in plan.places:
        assert 0 < place.x < plan.geometry["width"]
        assert 0 < place.y < plan.geometry["height"]


def test_the_best_seats_cost_most_and_levels_go_to_the_back() -> None:
    places = auditoriums.plan(2_000, LEVELS).places
    away = {
        level: min(place.y for place in places if place.price_level == level) for level in LEVELS
    }
    assert sorted(away, key=lambda level: away[level]) == LEVELS
    assert {place.price_level for place in auditoriums.plan(500, ["one"]).places} == {"one"}


def test_companions_sit_beside_wheelchairs() -> None:
    plan = auditoriums.plan(2_000, LEVELS)
    companions = plan.geometry["companion"]
    assert companions
    assert plan.geometry["restricted"]
    for seat_no in companions:
        beside = (plan.places[seat_no - 1], plan.places[seat_no + 1])
        assert any(place.accessible for place in beside)
