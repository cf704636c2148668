"""Every failure that such systems are known to have had, and which tests show that Jari does not have it.

    python -m tests.failures            # write docs/failures.md
    pytest -m failure                   # run them; ends with the list of rows

A test names the row it proves: `@pytest.mark.failure("F7")`. Promises:

1. docs/failures.md is made from this table and those marks, and a test fails when it is not up to date.
2. A row in REQUIRED without a test fails. The others are shown without one until somebody writes it.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "failures.md"

# Row: what went wrong elsewhere, what is shown here.
ROWS = {
    "F1": (
        "hold expiry raced payment: seat sold and freed",
        "pay at expiry −5…+5 ms, 1,000 times, sweeper running: paid and owned, or expired and not debited; never both, never neither",
    ),
    "F2": (
        "expired hold still payable; seat dead until the sweeper came",
        "sweeper off: paying 1 s late is refused (410), another customer holds the seat at once",
    ),
    "F3": (
        "seat held for ever after a crash",
        "kill −9 every process mid-hold: all seats bookable after the hold's lifetime",
    ),
    "F4": (
        "deadlock on the same seat",
        "2 to 1,000 customers, one seat, several processes: one wins, the rest 409, no 5xx, no deadlock",
    ),
    "F5": (
        "the sweep blocked the sale",
        "50,000 expired holds to release during a sale: booking p95 ≤ 2× without; no sequential scan in its plan",
    ),
    "F6": (
        "one hot counter row per event",
        "1,000 different seats of one performance sell as fast as across many performances",
    ),
    "F7": (
        "double sale",
        "1,000 customers → 1 seat, 100 → 10 seats, seat sets that overlap in every order: exactly one owner per seat",
    ),
    "F8": (
        "paid or refunded twice",
        "100 parallel payments of one hold: one debit, one booking; same for cancellations",
    ),
    "F9": (
        "lost or negative balance",
        "balance 5,000, five parallel payments of 2,000: two succeed, 1,000 left; under any mix the ledger's sum is the balance",
    ),
    "F10": (
        'a "once only" top-up applied n times',
        "300 parallel requests with one idempotency key: one effect, the same answer to all; same key with another body 422",
    ),
    "F11": (
        "too little money lost the hold",
        "refused (402), hold intact, top up, pay: works",
    ),
    "F12": (
        "malformed tokens brought the service down (three quarters of all requests)",
        "empty, `undefined`, truncated, forged, wrong kind, other performance, `alg=none`, 8 KB, not UTF-8: each a 4xx with no statement issued, at most twice the cost of a 404; 10,000 of them do not slow the sale",
    ),
    "F13": (
        "cleaning up by rank deleted every token",
        "10,000 entries of mixed age: exactly the expired ones retire",
    ),
    "F14": (
        'history said "already issued", queue had lost it: locked out',
        "any entry lost or expired: the customer can join again, with one entry",
    ),
    "F15": (
        "the cache evicted live tokens when memory ran short",
        "no state whose loss matters lives in a cache; fill every cache: nothing is lost",
    ),
    "F16": (
        "one of two token kinds had no expiry",
        "both kinds carry and enforce `exp`; a token without it is refused",
    ),
    "F17": (
        "position stuck, or jumping",
        "10,000 joins: numbers contiguous and unique; a position never gets worse",
    ),
    "F18": (
        "a second tab changed one's place",
        "100 parallel joins by one customer: one entry, one place",
    ),
    "F19": (
        "admission stopped silently on an empty queue",
        "idle for many ticks, then a join: admitted within 2 ticks; an alert metric when people wait and nobody moves",
    ),
    "F20": (
        "n instances admitted n times as many",
        "4 schedulers: active ≤ capacity and admissions ≤ rate at every instant; kill the leader: another takes over within the lease",
    ),
    "F21": (
        "no-shows filled the room",
        "half of the admitted never come: the queue still drains at the predicted rate",
    ),
    "F22": (
        "connection pool exhausted, everything hangs",
        "10× the pool in parallel: quick 503 with `Retry-After` for the surplus, normal again within 5 s",
    ),
    "F23": (
        "queue polling starved booking",
        "10,000 pollers: booking p95 ≤ 1.5× without them",
    ),
    "F24": (
        "polling cost grew with the queue",
        "poll p95 flat from 1,000 to 1,000,000 waiting",
    ),
    "F25": (
        "clients that poll too fast, retry storms",
        "answers say when to come back; those who ignore it get 429 with no statement issued",
    ),
    "F26": (
        "refused and reset connections",
        "5,000 connections opened in 20 s: none reset",
    ),
    "F27": (
        "caches dropped at the opening: stampede",
        "drop every cache at the peak: one database load per key",
    ),
    "F28": (
        "huge lists served as one JSON",
        "100,000 seats: bounded bytes, memory and time per answer",
    ),
    "F29": (
        "stale availability, cache silently off",
        "a hold is visible to others within 1 s; hit ratio in the metrics",
    ),
    "F30": (
        "the sold-out path was the most expensive",
        "sold out: tries are refused with no statement issued, at ≥ 80 % of a Flask hello's rate",
    ),
    "F31": (
        "consumer down: paid but 500, or the message lost",
        "webhook receiver down: payment succeeds, delivery follows, at least once, in order per booking",
    ),
    "F32": (
        "slow receiver ate all workers",
        "receiver hangs for minutes: memory and threads flat, others still served",
    ),
    "F33": (
        "payment gateway called inside the transaction",
        "gateway takes 10 s: no connection is held meanwhile",
    ),
    "F34": (
        "health check tied to a dependency: restart storm",
        "database gone for 60 s: liveness stays green, readiness red; recovers by itself",
    ),
    "F35": (
        '"p95 13 ms" with 100 % failures',
        "the load gate counts bookings made and invariants, not only latency",
    ),
    "F36": (
        "expected refusals counted as failures, errors sent as 200",
        "every outcome has its declared status; the gate counts undeclared ones",
    ),
    "F37": (
        "the second machine made it slower",
        "two groups of app processes, each capped to a share of CPU, against one database: ≥ 1.7× of one group; no sticky state; connections spread over the workers",
    ),
    "F38": (
        "a stream cut while idle",
        "whatever live channel is used survives 5 idle minutes behind a proxy",
    ),
    "F39": (
        "overload collapses",
        "2× the sustainable load: ≥ 80 % of peak bookings per second still succeed",
    ),
    "F40": (
        "best available chosen outside the lock: 84 % refused with seats free",
        "160 at once ask for best available on 8,000 seats: every one gets seats until they run out",
    ),
    "F41": (
        "dead carts made it look sold out",
        "abandoned holds come back to the map within 1 s of expiry",
    ),
    "F42": (
        "the timer could be reset for ever",
        "a hold has a hard end, whatever the customer does: replacing, giving up and asking again included",
    ),
    "F43": (
        'paid, but the order said "awaiting"',
        "payment confirmed after the hold's end: re-seated if the seats are free, else refunded automatically; never silent",
    ),
    "F44": (
        'COMMIT\'s answer lost: booked twice, or told "failed"',
        "connection cut at COMMIT: the retry with the same key gets the one true answer",
    ),
    "F45": (
        "failover lost confirmed bookings",
        "kill the primary under load with a synchronous standby: no acknowledged booking is missing, sale goes on within 30 s",
    ),
    "F46": (
        "two app servers' clocks differ",
        "±1 h of skew between processes: no hold stolen, none kept too long",
    ),
    "F47": (
        "somebody used another's token, hold or booking",
        "every such try is refused; routes are enumerated by a test and none is unguarded",
    ),
    "F48": (
        "roll-back of a release lost data",
        "migrate up, sell, migrate down one, sell on, up again: nothing lost",
    ),
    "F49": (
        "replacing a hold in one tab while paying in another",
        "no deadlock; one of the two is refused with its reason; the wallet pays for exactly the seats that were shown",
    ),
    "F50": (
        "a small hall: the planner scans, everybody conflicts",
        "100 seats, 8 connections buying pairs: no more retries than real collisions",
    ),
    "F51": (
        "the limit per customer reset by leaving, paying and coming back, or blocked by one's own dead hold",
        "seats bought count for ever, dead holds never",
    ),
    "F52": (
        "the answer at COMMIT lost while the commit was still waiting for its standby",
        'the retry never books twice and never says "failed" for what later appears',
    ),
}

# What one machine and one database server can show; the rest comes with what it is about.
LATER = {"F5", "F21", "F23", "F24", "F25", "F31", "F32", "F33", "F37", "F38", "F43"}
REQUIRED = ROWS.keys() - LATER

HEAD = """# Failures of others, as tests

Collected from incident reports of ticket sales, from the big open-source ticketing systems and from waiting
rooms. A test carries the mark of the row it proves, on a real database with real commits, on SQLite and on
PostgreSQL where both apply. `pytest -m failure` runs them all and ends with this list; `make mutants` shows for the
guards behind them that the tests notice when one is gone.

This page is made by `python -m tests.failures`; a test holds it to the marks. "No 5xx" leaves out a 503 `busy`,
which the tests cap. Where a row speaks of milliseconds the test asserts the cause, and the measured figures stand
in [benchmarks.md](benchmarks.md).

| | what went wrong elsewhere | what Jari shows | where |
|---|---|---|---|
"""


def marked() -> dict[str, list[str]]:
    """Return the tests of each row, as `file::test`, read from the source."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(ROOT.glob("tests/**/test_*.py")):
        where = path.relative_to(ROOT).as_posix()
        for function, row in marks(ast.parse(path.read_text("utf-8"))):
            found[row].append(f"{where}::{function}")
    return dict(found)


def marks(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield every marked test function with a row that it proves."""
    for function in tree.body:
        for mark in getattr(function, "decorator_list", []):
            if ast.unparse(mark).startswith("pytest.mark.failure("):
                yield function.name, mark.args[0].value


def page() -> str:
    """Make docs/failures.md."""
    tests = marked()
    return HEAD + "\n".join(line(row, tests.get(row, [])) for row in ROWS) + "\n"


def line(row: str, tests: list[str]) -> str:
    """Make one line of the table: a link to each file, with the number of its tests."""
    by_file: dict[str, int] = defaultdict(int)
    for test in tests:
        by_file[test.partition("::")[0]] += 1
    links = [
        f"[{file.removeprefix('tests/')}](../{file})" + (f" × {count}" if count > 1 else "")
        for file, count in by_file.items()
    ]
    wrong, shown = ROWS[row]
    return f"| {row} | {wrong} | {shown} | {', '.join(links) or 'not yet'} |"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
