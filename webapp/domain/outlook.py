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
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import String, bindparam, case, cast, func, literal_column, select, union_all

from webapp.db import Tx, seconds
from webapp.domain import admission, catalogue, pace, seatmap
from webapp.domain.catalogue import Rules
from webapp.domain.errors import NotFound
from webapp.domain.model import JobLease, Lottery, QueueEntry, RoomProgress, table_of
from webapp.domain.model import Pace as PaceRow
from webapp.domain.model import Room as RoomRow
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
    more than ten; who has left costs eight bytes until the front has passed them.
    """

    performance_id: int
    front: int
    gone: Sequence[int]
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
    """Read a room's state for everybody who polls it; raise NotFound."""
    front, gone, guests = _line(tx, performance_id)
    around = tx.fetch_one(_AROUND, performance_id=performance_id)
    if around is None:
        raise NotFound()
    percent, reason, message, arrival_seconds, lottery_of, *lottery = around
    [moved] = tx.fetch(
        _MOVED,
        performance_id=performance_id,
        just_now=tx.now - seconds(JUST_NOW_SECONDS),
        lately=tx.now - seconds(admission.RATE_WINDOW_SECONDS),
        steadily=tx.now - seconds(STEADY_SECONDS),
    )
    steadily, lately, just_now, since = moved
    return Room(
        performance_id,
        front,
        gone,
        lately,
        admitted_steadily=steadily,
        steady_seconds=(tx.now - since).total_seconds() if since else 0.0,
        admitted_just_now=just_now,
        pace_percent=percent,
        pace_reason=reason,
        message=message,
        arrival_seconds=arrival_seconds,
        sealed=lottery_of is not None,
        awaits_beacon=_awaits_beacon(*lottery),
        guests=guests,
    )


_LOTTERY = (Lottery.performance_id, Lottery.closed_at, Lottery.drawn_at, Lottery.beacon_source)
_AROUND = Prepared(
    select(PaceRow.percent, PaceRow.reason, RoomRow.message, RoomRow.arrival_seconds, *_LOTTERY)
    .select_from(RoomRow)
    .join(PaceRow, PaceRow.id == pace.THE_HOUSE)
    .outerjoin(Lottery, Lottery.performance_id == RoomRow.performance_id)
    .where(RoomRow.performance_id == bindparam("performance_id"))
)
_MOVED = Prepared(  # as `admission.count_admitted_lately` counts
    select(
        func.count(),
        func.count(case((_ENTRY.c.admitted_at > bindparam("lately"), 1))),
        func.count(case((_ENTRY.c.admitted_at > bindparam("just_now"), 1))),
        func.min(_ENTRY.c.admitted_at),
    ).where(
        _ENTRY.c.performance_id == bindparam("performance_id"),
        _ENTRY.c.admitted_at > bindparam("steadily"),
        _ENTRY.c.invited_at.is_(None),
    )
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


def _line(tx: Tx, performance_id: int) -> tuple[int, Sequence[int], frozenset[uuid.UUID]]:
    """Read the lowest number that waits, the later ones that do not, and who was let in without a number.

    The later ones come as one text: a tenth of a million, who have left, took 200 MB as rows (measured).
    """
    [(first,)] = tx.fetch(_FIRST, performance_id=performance_id)
    front = first or _last_number(tx, performance_id) + 1
    [(gone,)] = tx.fetch(_GONE, performance_id=performance_id, front=front)
    numbers = array("q", map(int, gone.split(",")) if gone else ())
    guests = tx.fetch(_UNNUMBERED_GUESTS, performance_id=performance_id)
    return front, numbers, frozenset(entry_id for (entry_id,) in guests)


_HERE = _ENTRY.c.performance_id == bindparam("performance_id")
_WAITING = _HERE, _ENTRY.c.admitted_at.is_(None)
_LATER = _ENTRY.c.number >= bindparam("front")
_INVITED = _HERE, _ENTRY.c.invited_at.is_not(None)
_FIRST = Prepared(
    select(func.min(_ENTRY.c.number)).where(
        *_WAITING, _ENTRY.c.number.is_not(None), _ENTRY.c.retired_at.is_(None)
    )
)
_OUT_OF_LINE = (
    union_all(
        select(_ENTRY.c.number).where(*_WAITING, _LATER, _ENTRY.c.retired_at.is_not(None)),
        select(_ENTRY.c.number).where(*_INVITED, _LATER),
    )
    .order_by("number")
    .subquery()
)
_COMMA: Any = literal_column("','")  # as it stands: a text would be rendered each time
_GONE = Prepared(select(func.aggregate_strings(cast(_OUT_OF_LINE.c.number, String), _COMMA)))
_UNNUMBERED_GUESTS = Prepared(select(_ENTRY.c.id).where(*_INVITED, _ENTRY.c.number.is_(None)))


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
    return True, _awaits_beacon(row.closed_at, row.drawn_at, row.beacon_source)


def _awaits_beacon(
    closed_at: datetime | None, drawn_at: datetime | None, beacon_source: str | None
) -> bool:
    return bool(closed_at and not drawn_at and beacon_source)


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


def measure(tx: Tx, rules: Rules) -> Figures:
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
    if waiting and rules.status(tx.now, sold_out=seatmap.has_sold_out(tx, rules.id)) == "open":
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
