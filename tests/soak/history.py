"""What customers were told, and whether the database agrees.

An operation ends `ok` (2xx), `refused` (a declared refusal; `busy` is one: nothing of it is stored) or
`unknown` (no answer, or `outcome_unknown`). Promises:

1. Each acknowledged effect is there exactly once, with the answer that was given, however often it was asked.
2. Each refused one is absent. Each unknown one is there or not, and once its retry was answered, as it said.
3. Nothing is there that nobody asked for: bookings, refunds and top-ups are counted both ways.
4. A run in which next to nothing was sold shows nothing, and fails.
"""

import json
import threading
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import accumulate
from typing import Any

from sqlalchemy import func, select

from tests.races.soundness import assert_sound
from tests.shoppers import Reply
from webapp.db import Database, Tx
from webapp.domain.model import (
    Booking,
    Hold,
    IdempotencyKey,
    LedgerEntry,
    Performance,
    QueueEntry,
    Seat,
    Ticket,
)

BOOKINGS_MIN = 10  # fewer would be a run that tested nothing
API = "/api/v1"
CLOCKS_AGREE = timedelta(seconds=0.2)
Key = tuple[uuid.UUID, str, str]


@dataclass(frozen=True, slots=True)
class Told:
    """One operation as its customer saw it. `key` is None where the request had none."""

    kind: str
    account_id: uuid.UUID
    path: str
    key: str | None
    subject: str
    outcome: str
    code: str
    answer: dict[str, Any]


def outcome_of(reply: Reply) -> str:
    """Say how an operation ended; `broken` is what no answer may be."""
    if reply.ok:
        return "ok"
    if reply.status == 0 or reply.code == "outcome_unknown":
        return "unknown"
    return "refused" if reply.status < 500 or reply.code == "busy" else "broken"


@dataclass
class History:
    """Everything that was told, by whichever thread heard it."""

    told: list[Told] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    @property
    def operations(self) -> int:
        """How many have ended so far."""
        return self.counts.total()

    def note(
        self,
        kind: str,
        account_id: uuid.UUID,
        path: str,
        key: str | None,
        subject: str,
        reply: Reply,
    ) -> str:
        """Write down an operation; return its outcome. Only what may have had an effect is kept."""
        outcome = outcome_of(reply)
        told = Told(kind, account_id, path, key, subject, outcome, reply.code, reply.body)
        with self._mutex:
            self.counts[kind, reply.code or "ok"] += 1
            if outcome == "broken":
                self.broken.append(f"{kind} {subject}: {reply.status} {reply.body}")
            if kind not in ("poll", "join", "look") and (outcome != "refused" or key):
                self.told.append(told)
        return outcome

    def unknown(self) -> list[Told]:
        """Keyed operations of which nobody knows yet: those to ask again."""
        ended: dict[Key, Told] = {}
        open_ones: dict[Key, Told] = {}
        for one in self.told:
            if one.key is None:
                continue
            key = (one.account_id, one.path, one.key)
            if one.outcome == "unknown":
                open_ones.setdefault(key, one)
            elif one.outcome == "ok":
                ended[key] = one
        return [one for key, one in open_ones.items() if key not in ended]


@dataclass(frozen=True)
class Kept:
    """What the database holds after the run."""

    answers: dict[Key, dict[str, Any]]
    bookings: dict[str, uuid.UUID]  # reference → hold
    cancelled: set[str]
    refunds: int
    top_ups: dict[uuid.UUID, int]  # ledger id → amount, those of the run
    holds: dict[uuid.UUID, str | None]  # id → how it ended
    scanned: set[str]


def look(db: Database, top_ups_before: set[uuid.UUID]) -> Kept:
    """Read everything that the history is held against, in one snapshot."""

    def query(tx: Tx) -> Kept:
        def rows(*columns: Any) -> Iterable[Any]:
            return tx.execute(select(*columns)).all()

        keys = (IdempotencyKey.account_id, IdempotencyKey.path, IdempotencyKey.key)
        bookings = list(rows(Booking.reference, Booking.hold_id, Booking.cancelled_at))
        ledger = list(rows(LedgerEntry.id, LedgerEntry.kind, LedgerEntry.amount_minor))
        return Kept(
            {(a, path, key): answer for a, path, key, answer in rows(*keys, IdempotencyKey.answer)},
            {reference: hold_id for reference, hold_id, _ in bookings},
            {reference for reference, _, cancelled_at in bookings if cancelled_at},
            sum(kind == "refund" for _, kind, _ in ledger),
            {i: n for i, kind, n in ledger if kind == "top_up" and i not in top_ups_before},
            dict(tuple(row) for row in rows(Hold.id, Hold.end_reason)),
            {code for code, at in rows(Ticket.code, Ticket.scanned_at) if at},
        )

    return db.read(query)


def differences(history: History, kept: Kept) -> list[str]:
    """Name everything that was told and is not so, or is so and was never asked for."""
    return [
        *history.broken,
        *_keys(history.told, kept),
        *_holds(history.told, kept),
        *_scans(history.told, kept),
        *_counted(kept),
        *_worthless(kept),
    ]


def _keys(told: Iterable[Told], kept: Kept) -> Iterable[str]:
    """One key, one answer, and it is the stored one."""
    by_key: dict[Key, list[Told]] = defaultdict(list)
    for one in told:
        if one.key is not None:
            by_key[one.account_id, one.path, one.key].append(one)
    for key, asked in by_key.items():
        stored = kept.answers.get(key)
        oks = [one for one in asked if one.outcome == "ok"]
        what = f"{asked[0].kind} {asked[0].subject} (key {key[2]})"
        for one in oks:
            if stored is None:
                yield f"{what}: acknowledged, and not there"
            elif _plain(one.answer) != _plain(stored):
                yield f"{what}: acknowledged as {one.answer}, stored as {stored}"
        if stored is not None and not oks and asked[-1].outcome == "refused":
            yield f"{what}: refused last ({asked[-1].code}), and there"


def _plain(answer: dict[str, Any]) -> str:
    return json.dumps(answer, sort_keys=True)


def _holds(told: Iterable[Told], kept: Kept) -> Iterable[str]:
    oks = [one for one in told if one.outcome == "ok"]
    placed = {uuid.UUID(one.answer["id"]) for one in oks if one.kind == "hold"}
    for hold_id in placed - kept.holds.keys():
        yield f"hold {hold_id}: acknowledged, and not there"
    released = {uuid.UUID(one.subject) for one in oks if one.kind == "release"}
    for hold_id in released:
        if kept.holds.get(hold_id) != "released":
            yield f"release of {hold_id}: acknowledged, and it is {kept.holds.get(hold_id)}"


def _scans(told: Iterable[Told], kept: Kept) -> Iterable[str]:
    opened = Counter(one.subject for one in told if one.kind == "scan" and one.outcome == "ok")
    for code, times in opened.items():
        if times > 1:
            yield f"ticket {code} opened the door {times} times"
        if code not in kept.scanned:
            yield f"ticket {code} opened the door, and is not scanned"


def _counted(kept: Kept) -> Iterable[str]:
    """Everything in the tables has exactly one stored answer, and the other way round."""
    answers: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for (_, path, _), answer in kept.answers.items():
        answers[path.rpartition("/")[2]].append(answer)
    paid = Counter(answer["reference"] for answer in answers["bookings"])
    for reference in paid.keys() ^ kept.bookings.keys():
        yield f"booking {reference}: an answer or a booking without the other"
    yield from (f"booking {one}: answered under two keys" for one, n in paid.items() if n > 1)
    for hold_id, times in Counter(kept.bookings.values()).items():
        if times > 1:
            yield f"hold {hold_id} is paid {times} times"
    topped = {uuid.UUID(answer["id"]): answer["amount_minor"] for answer in answers["top-ups"]}
    for ledger_id in topped.keys() ^ kept.top_ups.keys():
        yield f"top-up {ledger_id}: an answer or an entry without the other"
    if not len(answers["cancellation"]) == len(kept.cancelled) == kept.refunds:
        yield (
            f"{len(answers['cancellation'])} cancellations answered, {len(kept.cancelled)} bookings"
            f" cancelled, {kept.refunds} refunds"
        )


def _worthless(kept: Kept) -> Iterable[str]:
    if len(kept.bookings) < BOOKINGS_MIN:
        yield f"only {len(kept.bookings)} bookings: such a run shows nothing"


def assert_drained(db: Database) -> None:
    """Nothing is left over: no seat held, no hold unswept, numbers contiguous, and all is sound."""

    def query(tx: Tx) -> None:
        held = tx.execute(select(func.count()).where(Seat.hold_id.is_not(None))).scalar()
        assert held == 0, f"{held} seats are held by nobody"
        unswept = tx.execute(select(func.count()).where(Hold.swept_at.is_(None))).scalar()
        assert unswept == 0, f"{unswept} holds were never swept"
        numbers: dict[int, list[int]] = defaultdict(list)
        given = select(QueueEntry.performance_id, QueueEntry.number)
        for performance_id, number in tx.execute(given.where(QueueEntry.number.is_not(None))):
            numbers[performance_id].append(number)
        for performance_id, some in numbers.items():
            assert sorted(some) == list(range(1, len(some) + 1)), performance_id

        assert_exact_admission(tx)

    db.read(query)
    assert_sound(db)


def assert_exact_admission(tx: Tx) -> None:
    """Never more inside than the capacity, never more admitted within a minute than the rate.

    Instants are those of several processes, whose clocks agree within `CLOCKS_AGREE`; a stay that one of
    them ended may seem to end a little after the next was admitted by another.
    """
    rooms = select(Performance.id, Performance.capacity, Performance.rate_per_minute)
    for room, capacity, rate in tx.execute(rooms.where(Performance.capacity.is_not(None))).all():
        stays = tx.execute(
            select(QueueEntry.admitted_at, QueueEntry.ended_at, QueueEntry.access_expires_at).where(
                QueueEntry.performance_id == room, QueueEntry.admitted_at.is_not(None)
            )
        ).all()
        moves = []
        for admitted_at, ended_at, access_expires_at in stays:
            over = min(ended_at or access_expires_at, access_expires_at) - CLOCKS_AGREE
            moves += [(admitted_at, 1), (max(over, admitted_at), -1)]
        inside = list(accumulate(step for _, step in sorted(moves)))
        assert max(inside, default=0) <= capacity, f"{max(inside)} inside room {room}"
        admitted = sorted(at for at, _, _ in stays)
        for number, first in enumerate(admitted[: max(0, len(admitted) - rate)]):
            beyond = admitted[number + rate]
            assert beyond - first >= timedelta(seconds=60) - CLOCKS_AGREE, f"{room}: the rate"
