"""What a rush showed: a page of Markdown, and the same as HTML with plots."""

import html
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.rush.gate import Verdict, percentile
from tests.rush.load import Load
from tests.rush.scenarios import Scenario
from tests.rush.watch import Series

WIDTH, HEIGHT, LEFT, BOTTOM = 720, 200, 60, 24
COLOURS = ("#3832b4", "#0f766e", "#b4530a", "#8f1d5c", "#57534e", "#1d6fb8")
STYLE = (
    "body{font:16px/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.2rem .6rem;text-align:left}"
    "svg{width:100%;height:auto}text{font:12px system-ui;fill:#555}"
)


@dataclass(frozen=True)
class Run:
    """Everything that a report tells."""

    name: str
    scenario: Scenario
    seconds: float
    load: Load
    series: Series
    cpu_total: Mapping[str, float]
    verdicts: Sequence[Verdict]
    retries: Mapping[str, float]
    integrity: Sequence[str]  # the lines of `verify`
    sold_out_after: float | None


def markdown(run: Run) -> str:
    """Tell a run as Markdown."""
    parts = [f"# {run.name}", run.scenario.about, _thresholds(run), _calls(run), _people(run)]
    sold_out = "not sold out" if run.sold_out_after is None else f"{run.sold_out_after:.0f} s"
    cpu = ", ".join(f"{name} {value:.0f} s" for name, value in run.cpu_total.items())
    retries = ", ".join(f"{name} {count:.0f}" for name, count in run.retries.items())
    parts += [
        f"Ran {run.seconds:.0f} s. All seats sold after: {sold_out}. CPU time: {cpu}.",
        f"Transactions run again: {retries or 'none'}.",
        "## Integrity",
        "\n".join(f"    {line}" for line in run.integrity),
    ]
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _thresholds(run: Run) -> str:
    return _table(
        ["metric", "threshold", "measured", ""],
        [
            [v.metric, f"`{v.threshold}`", f"{v.measured:,.4g}", "✓" if v.holds else "✗ FAILED"]
            for v in run.verdicts
        ],
    )


def _calls(run: Run) -> str:
    rows = []
    for name, one in sorted(run.load.calls.items()):
        outcomes = ", ".join(f"{n:,} × {what}" for what, n in one.outcomes.most_common())
        times = [f"{percentile(one.milliseconds, p):,.0f}" for p in (50, 90, 95, 99, 100)]
        rows.append([name, f"{len(one.milliseconds):,}", *times, outcomes])
    return _table(["request", "times", "p50 ms", "p90", "p95", "p99", "max", "answers"], rows)


def _people(run: Run) -> str:
    rows = [[name, f"{len(when):,}"] for name, when in sorted(run.load.events.items())]
    return _table(["people", "how many"], rows)


# -- plots --------------------------------------------------------------------------------------


def page(run: Run) -> str:
    """Tell a run as HTML with plots."""
    seconds = [float(second) for second in range(int(run.seconds) + 1)]
    samples = run.series.values
    plots = [
        ("People", run.series.seconds, {n: samples[n] for n in ("waiting", "active")}),
        ("Seats", run.series.seconds, {n: samples[n] for n in ("held", "sold")}),
        (
            "Each second",
            seconds,
            {n: _each_second(run.load.events.get(n, ()), seconds) for n in ("arrived", "booked")},
        ),
        ("CPU, percent of one core", run.series.seconds, _cpu(samples)),
    ]
    for name, one in sorted(run.load.calls.items()):
        lines = _percentiles(one.began, one.milliseconds, seconds)
        plots.append((f"{name}: milliseconds", seconds, lines))
    drawn = "".join(f"<h2>{html.escape(title)}</h2>{_plot(x, lines)}" for title, x, lines in plots)
    told = html.escape(markdown(run))
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{run.name}</title>"
        f"<style>{STYLE}</style><pre>{told}</pre>{drawn}</html>\n"
    )


def _cpu(samples: Mapping[str, list[float]]) -> dict[str, list[float]]:
    return {n.removeprefix("cpu "): v for n, v in samples.items() if n.startswith("cpu ")}


def _each_second(moments: Sequence[float], seconds: Sequence[float]) -> list[float]:
    ordered = sorted(moments)
    return [float(bisect_left(ordered, s + 1) - bisect_left(ordered, s)) for s in seconds]


def _percentiles(
    began: Sequence[float], milliseconds: Sequence[float], seconds: Sequence[float]
) -> dict[str, list[float]]:
    groups: list[list[float]] = [[] for _ in seconds]
    for moment, value in zip(began, milliseconds, strict=True):
        groups[min(int(moment), len(groups) - 1)].append(value)
    return {f"p{p}": [percentile(group, p) for group in groups] for p in (50, 90, 99)}


def _plot(x: Sequence[float], lines: Mapping[str, Sequence[float]]) -> str:
    top = max((max(values, default=0.0) for values in lines.values()), default=0.0) or 1.0
    end = max(x, default=0.0) or 1.0
    across, up = WIDTH - LEFT - 10, HEIGHT - BOTTOM - 10
    drawn = []
    for number, (name, values) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(
            f"{LEFT + across * at / end:.1f},{10 + up * (1 - value / top):.1f}"
            for at, value in zip(x, values, strict=True)
        )
        drawn.append(f'<polyline points="{points}" fill="none" stroke="{colour}"/>')
        drawn.append(
            f'<text x="{LEFT + 8 + 110 * number}" y="20" style="fill:{colour}">{name}</text>'
        )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
        f'<path d="M{LEFT} 10V{HEIGHT - BOTTOM}H{WIDTH - 10}" fill="none" stroke="#999"/>'
        f'<text x="{LEFT - 6}" y="20" text-anchor="end">{top:,.0f}</text>'
        f'<text x="{LEFT - 6}" y="{HEIGHT - BOTTOM}" text-anchor="end">0</text>'
        f'<text x="{WIDTH - 10}" y="{HEIGHT - 6}" text-anchor="end">{end:,.0f} s</text>'
        f"{''.join(drawn)}</svg>"
    )


def write(run: Run, directory: Path) -> Path:
    """Write both; return where the page is."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{run.name}.md").write_text(markdown(run))
    file = directory / f"{run.name}.html"
    file.write_text(page(run))
    return file
