"""A pressed sale serves everybody in the end, and is compared with what was served before."""

from pathlib import Path

import pytest

from tests.rush.pressed import Taken, judge
from tests.rush.scenarios import SOUND, Pressure, Scenario
from tests.rush.test_rush import QUICK, play


@pytest.mark.slow
@pytest.mark.failure("F39")
@pytest.mark.parametrize(
    ("people", "seconds", "enough"), [(3_000, 2.0, True), (2_000, 600.0, False)]
)
def test_twice_as_many_as_are_taken_get_their_seats_in_the_end(
    people: int, seconds: float, enough: bool, tmp_path: Path
) -> None:
    scenario = Scenario(
        "As many as buy in a second, then twice as many",
        people=people,
        seats=people,
        arrivals=[],
        habits=QUICK,
        pressure=Pressure(
            at_once=4, slices=3, slice_seconds=1.0, hello_seconds=0.5, overload_seconds=seconds
        ),
        thresholds=SOUND
        | {
            "without_retry_after": ["count==0"],
            "booked": ["rate==1"],
            "drained_after": ["value<=120"],
            "pressed": ["rate>=0.9" if enough else "rate<0.9"],
        },
    )
    told = play(scenario, tmp_path)
    assert "under pressure it made" in told
    assert ("PRESSED FOR LESS THAN" in told) is not enough


def test_a_slower_machine_is_not_a_slower_house() -> None:
    before = [Taken(bookings=200, hellos=8_000)]
    slower_machine = judge(before, 150, [Taken(bookings=100, hellos=4_000)])
    assert slower_machine == {"kept": pytest.approx(1.0), "recovered": pytest.approx(1.0)}
    slower_house = judge(before, 150, [Taken(bookings=100, hellos=8_000)])
    assert slower_house == {"kept": pytest.approx(0.75), "recovered": pytest.approx(0.5)}


def test_what_is_kept_is_of_the_peak() -> None:
    before = [Taken(150, 8_000), Taken(250, 8_000)]
    assert judge(before, 200, before) == {"kept": 0.8, "recovered": 1.0}
