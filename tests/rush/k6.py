"""The rush for k6: writes `tests/load/k6/scenarios.json`, which the script there plays.

    python -m tests.rush.k6

Scenarios, habits, declared answers and thresholds have one home, the harness; a test fails when the file is
not what this writes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.rush.load import CALLS, DECLARED, FORGED, PATIENCE_SECONDS
from tests.rush.people import GLANCES, GONE, READS
from tests.rush.scenarios import SCENARIOS, Scenario

FILE = Path(__file__).resolve().parents[1] / "load" / "k6" / "scenarios.json"
ASKED = ("get_availability", "join_queue", "pay", "place_hold", "poll_queue", *READS, *FORGED)
# What is read from the database, which the stage can do afterwards, whoever played the crowd.
READ_AFTERWARDS = frozenset({"integrity", "deadlocks", "sold", "unsold", "sold_out_after", "swept"})
# What a load tool cannot know: that, and what compares two parts of one run.
HARNESS_ONLY = READ_AFTERWARDS | {
    *("refused_in_vain", "slower", "slowest_slice", "polled", "pressed", "kept", "recovered"),
    "drained_after",
}


def export() -> dict[str, Any]:
    """Return everything that the script is told."""
    return {
        "calls": {name: _call(name) for name in ASKED},
        "reads": READS,
        "patience_seconds": PATIENCE_SECONDS,
        "glances": GLANCES,
        "gone": GONE,
        "scenarios": {name: _scenario(scenario) for name, scenario in SCENARIOS.items()},
    }


def _call(name: str) -> dict[str, Any]:
    answers = sorted(f"{status} {code}".strip() for status, code in DECLARED[name])
    return {"method": CALLS[name].method.upper(), "declared": answers}


def _scenario(scenario: Scenario) -> dict[str, Any]:
    told = asdict(scenario)
    kept = (
        *("about", "arrivals", "habits", "patience_seconds", "forged_per_second"),
        *("waiting_come", "waiting_go"),
    )
    _, by_harness = split(scenario.thresholds)
    told_here = {name: told[name] for name in kept} | {"judged_by_the_harness": by_harness}
    return told_here | scaled(scenario)


def scaled(scenario: Scenario) -> dict[str, Any]:
    """Return what the script is told that another size changes; the rest it reads from the stage."""
    by_k6, _ = split(scenario.thresholds)
    return {"pressure": scenario.pressure and asdict(scenario.pressure), "thresholds": by_k6}


def split(
    thresholds: Mapping[str, Sequence[str]],
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return those that k6 can judge, and those that it cannot."""
    by_k6 = {name: list(all_) for name, all_ in thresholds.items() if name not in HARNESS_ONLY}
    by_harness = {name: list(all_) for name, all_ in thresholds.items() if name in HARNESS_ONLY}
    return by_k6, by_harness


def text() -> str:
    """Return the file's text."""
    return json.dumps(export(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
