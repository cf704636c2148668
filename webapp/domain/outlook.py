"""What those outside a room are told: who is before them, how fast it goes, why it does not.

Promises:

1. A room at one instant is enough to tell any numbered token where it stands, without a query, and its
   cost does not grow with those who wait.
2. An estimate is a range made of what was admitted lately, or nothing: it never promises what the room
   has not shown that it can do.
3. Nothing here decides anything; all of it is read.
"""

import math
import uuid
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, case, func, select, union_all

from webapp.db import Tx, seconds
from webapp.domain import admission, catalogue, pace, rooms
from webapp.domain.catalogue import Rules
from webapp.domain.model import JobLease, Lottery, QueueEntry, RoomProgress, table_of
from webapp.statements import Prepared

_ENTRY = table_of(QueueEntry)

STEADY_SECONDS = 300
JUST_NOW_SECONDS = 15
MARGIN = 1.25  # people leave, do not come, and buy slower or faster than those before them
KNOWN_FROM = 5  # of fewer admissions the pace cannot be told
STALLED_SECONDS = 60.0
NUMBERED_LATELY_SECONDS = 10.0  # since joining; who asks later looks at their row
NUMBERED_LATELY_MAX = 2_000


@dataclass(frozen=True, slots=True)
class Room:
    """A room at one instant: enough to tell any numbered token where it stands, without a query.

    `front` is the lowest number still waiting (one past the last number when nobody is); `gone` are the
    numbers from `front` on that wait no more, sorted: who left, and guests who were let past the line.
    `guests` are the entries of those who were let in before they had a number. A million waiting cost no
    more than ten.
    """

    performance_id: int
    front: int
    gone: tuple[int, ...]
    admitted_last_minute: int
    admitted_steadily: int = 0  # within the `steady_seconds` before now
    steady_seconds: float = 0.0
    admitted_just_now: int = 0  # within the last JUST_NOW_SECONDS
    pace_percent: int = 100
    pace_reason: str | None = None
    message: str = ""
    arrival_seconds: int = catalogue.ARRIVAL_SECONDS
    sealed: bool = False  # there is a lottery
    awaits_beacon: bool = False
    guests: frozenset[uuid.UUID] = frozenset()

    def ahead(self, number: int) -> int:
        """How many wait before `number`."""
        return max(0, number - self.front - bisect_left(self.gone, number))

    def is_waiting(self, number: int) -> bool:
        """Whether `number` still waits; False asks for its row."""
        place = bisect_left(self.gone, number)
        left = place < len(self.gone) and self.gone[place] == number
        return number >= self.front and not left

    @property
    def stands(self) -> bool:
        """Whether nobody was admitted in the last minute."""
        return self.admitted_last_minute == 0

    def estimate(self, ahead: int) -> tuple[int, int] | None:
        """Return between how many and how many seconds it takes to be admitted; None: not known yet.

        The last minute and the last five say two paces, each no more certain than a count is: a room
        that filled at once and now goes by those who leave lies between them. What was admitted before the
        house slowed down will not be again, so the late end counts by today's share of it; and if it went
        slower than both just now, by that. Where nobody came in just now that says nothing: by the rate they
        may come in crowds, once a minute.
        """
        lately = (self.admitted_last_minute, float(admission.RATE_WINDOW_SECONDS))
        steadily = (self.admitted_steadily, self.steady_seconds)
        known = self.steady_seconds >= admission.RATE_WINDOW_SECONDS and lately[0] >= KNOWN_FROM
        if not known or self.pace_percent == 0:
            return None
        fastest = max((count + math.sqrt(count)) / span for count, span in (lately, steadily))
        slowest = min((count - math.sqrt(count)) / span for count, span in (lately, steadily))
        slowest *= self.pace_percent / 100
        if (count := self.admitted_just_now) >= KNOWN_FROM:
            slowest = min(slowest, (count - math.sqrt(count)) / JUST_NOW_SECONDS)
        soonest, latest = (ahead + 1) / fastest, (ahead + 1) / slowest
        return math.floor(soonest / MARGIN), math.ceil(latest * MARGIN)


def look(tx: Tx, performance_id: int) -> Room:
    """Read a room's state for everybody who polls it."""
    front, gone, guests = _line(tx, performance_id)
    just_now = QueueEntry.admitted_at > tx.now - seconds(JUST_NOW_SECONDS)
    steadily = tx.execute(
        select(
            func.count().label("people"),
            func.count(case((just_now, 1))).label("just_now"),
            func.min(QueueEntry.admitted_at).label("since"),
        ).where(
            QueueEntry.performance_id == performance_id,
            QueueEntry.admitted_at > tx.now - seconds(STEADY_SECONDS),
            QueueEntry.invited_at.is_(None),
        )
    ).one()
    house_pace, settings = pace.get(tx), rooms.get_settings(tx, performance_id)
    sealed, awaits_beacon = _look_at_lottery(tx, performance_id)
    return Room(
        performance_id,
        front,
        gone,
        admission.count_admitted_lately(tx, performance_id),
        admitted_steadily=steadily.people,
        steady_seconds=(tx.now - steadily.since).total_seconds() if steadily.since else 0.0,
        admitted_just_now=steadily.just_now,
        pace_percent=house_pace.percent,
        pace_reason=house_pace.reason,
        message=settings.message,
        arrival_seconds=settings.arrival_seconds,
        sealed=sealed,
        awaits_beacon=awaits_beacon,
        guests=guests,
    )


def get_numbered_lately(tx: Tx, performance_id: int) -> dict[uuid.UUID, int]:
    """Return the numbers of those who joined a moment ago, by their entries. Who still waits, the room says.

    It is what everybody asks for first. Two polls of three looked up a row for it while a crowd arrived (measured).
    """
    rows = tx.fetch(
        _NUMBERED_LATELY,
        performance_id=performance_id,
        since=tx.now - seconds(NUMBERED_LATELY_SECONDS),
    )
    return dict(rows)


_NUMBERED_LATELY = Prepared(
    select(_ENTRY.c.id, _ENTRY.c.number).where(
        _ENTRY.c.performance_id == bindparam("performance_id"),
        _ENTRY.c.number
        > select(RoomProgress.last_number - NUMBERED_LATELY_MAX)
        .where(RoomProgress.performance_id == bindparam("performance_id"))
        .scalar_subquery(),
        _ENTRY.c.joined_at > bindparam("since"),
    )
)


def _line(tx: Tx, performance_id: int) -> tuple[int, tuple[int, ...], frozenset[uuid.UUID]]:
    """Read the lowest number that waits, the later ones that do not, and who was let in without a number."""
    here = QueueEntry.performance_id == performance_id
    waiting = here, QueueEntry.admitted_at.is_(None)
    front = tx.execute(
        select(func.min(QueueEntry.number)).where(
            *waiting, QueueEntry.number.is_not(None), QueueEntry.retired_at.is_(None)
        )
    ).scalar()
    if front is None:
        front = _last_number(tx, performance_id) + 1
    found = select(QueueEntry.id, QueueEntry.number)
    gave_up = found.where(*waiting, QueueEntry.number >= front, QueueEntry.retired_at.is_not(None))
    invited = found.where(here, QueueEntry.invited_at.is_not(None))
    later = invited.where(QueueEntry.number >= front)
    unnumbered = invited.where(QueueEntry.number.is_(None))
    rows = tx.execute(union_all(gave_up, later, unnumbered)).all()
    gone = sorted(row.number for row in rows if row.number is not None)
    return front, tuple(gone), frozenset(row.id for row in rows if row.number is None)


def _last_number(tx: Tx, performance_id: int) -> int:
    last = tx.execute(
        select(RoomProgress.last_number).where(RoomProgress.performance_id == performance_id)
    ).scalar()
    return int(last or 0)


def _look_at_lottery(tx: Tx, performance_id: int) -> tuple[bool, bool]:
    """Return whether there is a lottery, and whether it awaits its beacon."""
    query = select(Lottery.closed_at, Lottery.drawn_at, Lottery.beacon_source)
    row = tx.execute(query.where(Lottery.performance_id == performance_id)).one_or_none()
    if row is None:
        return False, False
    return True, bool(row.closed_at and not row.drawn_at and row.beacon_source)


# -- for the organiser and the operator ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Figures:
    """How a room goes. `still_seconds`: how long people have waited in an open sale and nobody moved."""

    performance_id: int
    waiting: int
    active: int
    admitted_last_minute: int
    still_seconds: float
    still_because: str  # full, rate, pace, beacon, usher, unknown; "" while it moves


def measure(tx: Tx, rules: Rules, sold_out: bool) -> Figures:
    """Measure a room. Nobody is expected to move where there is nothing left."""
    front, gone, _ = _line(tx, rules.id)
    here = QueueEntry.performance_id == rules.id
    unnumbered = tx.execute(
        select(func.count()).where(
            here,
            QueueEntry.number.is_(None),
            QueueEntry.admitted_at.is_(None),
            QueueEntry.retired_at.is_(None),
        )
    ).scalar_one()
    waiting = _last_number(tx, rules.id) + 1 - front - len(gone) + unnumbered
    active = admission.count_active(tx, rules.id)
    lately = admission.count_admitted_lately(tx, rules.id)
    still = 0.0
    if waiting and rules.status(tx.now, sold_out=sold_out) == "open":
        still = _still_seconds(tx, rules)
    because = _because(tx, rules, active, lately) if still > STALLED_SECONDS else ""
    return Figures(rules.id, waiting, active, lately, still, because)


def _still_seconds(tx: Tx, rules: Rules) -> float:
    """Say how long nobody was admitted although the sale is open and somebody waits."""
    here = QueueEntry.performance_id == rules.id
    last = tx.execute(select(func.max(QueueEntry.admitted_at)).where(here)).scalar()
    joined = tx.execute(
        select(func.min(QueueEntry.joined_at)).where(
            here, QueueEntry.admitted_at.is_(None), QueueEntry.retired_at.is_(None)
        )
    ).scalar()
    moments = [moment for moment in (last, joined, rules.sales_open_at) if moment is not None]
    return max(0.0, (tx.now - max(moments)).total_seconds())


def _because(tx: Tx, rules: Rules, active: int, lately: int) -> str:
    led = select(JobLease.name).where(JobLease.name == "usher", JobLease.expires_at > tx.now)
    if tx.execute(led).one_or_none() is None:
        return "usher"
    if _look_at_lottery(tx, rules.id)[1]:
        return "beacon"
    if rules.capacity is not None and active >= rules.capacity:
        return "full"
    if rules.rate_per_minute == 0:
        return "rate"
    return "pace" if pace.get(tx).percent < 100 else "unknown"


def count_people(tx: Tx, performance_ids: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Count (waiting, active) per performance, for the organiser and the metrics."""
    waiting = func.sum(case((QueueEntry.admitted_at.is_(None), 1), else_=0)).label("waiting")
    active = func.sum(case((QueueEntry.access_expires_at > tx.now, 1), else_=0)).label("active")
    rows = tx.execute(
        select(QueueEntry.performance_id, waiting, active)
        .where(
            QueueEntry.performance_id.in_(performance_ids),
            QueueEntry.retired_at.is_(None),
            QueueEntry.ended_at.is_(None),
        )
        .group_by(QueueEntry.performance_id)
    )
    return {row.performance_id: (int(row.waiting), int(row.active)) for row in rows}
