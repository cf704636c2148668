"""Which of any number of scheduler processes does a job now.

A lease has a fencing number. Taking it over raises the number; every transaction of the job starts by
confirming its own, so a leader that was paused and wakes up finds no row and does no work. The process
table and the clock of the sleeper play no part in it.
"""

from sqlalchemy import update

from webapp.db import Tx, seconds
from webapp.domain.model import JobLease

LIFETIME_SECONDS = 10.0  # a dead leader's job goes on after this


class LeaseLost(Exception):
    """Another process has taken this job over; whatever was under way is rolled back."""


def acquire(tx: Tx, name: str) -> int | None:
    """Take the lease if it is free or run out; return its fence, or None while another has it."""
    fence = tx.execute(
        update(JobLease)
        .where(JobLease.name == name, JobLease.expires_at <= tx.now)
        .values(fence=JobLease.fence + 1, expires_at=tx.now + seconds(LIFETIME_SECONDS))
        .returning(JobLease.fence)
    ).scalar_one_or_none()
    return fence


def confirm(tx: Tx, name: str, fence: int, lifetime_seconds: float = LIFETIME_SECONDS) -> None:
    """Hold the lease through this transaction and lengthen it; raise LeaseLost.

    A job with long pauses asks for longer than one, or every process would do it in another's pause.
    """
    mine = tx.execute(
        update(JobLease)
        .where(JobLease.name == name, JobLease.fence == fence)
        .values(expires_at=tx.now + seconds(lifetime_seconds))
        .returning(JobLease.fence)
    ).one_or_none()
    if mine is None:
        raise LeaseLost(name)


def release(tx: Tx, name: str, fence: int) -> None:
    """Give the lease up, so that a standby need not wait for it to run out."""
    tx.execute(
        update(JobLease)
        .where(JobLease.name == name, JobLease.fence == fence)
        .values(expires_at=tx.now)
    )
