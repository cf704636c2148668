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
from prometheus_client import Counter, Gauge, Histogram, start_http_server

from jobs import JOBS, Job
from jobs.usher import RoomsFailed
from webapp import create_app, logs
from webapp.config import Config
from webapp.db import Busy, Database, OutcomeUnknown
from webapp.domain import leases
from webapp.metrics import RetryTeller

log = logging.getLogger("jari.jobs")

TELL_SECONDS = 2.0

RUNS = Counter("jari_job_runs_total", "Runs of a job, by how they ended.", ["job", "outcome"])
SECONDS = Histogram("jari_job_seconds", "How long a run took.", ["job"])
FINISHED = Gauge(
    "jari_job_finished_at_seconds", "When a job last ended well, by the database.", ["job"]
)


class Runner:
    """Runs one job under its lease."""

    def __init__(self, db: Database, job: Job) -> None:
        self._db = db
        self._job = job
        self._fence: int | None = None

    def run(self) -> None:
        """Do the job's work if the lease is ours or free. Trouble is logged; the next tick tries again."""
        name = self._job.name
        outcome = "failed"
        try:
            outcome = "done" if self._lead() else "stood by"
        except leases.LeaseLost:
            log.warning("%s: another process has taken over", name)
            self._fence, outcome = None, "lost"
        except (Busy, OutcomeUnknown, RoomsFailed) as error:
            log.warning("%s: %s, trying again", name, type(error).__name__)
        except Exception:
            log.exception("%s failed", name)
        RUNS.labels(name, outcome).inc()

    def _lead(self) -> bool:
        """Do the work; return False while another process does it."""
        if self._fence is None:
            self._fence = self._db.transact(leases.acquire, self._job.name)
        if self._fence is None:
            return False
        with SECONDS.labels(self._job.name).time():
            self._job.run(self._db, self._fence)
        FINISHED.labels(self._job.name).set(self._db.clock.now().timestamp())
        return True

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
    teller = RetryTeller(db)
    scheduler.add_job(teller.tell_or_wait, "interval", seconds=TELL_SECONDS, id="retries")
    scheduler.start()
    stop.wait()
    scheduler.shutdown(wait=True)
    for runner in runners:
        runner.stop()
    teller.tell_or_wait()


def main(arguments: list[str]) -> int:
    """Run the scheduler, or the named job once; return the exit status."""
    logs.install(os.environ.get("LOG_LEVEL", "info"))
    # It warns when a tick takes longer than one.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    config = Config.from_env(os.environ)
    db: Database = create_app(config).extensions["jari"].db
    stop = threading.Event()

    def ask_to_stop(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask_to_stop)
    if not arguments:
        if config.jobs_metrics_port:
            start_http_server(config.jobs_metrics_port, config.jobs_metrics_host)
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
