"""Thresholds, written as k6 writes them: `p(90)<2000`, `rate<0.001`, `count>=18000`."""

import math
import operator
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from tests.rush.load import FORGED, Load, Measured, Party

_FORM = re.compile(r"(p\((\d+(?:\.\d+)?)\)|avg|max|rate|count|value)\s*(<=|>=|==|<|>)\s*([\d.]+)\Z")
_COMPARE = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}
_REQUESTS = re.compile(r"http_req_duration(?:\{name:(\w+)\})?\Z")


@dataclass(frozen=True)
class Verdict:
    """One threshold, what was measured, and whether it holds."""

    metric: str
    threshold: str
    measured: float
    holds: bool


def percentile(values: Sequence[float], percent: float) -> float:
    """Return what `percent` of the values do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


def judge(
    thresholds: Mapping[str, Sequence[str]], load: Load, values: Mapping[str, float]
) -> list[Verdict]:
    """Hold a run to its thresholds; raise ValueError for one that cannot be read.

    `values` are what is one number: counts and rates by their metric's name.
    """
    return [
        _judge(metric, threshold, load, values)
        for metric, all_of_it in thresholds.items()
        for threshold in all_of_it
    ]


def _judge(metric: str, threshold: str, load: Load, values: Mapping[str, float]) -> Verdict:
    form = _FORM.match(threshold)
    if form is None:
        raise ValueError(threshold)
    what, percent, sign, limit = form.groups()
    requests = _REQUESTS.match(metric)
    if requests is None:
        measured = values[metric]
    else:
        measured = _of_durations(_durations(load, requests[1]), what, percent)
    return Verdict(metric, threshold, measured, _COMPARE[sign](measured, float(limit)))


def _durations(load: Load, name: str | None) -> list[float]:
    chosen = load.calls.values() if name is None else [load.calls.get(name, Measured())]
    return [value for measured in chosen for value in measured.milliseconds]


def _of_durations(values: Sequence[float], what: str, percent: str | None) -> float:
    if not values:
        return math.inf  # what was never asked was not answered quickly
    if percent is not None:
        return percentile(values, float(percent))
    return {"avg": sum(values) / len(values), "max": max(values)}[what]


def refused_in_vain(parties: Sequence[Party], unsold: int) -> int:
    """Count the parties that were told that there are not enough seats when there were.

    Where no seat comes back, those were free that a party got which asked after the refused one had heard, and
    those that are unsold in the end.
    """
    later = sorted((party for party in parties if party.seated), key=lambda party: party.asked)
    free = [*accumulate((party.quantity for party in reversed(later)), initial=unsold)]
    return sum(
        free[len(later) - bisect_right(later, one.heard, key=lambda party: party.asked)]
        >= one.quantity
        for one in parties
        if not one.seated
    )


def measure(load: Load, seconds: float) -> dict[str, float]:
    """Return what every run has: requests, failures, checks, and how people ended."""
    calls = load.calls.values()
    requests = sum(len(one.milliseconds) for one in calls)
    undeclared, lost = sum(one.undeclared for one in calls), sum(one.lost for one in calls)
    outcomes = (load.calls[name].outcomes for name in FORGED if name in load.calls)
    forged: Counter[str] = sum(outcomes, Counter())
    refused = sum(count for outcome, count in forged.items() if outcome.startswith("4"))
    return {
        "http_reqs": requests / seconds,
        "http_req_failed": sum(one.failed for one in calls) / max(1, requests),
        "checks": 1 - (undeclared + lost) / max(1, requests),
        "undeclared": undeclared,
        "lost": lost,
        "without_retry_after": sum(one.without_retry_after for one in calls),
        "forged": forged.total(),
        "forged_refused": refused / max(1, forged.total()),
        "admitted": len(load.events.get("admitted", ())),
        "no_seats": len(load.events.get("no_seats", ())),
    }
