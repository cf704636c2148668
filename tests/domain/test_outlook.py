"""What those who wait are told: a range made of what was admitted lately, or nothing."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import make_accounts, make_sale
from tests.conftest import AdvancingClock
from webapp.db import Database, new_id
from webapp.domain import admission, outlook, waiting_room
from webapp.domain.outlook import Room
from webapp.domain.waiting_room import Arrival


def room(lately: int, steadily: int, seconds: float = 300.0, **more: int) -> Room:
    """A room that admitted so many within the last minute, and within the `seconds` before now."""
    return Room(1, 1, (), lately, steadily, seconds, **more)


@pytest.mark.parametrize(
    ("known", "ahead", "told"),
    [
        (room(100, 500), 99, (43, 84)),  # a hundred a minute
        (room(100, 1_500), 99, (15, 84)),  # slower than before: between both
        (room(400, 500), 99, (11, 79)),  # faster than before
        (room(100, 100, 60.0), 99, (43, 84)),
        (room(100, 500), 0, (0, 1)),
        (room(5, 25), 0, (6, 28)),
        (room(100, 500, admitted_just_now=9), 99, (43, 313)),  # slower just now
        (room(100, 500, admitted_just_now=60), 99, (43, 84)),  # a crowd, once a minute
        (room(100, 500, admitted_just_now=4), 99, (43, 84)),  # too few to tell
        (room(100, 500, pace_percent=50), 99, (43, 167)),  # the house slows down
        (room(100, 500, pace_percent=0), 99, None),  # and stops
        (room(100, 500, 59.0), 99, None),  # in the first minute
        (room(4, 500), 99, None),  # of four nobody can tell the pace
        (room(0, 500), 99, None),
        (room(0, 0, 0.0), 99, None),
    ],
)
def test_the_estimate(known: Room, ahead: int, told: tuple[int, int] | None) -> None:
    assert known.estimate(ahead) == told


@given(st.integers(0, 100_000), st.integers(5, 6_000), st.integers(0, 30_000), st.integers(1, 100))
def test_who_is_further_behind_is_told_no_less(
    ahead: int, lately: int, earlier: int, percent: int
) -> None:
    known = room(lately, lately + earlier, pace_percent=percent, admitted_just_now=lately // 4)
    told, behind = known.estimate(ahead), known.estimate(ahead + 1)
    assert told is not None
    assert behind is not None
    assert told[0] <= told[1]
    assert told[0] <= behind[0]
    assert told[1] <= behind[1]


@given(st.integers(0, 100_000), st.integers(2, 1_500))
def test_the_range_contains_what_a_steady_pace_makes_of_it(ahead: int, just_now: int) -> None:
    known = room(just_now * 4, just_now * 20, admitted_just_now=just_now)
    told = known.estimate(ahead)
    assert told is not None
    assert told[0] <= (ahead + 1) / just_now * outlook.JUST_NOW_SECONDS <= told[1]


def test_a_slower_pace_never_makes_the_late_end_earlier() -> None:
    told = [
        replace(room(100, 500), pace_percent=percent).estimate(99) for percent in (100, 80, 30, 10)
    ]
    ends = [one[1] for one in told if one is not None]
    assert ends == sorted(ends)
    assert len(ends) == len(told)


def test_a_room_knows_who_came_in_within_which_time(db: Database, clock: AdvancingClock) -> None:
    sale = make_sale(db, capacity=100)

    def admit(count: int) -> None:
        for person in make_accounts(db, count):
            db.transact(waiting_room.join, Arrival(new_id(), sale, person.id))
        db.transact(admission.number_newcomers, sale)
        assert db.transact(admission.admit, sale) == count

    for count, later in ((4, 200), (3, 30), (2, 5)):
        admit(count)
        clock.advance(later)
    seen = db.read(outlook.look, sale)
    counts = seen.admitted_steadily, seen.admitted_last_minute, seen.admitted_just_now
    assert counts == (9, 5, 2)
    assert 235 <= seen.steady_seconds < 300
