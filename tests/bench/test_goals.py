"""A bench whose figure misses its goal fails."""

import pytest

from tests.bench import goals


def test_a_figure_is_held_to_its_goal(capsys: pytest.CaptureFixture[str]) -> None:
    assert goals.judge({"hold": 0.70, "availability, large hall": 0.9, "bad token: 7 KB": 1.9})
    assert "met     hold: 70% (goal: at least 70%)" in capsys.readouterr().out
    assert not goals.judge({"hold": 0.93, "pay": 0.59})
    assert "MISSED  pay: 59% (goal: at least 60%)" in capsys.readouterr().out
    assert not goals.judge({"large hall": 1.2})
    assert not goals.judge({"hold, sold out": 0.75})  # its own goal, not that of a hold
    assert goals.judge({})


def test_a_figure_without_a_goal_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        goals.judge({"speed": 1.0})
