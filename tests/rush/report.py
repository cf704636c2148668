"""What a rush showed: a page of Markdown, and the same as HTML with plots.

Both are made of the same blocks, so that neither tells what the other hides.
"""

import html
import math
import os
import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.rush.gate import Verdict, percentile
from tests.rush.load import CONFLICT
from tests.rush.people import ELSEWHERE
from tests.rush.playing import Outcome
from tests.rush.scenarios import Scenario

WIDTH, HEIGHT, LEFT, BOTTOM = 720, 200, 60, 24
COLOURS = ("#3832b4", "#0f766e", "#b4530a", "#8f1d5c", "#57534e", "#1d6fb8")
STYLE = (
    "body{font:16px/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;font-size:.875rem}"
    "td,th{border:1px solid #ccc;padding:.2rem .6rem;text-align:left;vertical-align:top}"
    "svg{width:100%;height:auto}text{font:12px system-ui;fill:#555}"
    "polyline{fill:none;stroke-linecap:round}"
    ".failed{background:#fde2e2}h3{margin-bottom:0}"
)
FAILED = "✗ FAILED"
LIMIT_SECONDS = 10
NEARLY = 0.9  # of a core: more than that of one in use is all of it

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Run:
    """Everything that a report tells."""

    name: str
    seed: str
    scale: float
    scenario: Scenario
    outcome: Outcome
    verdicts: Sequence[Verdict]
    integrity: Sequence[str]  # the lines of `verify`

    @property
    def passed(self) -> bool:
        """Whether all thresholds hold."""
        return all(verdict.holds for verdict in self.verdicts)


@dataclass(frozen=True)
class Block:
    """A heading, a paragraph, a table or a listing."""

    kind: str  # h1 h2 p table pre
    text: str = ""
    head: Sequence[str] = ()
    rows: Rows = ()


# -- what is told -------------------------------------------------------------------------------


def _blocks(run: Run) -> list[Block]:
    outcome, cpu = run.outcome, run.outcome.watch.cpu_total
    verdict = "All thresholds hold." if run.passed else "THRESHOLDS FAILED."
    return [
        Block("h1", run.name),
        Block("p", f"{verdict} {run.scenario.about}.{_scale(run)}"),
        _thresholds(run.verdicts),
        *(Block("p", note) for note in outcome.notes),
        Block("p", f"{_sold_out(run)} {_retries(outcome)} {_refusals(outcome)}"),
        Block("h2", "Requests"),
        _calls(run),
        Block("h2", "People"),
        _people(run),
        Block("h2", "Integrity"),
        Block("p", "What `verify` says of journal and tables afterwards:"),
        Block("pre", "\n".join(run.integrity)),
        Block("h2", "The machine"),
        _machine(cpu, outcome.seconds),
        Block(
            "p",
            f"Ran {outcome.seconds:.0f} s with seed {run.seed}: {run.scenario.people:,} people,"
            f" {run.scenario.seats:,} seats. The load shares the {os.cpu_count()} cores with what it"
            f" measures{_limit(outcome.watch.series.values, os.cpu_count() or 1)}.",
        ),
    ]


def _scale(run: Run) -> str:
    return "" if run.scale == 1 else f" Played with {run.scale:g} of the people and seats."


def _thresholds(verdicts: Sequence[Verdict]) -> Block:
    rows = [
        [v.metric, f"`{v.threshold}`", _figure(v.measured), "✓" if v.holds else FAILED]
        for v in verdicts
    ]
    return Block("table", head=["metric", "threshold", "measured", ""], rows=rows)


def _figure(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:,.4g}" if value < 1_000 else f"{value:,.0f}"


def _sold_out(run: Run) -> str:
    after, scenario = run.outcome.watch.sold_out_after(), run.scenario
    if math.isinf(after):
        return "Not sold out."
    seats = (
        "All seats"
        if scenario.wanted_seats == scenario.seats
        else f"All {scenario.wanted_seats:,} seats that were wanted"
    )
    return f"{seats} sold after {after:.0f} s."


def _retries(outcome: Outcome) -> str:
    last = {name: line[-1] for name, line in outcome.watch.retries.values.items() if line[-1]}
    told = ", ".join(f"{name} {count:.0f}" for name, count in last.items())
    lost = outcome.watch.metrics_lost
    unseen = f" {lost} looks at the service's metrics had no answer." if lost else ""
    return f"Transactions run again, by SQLSTATE or constraint: {told or 'none'}.{unseen}"


def _refusals(outcome: Outcome) -> str:
    """Tell how long those waited who were told to come back."""
    waits = [value for one in outcome.load.calls.values() for value in one.busy_milliseconds]
    if not waits:
        return "Nobody was told 503."
    half, most = (percentile(waits, share) for share in (50, 90))
    return f"{len(waits):,} answers were 503: half of them within {half:,.0f} ms, nine of ten within {most:,.0f} ms."


def _calls(run: Run) -> Block:
    rows = []
    for name, one in sorted(run.outcome.load.calls.items()):
        outcomes = ", ".join(f"{n:,} × {what}" for what, n in one.outcomes.most_common())
        times = [f"{percentile(one.milliseconds, p):,.0f}" for p in (50, 90, 95, 99, 100)]
        rows.append([name, f"{len(one.milliseconds):,}", *times, outcomes])
    head = ["request", "times", "p50 ms", "p90", "p95", "p99", "max", "answers"]
    return Block("table", head=head, rows=rows)


def _people(run: Run) -> Block:
    events = sorted(run.outcome.load.events.items())
    rows = [[name, f"{len(when):,}"] for name, when in events]
    return Block("table", head=["what happened to them", "times"], rows=rows)


def _machine(cpu: Mapping[str, float], seconds: float) -> Block:
    rows = [
        [name, f"{used:,.0f}", f"{used / max(seconds, 1) * 100:.0f} %"]
        for name, used in cpu.items()
    ]
    return Block("table", head=["process", "CPU s", "of one core, on average"], rows=rows)


def _limit(samples: Mapping[str, Sequence[float]], cores: int) -> str:
    """Say what was used when most was: the average of a whole run would hide a minute at the limit."""
    used = {name: line for name, line in samples.items() if name.startswith("cpu ")}
    load = _most(used.get("cpu load", ()))
    busy = _most([sum(each) for each in zip(*used.values(), strict=True)])
    told = (
        f", which used {busy:.0f} % of one in the busiest {LIMIT_SECONDS} s; the load used {load:.0f} % of one"
        " in its own"
    )
    if load > NEARLY * 100:
        return f"{told}, which is the end of it: IT WAS THE LIMIT, not the service"
    return (
        f"{told}: they were {'busy to the end' if busy > NEARLY * 100 * cores else 'not used up'}"
    )


def _most(line: Sequence[float]) -> float:
    """Return the mean of the window of LIMIT_SECONDS in which it was highest; samples are a second apart."""
    width = min(LIMIT_SECONDS, len(line)) or 1
    return max(
        sum(line[first : first + width]) / width for first in range(max(1, len(line) - width + 1))
    )


# -- Markdown and HTML --------------------------------------------------------------------------


def markdown(run: Run) -> str:
    """Tell a run as Markdown."""
    return "\n\n".join(_as_markdown(block) for block in _blocks(run)) + "\n"


def thresholds(verdicts: Sequence[Verdict]) -> str:
    """Tell the thresholds alone as Markdown."""
    return _as_markdown(_thresholds(verdicts)) + "\n"


def _as_markdown(block: Block) -> str:
    if block.kind == "table":
        lines = [block.head, ["---"] * len(block.head), *block.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    if block.kind == "pre":
        return "\n".join(f"    {line}" for line in block.text.splitlines())
    return {"h1": "# ", "h2": "## ", "p": ""}[block.kind] + block.text


def page(run: Run) -> str:
    """Tell a run as HTML; the plots come after the thresholds' table."""
    blocks = _blocks(run)
    first = next(number for number, block in enumerate(blocks) if block.kind == "h2")
    told = [_as_html(block) for block in blocks]
    parts = [*told[:first], *_plots(run), *told[first:]]
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        '<meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(run.name)}</title><style>{STYLE}</style>{''.join(parts)}</html>\n"
    )


def _as_html(block: Block) -> str:
    if block.kind == "table":
        rows = "".join(_row("td", row) for row in block.rows)
        return f"<table>{_row('th', block.head)}{rows}</table>"
    return f"<{block.kind}>{_inline(block.text)}</{block.kind}>"


def _row(cell: str, texts: Sequence[str]) -> str:
    cells = "".join(f"<{cell}>{_inline(text)}</{cell}>" for text in texts)
    return f'<tr class="failed">{cells}</tr>' if FAILED in texts else f"<tr>{cells}</tr>"


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


# -- plots --------------------------------------------------------------------------------------


def _plots(run: Run) -> list[str]:
    """Draw everything against the seconds since the first might come."""
    load, watch = run.outcome.load, run.outcome.watch
    seconds = [float(second) for second in range(int(run.outcome.seconds) + 1)]
    sampled, samples = watch.series.seconds, watch.series.values
    sold_out = watch.sold_out_after()
    arrived = ["arrived", *([ELSEWHERE] if run.scenario.waiting else [])]
    waiting = ["waiting", *(["waiting elsewhere"] if run.scenario.waiting else [])]
    conflicts = [name for name in sorted(load.events) if name.startswith(CONFLICT)]

    def series(title: str, *names: str) -> str:
        return _plot(title, sampled, {name: samples[name] for name in names}, sold_out)

    def counts(title: str, *names: str) -> str:
        lines = {name: _each_second(load.events.get(name, ()), seconds) for name in names}
        return _plot(title, seconds, lines, sold_out)

    cpu = {n.removeprefix("cpu "): v for n, v in samples.items() if n.startswith("cpu ")}
    retries = {name: _increases(line) for name, line in watch.retries.values.items()}
    refused = {
        "refused or run again": samples["rollbacks"],
        "committed": samples["commits"],
    }
    drawn = [
        "<h2>As it went</h2>",
        counts("Arrivals, holds and bookings each second", *arrived, "held", "booked"),
        series("People waiting and active", *waiting, "active"),
        series("Seats held and sold", "held", "sold"),
        _plot("Transactions each second", sampled, refused, sold_out),
        _plot(
            "Retries within five seconds, by SQLSTATE or constraint",
            watch.retries.seconds,
            retries,
            sold_out,
        ),
        counts("Conflicts: refusals with 409 each second", *conflicts),
        series("Database connections at work: running, blocked or reading", "running", "blocked"),
        _plot("CPU, percent of one core (load: this harness)", sampled, cpu, sold_out),
        "<h2>Milliseconds, by request</h2>",
    ]
    for name, one in sorted(load.calls.items()):
        lines = _percentiles(one.began, one.milliseconds, seconds)
        drawn.append(_plot(name, seconds, lines, sold_out))
    return drawn


def _increases(line: Sequence[float]) -> list[float]:
    return [new - old for old, new in zip([0.0, *line], line, strict=False)]


def _each_second(moments: Sequence[float], seconds: Sequence[float]) -> list[float]:
    ordered = sorted(moments)
    return [float(bisect_left(ordered, s + 1) - bisect_left(ordered, s)) for s in seconds]


def _percentiles(
    began: Sequence[float], milliseconds: Sequence[float], seconds: Sequence[float]
) -> dict[str, list[float | None]]:
    """Return percentiles by the second; none of a second in which nothing was asked."""
    groups: list[list[float]] = [[] for _ in seconds]
    for moment, value in zip(began, milliseconds, strict=True):
        groups[min(int(moment), len(groups) - 1)].append(value)
    return {
        f"p{p}": [percentile(group, p) if group else None for group in groups]
        for p in (50, 90, 95, 99)
    }


def _plot(
    title: str, x: Sequence[float], lines: Mapping[str, Sequence[float | None]], mark: float
) -> str:
    """Draw lines over seconds, broken where there is nothing, and a mark where the last seat was sold."""
    top = max((value or 0.0 for values in lines.values() for value in values), default=0.0) or 1.0
    end = max(x, default=0.0) or 1.0
    across, up = WIDTH - LEFT - 10, HEIGHT - BOTTOM - 26
    drawn = []
    for number, (name, values) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        for part in _unbroken(x, values):
            points = " ".join(
                f"{LEFT + across * at / end:.1f},{26 + up * (1 - value / top):.1f}"
                for at, value in part
            )
            drawn.append(f'<polyline points="{points}" stroke="{colour}"/>')
        drawn.append(
            f'<text x="{LEFT + 8 + 150 * number}" y="16" style="fill:{colour}">{name}</text>'
        )
    if mark <= end:
        at = LEFT + across * mark / end
        drawn.append(
            f'<path d="M{at:.1f} 26V{HEIGHT - BOTTOM}" stroke="#999" stroke-dasharray="3"/>'
        )
        drawn.append(f'<text x="{at - 4:.1f}" y="36" text-anchor="end">sold out</text>')
    return (
        f"<h3>{html.escape(title)}</h3>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(title)}">'
        f'<path d="M{LEFT} 26V{HEIGHT - BOTTOM}H{WIDTH - 10}" fill="none" stroke="#999"/>'
        f'<text x="{LEFT - 6}" y="34" text-anchor="end">{top:,.0f}</text>'
        f'<text x="{LEFT - 6}" y="{HEIGHT - BOTTOM}" text-anchor="end">0</text>'
        f'<text x="{WIDTH - 10}" y="{HEIGHT - 6}" text-anchor="end">{end:,.0f} s</text>'
        f"{''.join(drawn)}</svg>"
    )


def _unbroken(
    x: Sequence[float], values: Sequence[float | None]
) -> list[list[tuple[float, float]]]:
    """Return the parts of a line between which there is nothing; one of a single point has it twice, as a dot."""
    parts: list[list[tuple[float, float]]] = [[]]
    for at, value in zip(x, values, strict=True):
        if value is not None:
            parts[-1].append((at, value))
        elif parts[-1]:
            parts.append([])
    return [part * 2 if len(part) == 1 else part for part in parts if part]


def write(run: Run, directory: Path) -> Path:
    """Write both; return where the page is."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{run.name}.md").write_text(markdown(run))
    file = directory / f"{run.name}.html"
    file.write_text(page(run))
    return file
