"""The gate notices what a gate must notice, and a small rush goes through the real processes."""

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.rush import gate
from tests.rush.__main__ import run
from tests.rush.load import Load, Measured, Reply
from tests.rush.people import Habits, Hall
from tests.rush.scenarios import SCENARIOS, SOUND, Scenario


def answered(*replies: tuple[str, Reply]) -> Load:
    load = Load(0)
    for name, reply in replies:
        load._measure(name, load.now, reply)
    return load


OK = ("get_availability", Reply(200, {}, 0))


@pytest.mark.failure("F35")
@pytest.mark.failure("F36")
@pytest.mark.parametrize(
    ("bad", "metric"),
    [
        (("pay", Reply(503, {"code": "busy"}, 1)), "http_req_failed"),
        (("pay", Reply(0, {}, 1)), "http_req_failed"),
        (("pay", Reply(500, {}, 0)), "undeclared"),
        (("pay", Reply(200, {}, 0)), "undeclared"),  # a booking is 201
        (("pay", Reply(409, {"code": "seats_taken"}, 0)), "undeclared"),  # declared for holds only
    ],
)
def test_the_gate_tells_a_failure_from_a_declared_refusal(
    bad: tuple[str, Reply], metric: str
) -> None:
    declared = ("place_hold", Reply(409, {"code": "seats_taken"}, 0))
    good = gate.measure(answered(OK, declared), 1.0)
    assert (good["http_req_failed"], good["undeclared"], good["checks"]) == (0, 0, 1)
    broken = gate.measure(answered(OK, declared, bad), 1.0)
    assert broken[metric] > 0
    verdicts = gate.judge(SOUND, answered(OK, bad), broken | {"integrity": 1.0})
    assert not all(verdict.holds for verdict in verdicts)


@pytest.mark.failure("F35")
def test_quick_answers_are_not_enough() -> None:
    load = answered(*[OK] * 100)
    thresholds = {"http_req_duration": ["p(95)<1000"], "booked": ["rate>0.9"]}
    quick, sold = gate.judge(thresholds, load, gate.measure(load, 1.0) | {"booked": 0.0})
    assert (quick.holds, sold.holds) == (True, False)


def test_thresholds_are_those_of_k6() -> None:
    load = Load(0)
    load.calls["pay"] = Measured(outcomes=load.calls.get("pay", Measured()).outcomes)
    load.calls["pay"].milliseconds.extend(range(1, 101))
    seen = {
        threshold: gate.judge({"http_req_duration{name:pay}": [threshold]}, load, {})[0]
        for threshold in ("p(90)<92", "p(90)<91", "avg<=50.5", "max>=100", "p(99.9) < 101")
    }
    assert [verdict.holds for verdict in seen.values()] == [True, False, True, True, True]
    with pytest.raises(ValueError, match="about 5"):
        gate.judge({"http_reqs": ["about 5"]}, load, {"http_reqs": 5.0})


def test_people_choose_free_neighbours_of_one_row() -> None:
    hall = Hall(1, ["A1", "A2", "A3", "B1", "B2"], ["A", "A", "A", "B", "B"])
    rng = random.Random(1)
    for _ in range(20):
        assert hall.choose("fshff", 2, None, rng) == ["B1", "B2"]
        assert hall.choose("sshss", 2, None, rng) == []
        assert set(hall.choose("fffff", 1, 2, rng)) <= {"A1", "A2"}


@pytest.mark.slow
@pytest.mark.failure("F35")
def test_a_small_rush_passes_its_gate(tmp_path: Path) -> None:
    scenario = Scenario(
        "40 people and 60 seats",
        people=40,
        seats=60,
        arrivals=[(2, 1.0)],
        habits=Habits(party=(1,), think_seconds=0.1, look_seconds=0.1),
        capacity=20,
        forged_per_second=20,
        opens_in=0.5,
        thresholds=SOUND | {"booked": ["rate==1"]},
    )
    # In a thread: the browser's tests leave an event loop running in this one.
    with ThreadPoolExecutor(1) as aside:
        assert aside.submit(run, "small", scenario, "1", tmp_path).result()
    told = (tmp_path / "small.md").read_text()
    assert "| booked | 40 |" in told
    assert (tmp_path / "small.html").read_text().count("<svg") > 5


def test_every_scenario_counts_more_than_latency() -> None:
    for scenario in SCENARIOS.values():
        assert set(SOUND) < set(scenario.thresholds)
        assert {"booked", "sold", "admitted"} & set(scenario.thresholds)
