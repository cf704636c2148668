"""What the benches must show: every goal that has a number, in one place.

All are ratios of medians within one run, so that a slow machine is no failure. docs/benchmarks.md has the figures.
"""

from collections.abc import Mapping

# By how a figure's name begins; of two that fit, the longer.
AT_LEAST = {
    "hold": 0.70,  # of the rate of the bare reference
    "pay": 0.60,
    "availability": 0.70,  # of the rate of a Flask hello
    "seat map": 0.70,
    "joining a sold-out sale": 0.80,
    "join, sold out": 0.80,
    "hold, sold out": 0.80,
    "poll": 0.80,
    "page's poll": 0.50,  # its words are put together for each
    "join, the usher ticking": 0.40,
}
AT_MOST = {
    "retries": 0.01,  # of the holds and payments
    "bad token": 2.0,  # times the CPU of a 404
    "large hall": 1.1,  # times as long as in the small one
}


def judge(figures: Mapping[str, float]) -> bool:
    """Tell each figure beside its goal; return whether all are met."""
    verdicts = [_judge(name, figure) for name, figure in figures.items()]
    print("", *(told for told, _ in verdicts), sep="\n")
    return all(met for _, met in verdicts)


def _judge(name: str, figure: float) -> tuple[str, bool]:
    least, most = _goal(name, AT_LEAST), _goal(name, AT_MOST)
    if least is not None:
        met, goal = figure >= least, f"at least {least:.0%}"
    elif most is not None:
        met, goal = figure <= most, f"at most {most:.0%}"
    else:
        raise KeyError(name)
    return f"{'met   ' if met else 'MISSED'}  {name}: {figure:.0%} (goal: {goal})", met


def _goal(name: str, goals: Mapping[str, float]) -> float | None:
    start = max((start for start in goals if name.startswith(start)), key=len, default=None)
    return None if start is None else goals[start]
