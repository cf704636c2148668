"""`python -m jobs` runs the scheduler; `python -m jobs NAME` runs one job once.

Any number of these processes may run: a lease lets one at a time do a job, and another takes over
within `leases.LIFETIME_SECONDS` of its death.
"""

import logging
import os
import signal
import sys
import threading
from types import FrameType

from apscheduler.schedulers.background import BackgroundScheduler

from jobs import JOBS, Job
from webapp import create_app
from webapp.config import Config
from webapp.db import Busy, Database, OutcomeUnknown
from webapp.domain import leases

log = logging.getLogger("jari.jobs")


class Runner:
    """Runs one job under its lease."""

    def __init__(self, db: Database, job: Job) -> None:
        self._db = db
        self._job = job
        self._fence: int | None = None

    def run(self) -> None:
        """Do the job's work if the lease is ours or free. Trouble is logged; the next tick tries again."""
        try:
            if self._fence is None:
                self._fence = self._db.transact(leases.acquire, self._job.name)
            if self._fence is not None:
                self._job.run(self._db, self._fence)
        except leases.LeaseLost:
            log.warning("%s: another process has taken over", self._job.name)
            self._fence = None
        except (Busy, OutcomeUnknown) as error:
            log.warning("%s: %s, trying again", self._job.name, type(error).__name__)
        except Exception:
            log.exception("%s failed", self._job.name)

    def stop(self) -> None:
        """Give the lease up for whoever stands by."""
        if self._fence is not None:
            self._db.transact(leases.release, self._job.name, self._fence)


def schedule(db: Database, stop: threading.Event) -> None:
    """Run all jobs until `stop` is set."""
    scheduler = BackgroundScheduler(
        timezone="UTC",
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
    )
    runners = [Runner(db, job) for job in JOBS]
    for job, runner in zip(JOBS, runners, strict=True):
        scheduler.add_job(runner.run, "interval", seconds=job.interval_seconds, id=job.name)
    scheduler.start()
    stop.wait()
    scheduler.shutdown(wait=True)
    for runner in runners:
        runner.stop()


def main(arguments: list[str]) -> int:
    """Run the scheduler, or the named job once; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("apscheduler").setLevel(
        logging.ERROR
    )  # it warns when a tick takes longer than one
    db: Database = create_app(Config.from_env(os.environ)).extensions["jari"].db
    stop = threading.Event()

    def ask_to_stop(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask_to_stop)
    if not arguments:
        schedule(db, stop)
        return 0
    chosen = {job.name: job for job in JOBS}.get(arguments[0])
    if chosen is None:
        names = ", ".join(job.name for job in JOBS)
        sys.stderr.write(f"jobs: there is no job {arguments[0]}, only {names}\n")
        return 2
    runner = Runner(db, chosen)
    runner.run()
    runner.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
