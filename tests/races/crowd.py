"""A crowd: several real processes with several real threads each, let go at the same moment.

Promises:

1. Every process makes its own application from the database's address; they share nothing else.
2. No errand starts before every thread of every process has its connection and is ready.
3. Neighbours in the list of errands run in different processes, so they meet in the database.
4. Every errand has an outcome, in the order of the list: a value, or the code of a refusal (`busy`
   and `outcome_unknown` count as such). Anything else is a bug and fails the test, with its traceback.
5. `retries` is what the kernels of all processes counted meanwhile, by SQLSTATE and function.
"""

import multiprocessing
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from traceback import format_exception
from typing import Any, Self

from tests.conftest import AdvancingClock, config_for, dispose
from webapp import create_app
from webapp.db import Busy, OutcomeUnknown, Tx
from webapp.domain.errors import Refusal
from webapp.troubles import RETRIES
from webapp.web.house import House

PATIENCE_SECONDS = 120.0  # a crowd that takes longer hangs

Errand = Callable[..., Any]  # a module's function: the house, then the errand's own arguments
Retries = Counter[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an errand came to: a value, or a refusal's code and facts."""

    value: Any = None
    refused: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Race:
    """What a crowd came to."""

    outcomes: list[Outcome]
    retries: Retries

    @property
    def values(self) -> list[Any]:
        return [outcome.value for outcome in self.outcomes if outcome.refused is None]

    @property
    def refused(self) -> Counter[str]:
        return Counter(outcome.refused for outcome in self.outcomes if outcome.refused)

    @property
    def conflicts(self) -> int:
        """Transactions run again because PostgreSQL would not serialize them."""
        return sum(count for (code, _), count in self.retries.items() if code == "40001")


@dataclass(frozen=True, slots=True)
class _Orders:
    """What a process is sent."""

    url: str
    errand: Errand
    calls: list[tuple[Any, ...]]
    threads: int
    ahead_seconds: float
    settings: dict[str, Any]


class Crowd:
    """Processes that wait for orders; they are started once, because each needs a second for it."""

    def __init__(self, processes: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._gate = spawn.Barrier(processes)  # kept: its semaphores end with it
        self._pipes: list[Connection] = []
        self._processes = []
        for _ in range(processes):
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=_serve, args=(theirs, self._gate), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self._pipes:
            pipe.close()  # they see the end of the file and leave
        for process in self._processes:
            process.join(PATIENCE_SECONDS)

    def run(
        self,
        url: str,
        errand: Errand,
        calls: Sequence[tuple[Any, ...]],
        *,
        threads: int = 8,
        ahead_seconds: float = 0.0,
        **settings: Any,
    ) -> Race:
        """Run `errand(house, *call)` for every call, `threads` at once in each process.

        `ahead_seconds` advances the clock of all of them; `settings` are those of `Config`. There are
        as many connections as threads unless `pool_size` says otherwise.
        """
        crew = len(self._pipes)
        settings = {"pool_size": threads} | settings
        for number, pipe in enumerate(self._pipes):
            mine = list(calls[number::crew])
            pipe.send(_Orders(url, errand, mine, threads, ahead_seconds, settings))
        reports = [self._hear(pipe) for pipe in self._pipes]
        outcomes = [Outcome()] * len(calls)
        retries: Retries = Counter()
        for number, report in enumerate(reports):
            if isinstance(report, str):
                raise AssertionError(report)
            outcomes[number::crew] = report.outcomes
            retries += report.retries
        return Race(outcomes, retries)

    def _hear(self, pipe: Connection) -> Race | str:
        if not pipe.poll(PATIENCE_SECONDS):
            raise TimeoutError("the crowd hangs")
        report: Race | str = pipe.recv()
        return report


def _serve(pipe: Connection, gate: Barrier) -> None:
    """Follow orders until the other end is closed."""
    with suppress(EOFError):
        while True:
            orders = pipe.recv()
            try:
                report: Race | str = _follow(orders, gate)
            except Exception as error:  # noqa: BLE001 - it fails the test in the other process
                report = "".join(format_exception(error))
            pipe.send(report)


def _follow(orders: _Orders, gate: Barrier) -> Race:
    threads = min(orders.threads, len(orders.calls))
    if not threads:
        gate.wait(PATIENCE_SECONDS)
        return Race([], Counter())
    app = create_app(config_for(orders.url, **orders.settings))
    house: House = app.extensions["jari"]
    if orders.ahead_seconds:
        house.db.clock = house.tokens._clock = AdvancingClock(house.db)
        house.db.clock.advance(orders.ahead_seconds)
    before = _count_retries()
    start = threading.Barrier(threads, partial(gate.wait, PATIENCE_SECONDS), PATIENCE_SECONDS)

    def get_ready() -> None:
        house.db.transact(_nothing)
        start.wait()

    try:
        with ThreadPoolExecutor(threads, initializer=get_ready) as pool:
            errand = partial(_outcome, orders.errand, house)
            outcomes = list(pool.map(errand, orders.calls))
    finally:
        dispose(app)
    return Race(outcomes, _count_retries() - before)


def _nothing(_tx: Tx) -> None:
    """Open a connection."""


def _outcome(errand: Errand, house: House, call: tuple[Any, ...]) -> Outcome:
    try:
        return Outcome(errand(house, *call))
    except Refusal as refusal:
        return Outcome(None, refusal.code, refusal.facts)
    except Busy:
        return Outcome(None, "busy")
    except OutcomeUnknown:
        return Outcome(None, "outcome_unknown")


def _count_retries() -> Retries:
    counted: Retries = Counter()
    for metric in RETRIES.collect():
        for sample in metric.samples:
            if sample.name.endswith("_total"):
                labels = sample.labels
                counted[labels["sqlstate"], labels["function"]] += int(sample.value)
    return counted
