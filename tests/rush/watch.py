"""What happens on the machine and in the database while a rush goes on, once a second.

It costs what it costs: a look is four small queries and some files of /proc, and every five seconds one request
for the service's metrics, all from the load's own process, whose CPU time it counts in.
"""

import asyncio
import multiprocessing
import os
import re
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from tests.rush.lines import Line, compose
from tests.rush.load import PATIENCE_SECONDS

_TICKS = os.sysconf("SC_CLK_TCK")
_STATES = """
SELECT count(*) FILTER (WHERE performance_id = %(sale)s AND admitted_at IS NULL),
       count(*) FILTER (WHERE performance_id = %(sale)s AND access_expires_at > now()),
       count(*) FILTER (WHERE performance_id = %(other_sale)s AND admitted_at IS NULL)
FROM queue_entry
WHERE performance_id IN (%(sale)s, %(other_sale)s) AND ended_at IS NULL AND retired_at IS NULL
"""
_SEATS = """
SELECT count(*) FILTER (WHERE ticket_id IS NULL AND held_until > now()),
       count(*) FILTER (WHERE ticket_id IS NOT NULL)
FROM seat WHERE performance_id = %(sale)s AND seat_no < %(wanted)s
"""

# What the server counts, and what its connections do just now.
_COUNTED = """
SELECT xact_commit, xact_rollback FROM pg_stat_database WHERE datname = current_database()
"""
_DOING = """
SELECT count(*) FILTER (WHERE state = 'active' AND wait_event_type IS NULL),
       count(*) FILTER (WHERE state = 'active' AND wait_event_type IS NOT NULL)
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_RETRIES = re.compile(r'jari_transaction_retries_total\{.*sqlstate="([^"]+)"\} (\S+)')
METRICS_EVERY_SECONDS = 5.0


@dataclass
class Series:
    """Values by second since the run began."""

    seconds: list[float] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, second: float, values: Mapping[str, float]) -> None:
        """Append one sample; a name that is new was 0 before."""
        self.seconds.append(second)
        for name in self.values.keys() | values.keys():
            line = self.values.setdefault(name, [0.0] * (len(self.seconds) - 1))
            line.append(values.get(name, 0.0))


def family(pid: int) -> list[int]:
    """Return a process and all below it."""
    found = [pid]
    for one in found:
        try:
            children = Path(f"/proc/{one}/task/{one}/children").read_text()
        except OSError:
            continue
        found += [int(child) for child in children.split()]
    return found


def cpu_seconds(pids: Sequence[int]) -> float:
    """Return the CPU time that processes have used; those that are gone count no more."""
    used = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        used += int(fields[11]) + int(fields[12])
    return used / _TICKS


def _own_processes() -> list[int]:
    return [os.getpid(), *(child.pid for child in multiprocessing.active_children() if child.pid)]


class Watch:
    """Looks once a second until it is cancelled."""

    def __init__(
        self, url: str, sales: Mapping[str, int], port: int, processes: Mapping[str, int]
    ) -> None:
        """`sales`: the `sale`, the `other_sale` or 0, and how many seats of the former are `wanted`."""
        self.series = Series()
        self.retries = Series()  # transactions run again since the start, by SQLSTATE
        self.metrics_lost = 0  # looks at the service's metrics that had no answer
        self.cpu_total: dict[str, float] = {}
        self._url = url
        self._sales = sales
        self._metrics = Line(port, METRICS_EVERY_SECONDS * 2)
        self._processes = processes

    async def look(self) -> None:
        """Sample for ever; also says on the terminal how it goes."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_at_everything())
            group.create_task(self._look_at_retries())

    async def _look_at_everything(self) -> None:
        began = time.perf_counter()
        first = before = self._cpu()
        last = began
        async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as database:
            counted = await self._row(database, _COUNTED)
            while True:
                await asyncio.sleep(1)
                now, cpu = time.perf_counter(), self._cpu()
                sample = await self._ask(database)
                passed, counts = now - last, await self._row(database, _COUNTED)
                for name, old, new in zip(("commits", "rollbacks"), counted, counts, strict=True):
                    sample[name] = (new - old) / passed
                for name, used in cpu.items():
                    sample[f"cpu {name}"] = max(0.0, used - before[name]) / passed * 100
                self.series.add(now - began, sample)
                for name, used in cpu.items():  # whose process is gone keeps what it used
                    total = max(self.cpu_total.get(name, 0.0), used - first[name])
                    self.cpu_total[name] = total
                self._say(now - began, sample)
                before, last, counted = cpu, now, counts

    async def _look_at_retries(self) -> None:
        began = time.perf_counter()
        request = compose("GET", "/metrics", {})
        while True:
            try:
                answer = await self._metrics.ask(request, PATIENCE_SECONDS)
            except OSError:
                self.metrics_lost += 1  # the next look tells as much: what is counted only grows
            else:
                sums = dict.fromkeys(("40001", "40P01"), 0.0)
                for state, value in _RETRIES.findall(answer.body.decode()):
                    sums[state] = sums.get(state, 0.0) + float(value)
                self.retries.add(time.perf_counter() - began, sums)
            await asyncio.sleep(METRICS_EVERY_SECONDS)

    def sold_out_after(self) -> float:
        """Return after how many seconds all wanted seats were sold; infinity: they were not."""
        for second, sold in zip(self.series.seconds, self.series.values["sold"], strict=True):
            if sold >= self._sales["wanted"]:
                return second
        return float("inf")

    def _cpu(self) -> dict[str, float]:
        return {name: cpu_seconds(family(pid)) for name, pid in self._processes.items()} | {
            "load": cpu_seconds(_own_processes())
        }

    async def _ask(self, database: psycopg.AsyncConnection) -> dict[str, float]:
        waiting, active, elsewhere = await self._row(database, _STATES)
        held, sold = await self._row(database, _SEATS)
        running, waits = await self._row(database, _DOING)
        people = {"waiting": waiting, "active": active}
        if self._sales["other_sale"]:
            people["waiting elsewhere"] = elsewhere
        return people | {"held": held, "sold": sold, "running": running, "blocked": waits}

    async def _row(self, database: psycopg.AsyncConnection, query: str) -> tuple[float, ...]:
        cursor = await database.execute(query, self._sales)
        row = await cursor.fetchone()
        assert row is not None
        return tuple(row)

    def _say(self, second: float, sample: Mapping[str, float]) -> None:
        if not sys.stdout.isatty() and int(second) % 10:
            return  # a log needs no line a second
        told = "  ".join(f"{name} {value:,.0f}" for name, value in sample.items())
        line = f"{second:5.0f} s  {told}"
        if sys.stdout.isatty():  # a longer one than fits would be left behind by the next
            print(f"\r{line[: shutil.get_terminal_size().columns - 1]}\x1b[K", end="", flush=True)
        else:
            print(line, flush=True)
