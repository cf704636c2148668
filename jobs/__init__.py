"""What happens without anybody asking: one table of jobs, each run by one process at a time.

Correctness never depends on them: expiry is judged by the clock, and a sale with no scheduler loses
only its admissions.
"""

from collections.abc import Callable
from dataclasses import dataclass

from jobs import audit, sweeper, usher
from webapp.db import Database


@dataclass(frozen=True, slots=True)
class Job:
    """A job's name (that of its lease), its work and how often it runs, in seconds."""

    name: str
    run: Callable[[Database, int], int]  # database, fence → how much was done
    interval_seconds: float


JOBS = (
    Job("usher", usher.run, 0.5),
    Job("sweeper", sweeper.run, 1.0),
    Job("audit", audit.run, audit.INTERVAL_SECONDS),
)
