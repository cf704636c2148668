"""What operators watch: rooms, jobs, and which seats everybody wants. It only reads."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from webapp.db import Tx, seconds
from webapp.domain import catalogue, outlook
from webapp.domain.catalogue import Rules
from webapp.domain.model import JobLease, JournalEntry, Performance, QueueEntry, SeatPlace

ENTRIES_MAX = 20_000  # of the journal, for the busiest seats


@dataclass(frozen=True, slots=True)
class RoomFigures:
    """A waiting room in numbers."""

    performance_id: int
    waiting: int
    active: int
    admitted_last_minute: int
    oldest_wait_seconds: float
    still_seconds: float


@dataclass(frozen=True, slots=True)
class BusySeat:
    """A seat and how often it was held lately."""

    performance_id: int
    label: str
    holds: int


def rooms(tx: Tx) -> list[RoomFigures]:
    """Return every room that takes part in a sale which has not closed."""
    return [_figures(tx, rules) for rules in catalogue.list_rules(tx) if rules.capacity is not None]


def _figures(tx: Tx, rules: Rules) -> RoomFigures:
    first: datetime | None = tx.execute(
        select(func.min(QueueEntry.joined_at)).where(
            QueueEntry.performance_id == rules.id,
            QueueEntry.admitted_at.is_(None),
            QueueEntry.retired_at.is_(None),
        )
    ).scalar()
    wait = (tx.now - first).total_seconds() if first else 0.0
    told = outlook.measure(tx, rules)
    lately = told.admitted_last_minute
    return RoomFigures(rules.id, told.waiting, told.active, lately, wait, told.still_seconds)


def leases(tx: Tx) -> dict[str, float]:
    """Return for each job in how many seconds its lease runs out; below zero nobody does it."""
    rows = tx.execute(select(JobLease.name, JobLease.expires_at))
    return {row.name: (row.expires_at - tx.now).total_seconds() for row in rows}


def busiest_seats(tx: Tx, within_seconds: float, limit: int) -> list[BusySeat]:
    """Return the seats that were held most often within the last `within_seconds`."""
    recent = (
        select(JournalEntry.at, JournalEntry.kind, JournalEntry.facts)
        .order_by(JournalEntry.id.desc())
        .limit(ENTRIES_MAX)
    )
    since = tx.now - seconds(within_seconds)
    holds: Counter[tuple[int, int]] = Counter()
    for row in tx.execute(recent):
        if row.kind == "hold_placed" and row.at >= since:
            performance_id = row.facts["performance_id"]
            holds.update((performance_id, seat_no) for seat_no, _ in row.facts["seats"])
    return [_busy(tx, *seat, count) for seat, count in holds.most_common(limit)]


def _busy(tx: Tx, performance_id: int, seat_no: int, holds: int) -> BusySeat:
    label = tx.execute(
        select(SeatPlace.label)
        .join(Performance, Performance.seatmap_id == SeatPlace.seatmap_id)
        .where(Performance.id == performance_id, SeatPlace.seat_no == seat_no)
    ).scalar_one()
    return BusySeat(performance_id, label, holds)
