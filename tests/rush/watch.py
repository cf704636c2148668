"""What happens on the machine and in the database while a rush goes on, once a second."""

import asyncio
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

_TICKS = os.sysconf("SC_CLK_TCK")
_STATES = """
SELECT count(*) FILTER (WHERE ended_at IS NULL AND admitted_at IS NULL),
       count(*) FILTER (WHERE ended_at IS NULL AND access_expires_at > now())
FROM queue_entry WHERE performance_id = %(sale)s AND retired_at IS NULL
"""
_SEATS = """
SELECT count(*) FILTER (WHERE ticket_id IS NULL AND held_until > now()),
       count(*) FILTER (WHERE ticket_id IS NOT NULL)
FROM seat WHERE performance_id = %(sale)s
"""


@dataclass
class Series:
    """Values by second since the run began."""

    seconds: list[float] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, second: float, values: Mapping[str, float]) -> None:
        """Append one sample; every sample has the same names."""
        self.seconds.append(second)
        for name, value in values.items():
            self.values.setdefault(name, []).append(value)


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


class Watch:
    """Looks once a second until it is cancelled."""

    def __init__(self, url: str, sale: int, processes: Mapping[str, int]) -> None:
        self.series = Series()
        self.cpu_total: dict[str, float] = {}
        self._url = url
        self._sale = sale
        self._processes = processes

    async def look(self) -> None:
        """Sample for ever; also says on the terminal how it goes."""
        began = time.perf_counter()
        first = before = self._cpu()
        last = began
        async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as database:
            while True:
                await asyncio.sleep(1)
                now, cpu = time.perf_counter(), self._cpu()
                sample = await self._ask(database)
                sample |= {
                    f"cpu {name}": max(0.0, cpu[name] - before[name]) / (now - last) * 100
                    for name in cpu
                }
                self.series.add(now - began, sample)
                self.cpu_total = {name: cpu[name] - first[name] for name in cpu}
                self._say(now - began, sample)
                before, last = cpu, now

    def _cpu(self) -> dict[str, float]:
        return {name: cpu_seconds(family(pid)) for name, pid in self._processes.items()} | {
            "load": sum(os.times()[:2])
        }

    async def _ask(self, database: psycopg.AsyncConnection) -> dict[str, float]:
        waiting, active = await self._row(database, _STATES)
        held, sold = await self._row(database, _SEATS)
        return {"waiting": waiting, "active": active, "held": held, "sold": sold}

    async def _row(self, database: psycopg.AsyncConnection, query: str) -> tuple[float, float]:
        cursor = await database.execute(query, {"sale": self._sale})
        row = await cursor.fetchone()
        assert row is not None
        return row[0], row[1]

    def _say(self, second: float, sample: Mapping[str, float]) -> None:
        if not sys.stdout.isatty() and int(second) % 10:
            return  # a log needs no line a second
        told = "  ".join(f"{name} {value:,.0f}" for name, value in sample.items())
        start, end = ("\r", "\x1b[K") if sys.stdout.isatty() else ("", "\n")
        print(f"{start}{second:5.0f} s  {told}", end=end, flush=True)
