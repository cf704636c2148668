"""The gate notices what a gate must notice, and a small rush goes through the real processes."""

import asyncio
import contextlib
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
from array import array
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from tests.conftest import config_for, dispose
from tests.rush import gate, k6, profiling, report, stage, watch
from tests.rush.__main__ import run
from tests.rush.load import FORGED, Load, Measured, Party, Reply
from tests.rush.people import READS, Habits, Hall
from tests.rush.playing import BOOKING, STANDING, end, slice_p95s
from tests.rush.scenarios import SCENARIOS, SOUND, UNFAILING, Scenario
from tests.rush.test_lines import House, answer
from tests.rush.test_lines import run as alone
from tests.servers import ROOT, until
from webapp import create_app


def answered(*replies: tuple[str, Reply]) -> Load:
    load = Load(0, 1.0)
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
        (("pay", Reply(0, {}, 1)), "lost"),
        (("pay", Reply(503, {"code": "busy"}, 0)), "without_retry_after"),
        (("pay", Reply(429, {"code": "too_many_attempts"}, 0)), "without_retry_after"),
        (("pay", Reply(200, {}, 0)), "undeclared"),  # a booking is 201
        (("pay", Reply(409, {"code": "seats_taken"}, 0)), "undeclared"),  # declared for holds only
        (("forged_hold", Reply(201, {}, 0)), "undeclared"),  # got in with a token that is none
        (("forged_hold", Reply(409, {"code": "seats_taken"}, 0)), "undeclared"),
        (("forged_poll", Reply(429, {"code": "poll_too_soon"}, 1)), "undeclared"),
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
    thresholds = SOUND | UNFAILING | {"lost": ["count==0"], "without_retry_after": ["count==0"]}
    sound = {"integrity": 1.0, "deadlocks": 0.0}
    verdicts = gate.judge(thresholds, answered(OK, bad), broken | sound)
    assert not all(verdict.holds for verdict in verdicts)


@pytest.mark.failure("F35")
def test_quick_answers_are_not_enough() -> None:
    load = answered(*[OK] * 100)
    thresholds = {"http_req_duration": ["p(95)<1000"], "booked": ["rate>0.9"]}
    quick, sold = gate.judge(thresholds, load, gate.measure(load, 1.0) | {"booked": 0.0})
    assert (quick.holds, sold.holds) == (True, False)


def test_thresholds_are_those_of_k6() -> None:
    load = Load(0, 1.0)
    load.calls["pay"] = Measured(outcomes=load.calls.get("pay", Measured()).outcomes)
    load.calls["pay"].milliseconds.extend(range(1, 101))
    seen = {
        threshold: gate.judge({"http_req_duration{name:pay}": [threshold]}, load, {})[0]
        for threshold in ("p(90)<92", "p(90)<91", "avg<=50.5", "max>=100", "p(99.9) < 101")
    }
    assert [verdict.holds for verdict in seen.values()] == [True, False, True, True, True]
    [never] = gate.judge({"http_req_duration{name:place_hold}": ["p(90)<2000"]}, load, {})
    assert not never.holds
    with pytest.raises(ValueError, match="about 5"):
        gate.judge({"http_reqs": ["about 5"]}, load, {"http_reqs": 5.0})


def test_people_choose_free_neighbours_of_one_row() -> None:
    hall = Hall(1, ["A1", "A2", "A3", "B1", "B2"], ["A", "A", "A", "B", "B"])
    rng = random.Random(1)
    for _ in range(20):
        assert hall.choose("fshff", 2, 1.0, rng) == ["B1", "B2"]
        assert hall.choose("sshss", 2, 1.0, rng) == []
        assert set(hall.choose("fffff", 1, 0.4, rng)) <= {"A1", "A2"}


def play(scenario: Scenario, directory: Path, *, profile: bool = False) -> str:
    """Rush it, expect that it passes, and return what is told of it."""
    # In a thread: the browser's tests leave an event loop running in this one.
    with ThreadPoolExecutor(1) as aside:
        assert aside.submit(run, "small", scenario, "1", directory, profile=profile).result()
    return (directory / "small.md").read_text()


QUICK = Habits(party=(1,), looks=1, think_seconds=0.1, look_seconds=0.1)


def test_what_watches_does_not_fail_unseen() -> None:
    async def look(seconds: float) -> None:
        await asyncio.sleep(seconds)
        raise ValueError("no figures any more")

    async def end_after_a_while(seconds: float) -> None:
        watching = asyncio.create_task(look(seconds))
        await asyncio.sleep(0.01)
        await end(watching)

    alone(end_after_a_while(60.0))
    with pytest.raises(ValueError, match="no figures"):
        alone(end_after_a_while(0.0))


def test_a_look_at_the_metrics_that_is_lost_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "METRICS_EVERY_SECONDS", 0.01)
    told = answer(b'jari_transaction_retries_total{sqlstate="40001"} 3.0')

    async def look() -> None:
        async with House(lambda number: b"" if number < 3 else told).open() as port:
            eye = watch.Watch("", {}, port, {})
            looking = asyncio.create_task(eye._look_at_retries())
            async with asyncio.timeout(30):
                while not eye.retries.seconds:
                    await asyncio.sleep(0.01)
            await end(looking)
        assert eye.metrics_lost == 2
        assert eye.retries.values["40001"][0] == 3

    alone(look())


def test_a_load_that_was_the_limit_for_a_minute_is_named() -> None:
    calm = [20.0] * 240
    crowded = [*[20.0] * 30, *[99.0] * 60, *[20.0] * 150]
    idle = report._limit({"cpu load": calm, "cpu web": calm, "waiting": crowded}, 2)
    assert "40 % of one in the busiest 10 s; the load used 20 %" in idle
    assert idle.endswith("not used up")
    assert "99 % of one in its own, which is the end of it: IT WAS THE LIMIT" in report._limit(
        {"cpu load": crowded, "cpu web": calm}, 2
    )
    full = report._limit({"cpu load": calm, "cpu web": [170.0] * 12 + [20.0] * 228}, 2)
    assert full.endswith(
        "190 % of one in the busiest 10 s; the load used 20 % of one in its own: they were busy to the end"
    )
    assert "the load used 0 %" in report._limit({}, 2)


def test_the_wait_for_a_503_is_told_by_itself() -> None:
    load = answered(OK, ("pay", Reply(503, {"code": "busy"}, 1)), ("pay", Reply(201, {}, 0)))
    assert len(load.calls["pay"].milliseconds) == 2
    assert len(load.calls["pay"].busy_milliseconds) == 1


PLOTS = {
    "Arrivals, holds and bookings each second": ["arrived", "held", "booked"],
    "People waiting and active": ["waiting", "active"],
    "Seats held and sold": ["held", "sold"],
    "Transactions each second": ["refused or run again", "committed"],
    "Retries within five seconds, by SQLSTATE or constraint": ["40001", "40P01"],
    "Database connections at work: running, blocked or reading": ["running", "blocked"],
    "CPU, percent of one core (load: this harness)": ["web", "jobs", "postgres", "load"],
}


def plots(page: str) -> dict[str, list[str]]:
    """Return the names of the lines in each plot that have a point at least, by the plot's title."""
    drawn = re.compile(r'(?:<polyline points="[0-9][^>]*>)+<text [^>]*>([^<]*)<')
    return {
        title: drawn.findall(svg)
        for title, svg in re.findall(r"<h3>([^<]*)</h3>(<svg.*?</svg>)", page)
    }


@pytest.mark.slow
@pytest.mark.failure("F35")
def test_a_small_rush_passes_its_gate(tmp_path: Path) -> None:
    scenario = Scenario(
        "40 people and 40 seats; every fourth lets a seat go and comes back for it",
        people=40,
        seats=40,
        arrivals=[(2, 1.0)],
        habits=replace(QUICK, reads=tuple(READS), pay_share=0.75, returns_after=3.5),
        capacity=20,
        hold_seconds=3,
        forged_per_second=24,
        opens_in=0.5,
        thresholds=SOUND
        | {"booked": ["rate==1"], "sold": ["rate==1"], "sold_out_after": ["value<60"]}
        | {"forged": ["count>=48"], "forged_refused": ["rate==1"]},
    )
    told = play(scenario, tmp_path)
    assert "| booked | 40 |" in told
    assert all(f"| {name} |" in told for name in READS)
    assert told.count("| forged, ") == 12  # of each sort, and each with one answer
    assert re.findall(r"\| forged, (.*): 403 ", told) == ["of another performance"]
    parts = re.findall(r"^(?:\| metric|## \w+)", told, re.MULTILINE)
    assert parts[0] == "| metric", "the thresholds come first"
    assert "\n    ok  sold_seats\n" in told.partition("## Integrity\n")[2].partition("## ")[0]
    page = (tmp_path / "small.html").read_text()
    assert page.index("<th>threshold</th>") < page.index("<svg")
    assert ">sold out</text>" in page
    drawn = plots(page)
    for title, lines in PLOTS.items():
        assert sorted(drawn[title]) == sorted(lines), title
    for call in ("join_queue", "poll_queue", "place_hold", "pay", *READS, *FORGED):
        assert drawn[call] == ["p50", "p90", "p95", "p99"], call


def processes_of(directory: Path) -> set[int]:
    """Return who has this directory for what is temporary, whoever started them."""
    found = set()
    for file in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"TMPDIR={directory}\0".encode() in file.read_bytes():
                found.add(int(file.parent.name))
    return found


@pytest.mark.slow
def test_a_rush_that_is_broken_off_leaves_nothing_running() -> None:
    command = [sys.executable, "-m", "tests.rush", "incident-2", "--scale", "0.05"]
    with tempfile.TemporaryDirectory() as name:
        directory, output = Path(name), Path(name) / "output"
        directory.chmod(0o755)  # PostgreSQL runs as somebody else
        with output.open("w") as file:
            rush = subprocess.Popen(
                ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command],  # as in the background
                cwd=ROOT,
                env=os.environ | {"TMPDIR": name},
                stdout=file,
                stderr=file,
            )
        try:
            until(lambda: "waiting" in output.read_text(), what="people")
            assert len(processes_of(directory)) > 5
            rush.terminate()
            assert rush.wait(60) != 0
            until(lambda: not processes_of(directory), what="the end of what it started")
        finally:
            for left in processes_of(directory):
                os.kill(left, signal.SIGKILL)
            rush.wait()


@pytest.mark.slow
def test_a_stage_on_which_nobody_bought_fails(tmp_path: Path) -> None:
    """A load tool's own thresholds hold of no bookings, too: what the database tells is the stage's to judge."""
    file, output = tmp_path / "stage.json", tmp_path / "output"
    command = [sys.executable, "-m", "tests.rush", "hot-seats", "--scale", "0.01", "--stage", file]
    with output.open("w") as told:
        staged = subprocess.Popen(command, cwd=ROOT, stdout=told, stderr=told)
    try:
        until(lambda: "people may come" in output.read_text(), what="the stage")
        assert json.loads(file.read_text())["about"]["scaled"]["thresholds"]["http_req_failed"]
        staged.terminate()
        assert staged.wait(60) == 1
    finally:
        staged.kill()
    assert "| sold | `rate==1` | 0 | ✗ FAILED |" in output.read_text()
    assert "| integrity | `rate==1` | 1 | ✓ |" in output.read_text()


@pytest.mark.slow
def test_a_profile_tells_what_the_database_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiling, "SAMPLE_SECONDS", 0.001)  # few statements, each of a millisecond
    scenario = Scenario(
        "10 people buy", 10, 10, [(2, 1.0)], QUICK, SOUND | {"booked": ["rate==1"]}, opens_in=0.5
    )
    play(scenario, tmp_path, profile=True)
    told = (tmp_path / "small-profile.md").read_text()
    assert re.search(r"^\| \d+ \| \d.*\| `UPDATE seat SET", told, re.MULTILINE)
    assert re.search(r"^## What statements were at, of [1-9]\d* samples\n\n- ", told, re.MULTILINE)
    assert re.search(r"^## Statements over 100 ms: \d+$", told, re.MULTILINE)


@pytest.mark.slow
def test_what_is_made_beforehand_is_told_step_by_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "ACCOUNTS_AT_ONCE", 4)
    monkeypatch.setattr(stage, "HOLDS_A_LINE", 3)
    scenario = Scenario(
        "nobody", 10, 10, [(1, 1.0)], QUICK, {}, dead_holds=6, dead_after=1.0, opens_in=0.5
    )
    with stage.staged(scenario, tmp_path):
        told = capsys.readouterr().out.splitlines()
    assert told == [
        *(f"accounts: {n} of 10" for n in (4, 8, 10)),
        *(f"accounts: {n} of 6" for n in (4, 6)),
        *(f"holds that will expire: {n} of 6" for n in (3, 6)),
    ]


def test_a_line_of_progress_is_no_longer_than_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    watch.Watch("", {}, 0, {})._say(7.0, dict.fromkeys(("waiting", "active", "held", "sold"), 9e5))
    told = capsys.readouterr().out
    assert told == "\r    7 s  waiting 900,000  active 900,00\x1b[K"


def test_a_second_in_which_nothing_was_asked_is_not_drawn_as_a_quick_one() -> None:
    lines = report._percentiles([0.5, 3.1, 4.2], [70.0, 80.0, 90.0], [0.0, 1.0, 2.0, 3.0, 4.0])
    assert lines["p95"] == [70.0, None, None, 80.0, 90.0]
    drawn = report._plot("", [0.0, 1.0, 2.0, 3.0, 4.0], {"p95": lines["p95"]}, 9.0)
    dot, line = re.findall(r'points="([^"]+)"', drawn)
    assert len(set(dot.split())) == 1
    assert len(set(line.split())) == 2


@pytest.mark.slow
def test_those_who_are_told_that_their_seats_are_gone_are_plotted_and_the_wanted_ones_are_sold_out(
    tmp_path: Path,
) -> None:
    scenario = Scenario(
        "20 people want the same 2 of 40 seats",
        people=20,
        seats=40,
        arrivals=[(1, 1.0)],
        habits=replace(QUICK, wanted=0.05, look_seconds=0.01),
        opens_in=0.5,
        thresholds=SOUND | {"sold": ["rate==1"]},
    )
    told = play(scenario, tmp_path)
    assert "All 2 seats that were wanted sold after" in told
    page = (tmp_path / "small.html").read_text()
    assert plots(page)["Conflicts: refusals with 409 each second"] == ["409 seats_taken"]
    assert ">sold out</text>" in page


@pytest.mark.slow
@pytest.mark.failure("F5")
def test_dead_holds_are_swept_while_others_buy(tmp_path: Path) -> None:
    """What the sweep costs those who buy is measured by `make rush RUSH=sweep`, not here."""
    scenario = Scenario(
        "20 people buy, and 60 holds expire meanwhile",
        people=20,
        seats=100,
        arrivals=[(4, 1.0)],
        habits=QUICK,
        dead_holds=60,
        dead_after=1.0,
        thresholds=SOUND | {"swept": ["rate==1"], "booked": ["rate==1"]},
    )
    play(scenario, tmp_path)


@pytest.mark.slow
@pytest.mark.failure("F23")
def test_those_who_wait_elsewhere_are_counted_in(tmp_path: Path) -> None:
    scenario = Scenario(
        "5 people buy while 20 wait for another sale",
        people=5,
        seats=20,
        arrivals=[(10, 1.0)],  # a poll comes after two seconds
        habits=QUICK,
        waiting=20,
        waiting_come=(0, 1),
        waiting_per_minute=60,
        thresholds=SOUND | UNFAILING | {"booked": ["rate==1"], "waited": ["rate==1"]},
    )
    told = play(scenario, tmp_path)
    drawn = plots((tmp_path / "small.html").read_text())
    assert "arrived elsewhere" in drawn["Arrivals, holds and bookings each second"]
    assert "waiting elsewhere" in drawn["People waiting and active"]
    assert "| join_queue | 25 |" in told
    assert "| poll_queue |" in told
    assert "| elsewhere: admitted |" in told  # their line moves


@pytest.mark.slow
def test_a_rush_that_breaks_or_misses_a_threshold_fails_and_the_others_go_on(
    tmp_path: Path,
) -> None:
    script = """
from tests.rush import __main__ as rush
from tests.rush.scenarios import SCENARIOS, SOUND, Pressure, Scenario
from tests.rush.test_rush import QUICK

def sale(people, seats, **more):
    thresholds = SOUND | {"booked": ["rate==1"]}
    return Scenario("", people, seats, [(1, 1.0)], QUICK, thresholds, opens_in=0.5, **more)

SCENARIOS.clear()
SCENARIOS["too few"] = sale(2, 2, pressure=Pressure(at_once=1, slices=1, slice_seconds=1.0))
SCENARIOS["missed"] = sale(4, 2)
SCENARIOS["well"] = sale(4, 4)
rush.main()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, "--report", tmp_path],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stdout.endswith("FAILED  too few\nFAILED  missed\npassed  well\n"), done.stderr
    assert "RuntimeError: The house takes more people" in done.stderr
    assert done.returncode == 1
    assert "| booked | `rate==1` | 0.5 | ✗ FAILED |" in (tmp_path / "missed.md").read_text()


def test_a_machine_that_stands_still_for_a_moment_is_not_a_slow_house() -> None:
    load, stalled = Load(0, 1.0), 17.3
    for tenth in range(300):
        for name, milliseconds in (("place_hold", 8.0), ("pay", 10.0), ("poll_queue", 99.0)):
            began = tenth / 10
            calls = load.calls.setdefault(name, Measured())
            calls.began.append(began)
            still = stalled <= began < stalled + 1.5
            calls.milliseconds.append(1_000.0 if still else milliseconds)
    assert slice_p95s(load, BOOKING, 5, 30, 25) == [1_000.0]
    assert slice_p95s(load, BOOKING, 5, 30, 5) == [10.0, 10.0, 1_000.0, 10.0, 10.0]
    assert slice_p95s(load, BOOKING, 5, 7, 5) == [10.0]
    assert all(scenario.slice_seconds for scenario in SCENARIOS.values() if scenario.compared)


@pytest.mark.parametrize("stop", [3.0, 10.0])
def test_a_house_that_stops_for_seconds_is_noticed_in_its_slice(stop: float) -> None:
    load = Load(0, 1.0)
    for tenth in range(300):
        began = tenth / 10
        stopped = 12.0 <= began < 12.0 + stop
        for name in STANDING[: 1 if stopped else 3]:  # who has not joined does not hold
            calls = load.calls.setdefault(name, Measured())
            calls.began.append(began)
            calls.milliseconds.append((12.0 + stop - began) * 1000 if stopped else 10.0)
    assert max(slice_p95s(load, BOOKING, 5, 30, 5)) == 10.0
    assert statistics.median(slice_p95s(load, STANDING, 5, 30, 5)) < 3_000
    assert max(slice_p95s(load, STANDING, 5, 30, 5)) > 2_000
    assert all("slowest_slice" in one.thresholds for one in SCENARIOS.values() if one.compared)


@pytest.mark.failure("F40")
def test_a_party_that_is_refused_while_others_of_its_size_still_get_seats_was_refused_in_vain() -> (
    None
):
    def refused_in_vain(*later: Party, unsold: int = 0) -> int:
        before = Party(asked=0.5, heard=1.5, quantity=4, seated=True)
        return gate.refused_in_vain([before, Party(1.0, 2.0, 3, False), *later], unsold)

    assert refused_in_vain() == 0
    assert refused_in_vain(Party(2.5, 3.0, 2, True)) == 0  # not enough for three
    assert (
        refused_in_vain(Party(1.9, 3.0, 3, True)) == 0
    )  # who asked at the same time may be the luckier
    assert refused_in_vain(Party(2.5, 3.0, 3, True)) == 1
    assert refused_in_vain(Party(2.5, 3.0, 2, True), unsold=1) == 1
    assert refused_in_vain(unsold=3) == 1


def test_every_scenario_counts_more_than_latency() -> None:
    for scenario in SCENARIOS.values():
        assert set(SOUND) < set(scenario.thresholds)
        assert {"booked", "sold", "unsold"} & set(scenario.thresholds)
        # Only who is sent more than can be served may be refused by 503, and must be told when to return.
        refusing = {"lost", "without_retry_after"} if scenario.pressure else {"http_req_failed"}
        assert refusing <= set(scenario.thresholds)


def test_k6_plays_the_same_scenarios_with_the_same_thresholds() -> None:
    """Every threshold is k6's or the harness's alone; those that are k6's are k6's own metrics, or the script's."""
    told = json.loads(k6.FILE.read_text())
    assert k6.FILE.read_text() == k6.text(), "python -m tests.rush.k6"
    assert told["scenarios"].keys() == SCENARIOS.keys()
    script = (k6.FILE.parent / "rush.js").read_text()
    made_there = set(re.findall(r"new (?:Counter|Rate)\('(\w+)'\)", script))
    for name, scenario in SCENARIOS.items():
        one = told["scenarios"][name]
        assert one["thresholds"] | one["judged_by_the_harness"] == {
            metric: list(limits) for metric, limits in scenario.thresholds.items()
        }
        for metric in one["thresholds"]:
            assert metric.partition("{")[0] in made_there | K6_METRICS, metric
    gated = "{ dropped_iterations: ['count==0'] }, told.thresholds, counted(told.thresholds)"
    assert f"thresholds: Object.assign({gated})" in script


K6_METRICS = {"checks", "http_reqs", "http_req_duration", "http_req_failed"}


def test_slow_purchases_do_not_hide_behind_quick_looks() -> None:
    load = answered(*[OK] * 1_000, *[("pay", Reply(201, {}, 0))] * 50)
    load.calls["place_hold"] = replace(load.calls["pay"])
    load.calls["pay"].milliseconds[:] = array("d", [9_000.0] * 50)
    thresholds = SCENARIOS["incident-2"].thresholds
    timed = {name: limits for name, limits in thresholds.items() if "duration" in name}
    failed = {v.metric for v in gate.judge(timed, load, {}) if not v.holds}
    assert failed == {f"http_req_duration{{name:{name}}}" for name in ("pay", "place_hold")}


@pytest.mark.postgres
def test_a_deadlock_is_counted_whoever_lost_it(postgres_url: str) -> None:
    app = create_app(config_for(postgres_url))
    db = app.extensions["jari"].db
    assert db.read(stage.deadlocks) == 0
    lock = "SELECT pg_advisory_xact_lock(%s)"
    with (
        psycopg.connect(postgres_url) as one,
        psycopg.connect(postgres_url) as other,
        ThreadPoolExecutor(1) as aside,
    ):
        one.execute(lock, (1,))
        other.execute(lock, (2,))
        waits = aside.submit(one.execute, lock, (2,))
        with contextlib.suppress(psycopg.errors.DeadlockDetected):
            other.execute(lock, (1,))
        other.rollback()
        with contextlib.suppress(psycopg.errors.DeadlockDetected):
            waits.result()
        one.rollback()
    until(lambda: db.read(stage.deadlocks) == 1, what="the server's count")
    dispose(app)


def test_a_smaller_scale_asks_for_a_smaller_rate() -> None:
    scaled = SCENARIOS["incident-1"].scaled(0.1)
    assert scaled.thresholds["http_reqs"] == ["rate>10", "rate>=41.7"]
    assert (scaled.people, scaled.seats, scaled.capacity) == (500, 2_000, 400)
    assert SCENARIOS["sweep"].scaled(1) == SCENARIOS["sweep"]


def test_what_must_be_sold_is_what_is_wanted() -> None:
    assert SCENARIOS["hot-seats"].wanted_seats == 200
    assert SCENARIOS["hot-seats"].scaled(0.031).wanted_seats == 6  # of 155, 4 % of which are 6.2
    assert SCENARIOS["best-available"].wanted_seats == 8_000
