"""Rush a sale: `python -m tests.rush [SCENARIO …] [--scale 0.1] [--seed N] [--report DIRECTORY]`.

PostgreSQL, gunicorn and the scheduler run on this machine with production settings, beside the load. The
exit status is 1 when a threshold fails. With --stage FILE the sale is only set up, for another load tool:
FILE says where it is and who may come; Ctrl-C ends it, and what the database tells is gated.
"""

import argparse
import resource
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import uvloop

from tests.rush import gate, k6, profiling, report
from tests.rush.load import Load, collect_seldom
from tests.rush.playing import Outcome, rush
from tests.rush.scenarios import SCENARIOS, Scenario
from tests.rush.stage import Stage, deadlocks, staged
from tests.servers import ROOT
from webapp.domain import audit
from webapp.domain.audit.findings import Result


def run(
    name: str,
    scenario: Scenario,
    seed: str,
    directory: Path,
    scale: float = 1.0,
    profile: bool = False,
) -> bool:
    """Rush one sale and write its report; return whether all thresholds hold."""
    print(f"{name} (seed {seed}): {scenario.about}", flush=True)
    with (
        tempfile.TemporaryDirectory() as logs,
        staged(scenario, Path(logs), profiling.SETTINGS if profile else None) as stage,
    ):
        with profiling.profiled(stage.server) if profile else nullcontext([]) as seen:
            outcome = uvloop.run(rush(stage, seed))
        afterwards, checked = _read_afterwards(stage)
    values = _measure(scenario, outcome) | afterwards
    unsold = round(values["unsold"])
    values["refused_in_vain"] = gate.refused_in_vain(outcome.load.parties, unsold)
    verdicts = gate.judge(scenario.thresholds, outcome.load, values)
    told = report.Run(name, seed, scale, scenario, outcome, verdicts, _lines(checked))
    file = report.write(told, directory)
    print(f"\n\n{report.markdown(told)}\nWith plots: {file}", flush=True)
    if profile:
        (directory / f"{name}-profile.md").write_text("\n".join(seen) + "\n")
        print(*seen, sep="\n", flush=True)
    return all(verdict.holds for verdict in verdicts)


def run_anyhow(name: str, *how: Any) -> bool:
    """Like `run`; whose rush breaks has failed, and the others still have theirs."""
    try:
        return run(name, *how)
    except Exception:  # noqa: BLE001 - told in full, and counted as a failure
        traceback.print_exc()
        return False


def _measure(scenario: Scenario, outcome: Outcome) -> dict[str, float]:
    """Return what was seen that is one number, by its metric's name."""
    load = outcome.load
    values = gate.measure(load, outcome.seconds) | outcome.values
    came = len(load.events.get("arrived", ()))
    values["booked"] = len(load.events.get("booked", ())) / max(1, came)
    if scenario.waiting:
        ends = (len(load.events.get(f"elsewhere: {end}", ())) for end in ("in line", "admitted"))
        values["waited"] = sum(ends) / scenario.waiting
    return values


def _read_afterwards(stage: Stage) -> tuple[dict[str, float], Sequence[Result]]:
    """Return what the database tells when all is over, by its metric's name, and what `verify` finds."""
    scenario, sold = stage.scenario, stage.count_sold()
    values = {
        "sold": sold / scenario.wanted_seats,
        "unsold": scenario.wanted_seats - sold,
        "sold_out_after": stage.sold_out_after(),
    }
    if scenario.dead_holds:
        values["swept"] = stage.count_swept() / scenario.dead_holds
    checked = stage.db.read(audit.run).results
    values["integrity"] = sum(result.ok for result in checked) / len(checked)
    # Last: a process tells the server what it counted when it has had nothing to do for a while.
    values["deadlocks"] = stage.db.read(deadlocks)
    return values, checked


def _lines(checked: Sequence[Result]) -> list[str]:
    return [f"{'ok' if result.ok else 'DIFFERS'}  {result.name}" for result in checked]


def set_up(scenario: Scenario, file: Path) -> bool:
    """Set a sale up for another load tool, until Ctrl-C; return whether what the database tells then holds."""
    enough = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: enough.set())
    with tempfile.TemporaryDirectory() as logs, staged(scenario, Path(logs)) as stage:
        stage.export(file)
        opens = max(0.0, stage.begins_at - time.monotonic())
        print(f"{file} is written; people may come in {opens:.0f} s. Ctrl-C ends it.", flush=True)
        enough.wait()
        values, checked = _read_afterwards(stage)
    told = {name: all_ for name, all_ in scenario.thresholds.items() if name in k6.READ_AFTERWARDS}
    verdicts = gate.judge(told, Load(0, 0.0), values)
    print(*_lines(checked), "", report.thresholds(verdicts), sep="\n")
    return all(verdict.holds for verdict in verdicts)


def main() -> None:
    """Rush what the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("scenario", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--scale", type=float, default=1.0, help="of people and seats")
    parser.add_argument("--seed", default=f"{time.time_ns() % 10**6}")
    parser.add_argument("--report", type=Path, default=ROOT / "var" / "rush")
    parser.add_argument("--profile", action="store_true", help="tell what the database did")
    parser.add_argument("--stage", type=Path, metavar="FILE", help="set up one sale, no more")
    chosen = parser.parse_args()
    # The loop's runner turns an interrupt into the end of the main task, wherever that is, and nothing is left
    # running; a shell's background jobs ignore interrupts. (An exception raised by a handler may end in a
    # callback of the loop, and the rush goes on.)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    for name in chosen.scenario:
        if name not in SCENARIOS:
            parser.error(f"there is no scenario {name}: {', '.join(SCENARIOS)}")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # everybody has a connection
    collect_seldom()
    if chosen.stage:
        if len(chosen.scenario) != 1:
            parser.error("--stage wants one scenario")
        scenario = SCENARIOS[chosen.scenario[0]].scaled(chosen.scale)
        sys.exit(not set_up(scenario, chosen.stage))
    verdicts = {
        name: run_anyhow(
            name,
            SCENARIOS[name].scaled(chosen.scale),
            chosen.seed,
            chosen.report,
            chosen.scale,
            chosen.profile,
        )
        for name in chosen.scenario or SCENARIOS
    }
    print("\n".join(f"{'passed' if ok else 'FAILED'}  {name}" for name, ok in verdicts.items()))
    sys.exit(not all(verdicts.values()))


if __name__ == "__main__":
    main()
