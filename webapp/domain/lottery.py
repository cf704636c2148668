"""The lottery: everybody who came before the sale opened is shuffled once, and anybody can check it.

Promises:

1. Sealed when the pre-queue opens, by the usher or by whoever joins first: a random seed is stored and its
   SHA-256 published. Nothing is sealed once the sale has opened: a hash that is published with the seed proves
   nothing, so whoever came early without one is served in order of arrival.
2. Closed when the sale opens, in one transaction: the participants are the entries committed by then, and
   their digest is published. Whoever comes later queues behind them in order of arrival.
3. Drawn once, in one transaction: the seed is published. The order is that of HMAC-SHA256 with the key
   seed ‖ digest ‖ beacon over the entry's id as text. The beacon, if its source was named when the
   lottery was sealed, is public and known to nobody before the closing.
4. From then on the order follows from what is published (`order_of`), and numbers are handed out along
   it in batches. Whoever has left meanwhile keeps the number and not the place.

Who could cheat: see docs/lottery.md.
"""

import hashlib
import hmac
import secrets
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from sqlalchemy import func, insert, select, update

from webapp.db import Tx
from webapp.domain import admission, catalogue, journal, rooms
from webapp.domain.catalogue import Rules
from webapp.domain.errors import Invalid, NotFound
from webapp.domain.model import JournalEntry, Lottery, QueueEntry, RoomProgress, table_of

ID_BYTES, SEED_BYTES = 16, 32
_LOTTERY = table_of(Lottery)

Step = Literal["none", "early", "seal", "close", "beacon", "draw", "number"]


@dataclass(frozen=True, slots=True)
class Publication:
    """What the public knows of a lottery by now; bytes as hex digits."""

    seed_hash: str
    beacon_source: str
    sealed_at: datetime
    closed_at: datetime | None
    participants: int | None
    participants_digest: str | None
    beacon: str | None
    drawn_at: datetime | None
    seed: str | None
    first_number: int | None


# -- what anybody can compute -------------------------------------------------------------------


def lines(participants: bytes) -> Iterator[str]:
    """Yield the published list: each id as text with its line end, in the list's order."""
    for start in range(0, len(participants), ID_BYTES):
        text = participants[start : start + ID_BYTES].hex()  # half as long as by way of a UUID
        yield f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}\n"


def digest_of(participants: bytes) -> bytes:
    """Return the SHA-256 of the published list: what `sha256sum` says of the file."""
    digest = hashlib.sha256()
    for line in lines(participants):
        digest.update(line.encode())
    return digest.digest()


def hash_of(seed: bytes) -> str:
    """Return what is published of a seed before it is shown: its SHA-256 in hex digits."""
    return hashlib.sha256(seed).hexdigest()


def order_of(seed: bytes, beacon: str, participants: bytes) -> list[uuid.UUID]:
    """Return the participants in the order that seed, digest and beacon give them.

    A million take some seconds: not for the inside of a transaction.
    """
    key = seed + digest_of(participants) + beacon.encode()
    listed = (line.rstrip() for line in lines(participants))
    ordered = sorted(listed, key=lambda entry: hmac.digest(key, entry.encode(), "sha256"))
    return [uuid.UUID(entry) for entry in ordered]


# -- the usher's steps --------------------------------------------------------------------------


def find_step(tx: Tx, rules: Rules) -> Step:
    """Say what is to be done: `early` before the pre-queue, `none` when newcomers may be numbered."""
    lottery = tx.execute(
        select(
            Lottery.closed_at,
            Lottery.drawn_at,
            Lottery.beacon_source,
            Lottery.beacon,
            Lottery.first_number,
            func.length(Lottery.participants).label("length"),
        ).where(Lottery.performance_id == rules.id)
    ).one_or_none()
    if lottery is None:
        if tx.now >= rules.sales_open_at:
            return "none"
        return "seal" if rules.status(tx.now, sold_out=False) == "prequeue" else "early"
    if lottery.closed_at is None:
        return "close" if tx.now >= rules.sales_open_at else "early"
    if lottery.drawn_at is None:
        return "beacon" if lottery.beacon_source and lottery.beacon is None else "draw"
    end = lottery.first_number + lottery.length // ID_BYTES
    return "none" if admission.get_last_number(tx, rules.id) + 1 >= end else "number"


def seal(tx: Tx, performance_id: int, seed: bytes) -> int:
    """Store the seed and publish its hash, with the beacon's source as the organiser named it; return 1.

    Once the sale has opened nothing happens. The schema refuses a second seal (`instead=SEALED_ALREADY`).
    """
    if tx.now >= catalogue.get_rules(tx, performance_id).sales_open_at:
        return 0
    source = rooms.get_settings(tx, performance_id).beacon_source
    tx.execute(
        insert(_LOTTERY),
        {
            "performance_id": performance_id,
            "seed": seed,
            "beacon_source": source,
            "sealed_at": tx.now,
        },
    )
    tx.record(
        "lottery_sealed",
        performance_id=performance_id,
        seed_hash=hash_of(seed),
        beacon_source=source,
    )
    return 1


def _let_be(_: Tx, *__: object) -> int:
    """Do nothing, instead of a `seal` that somebody else was faster with."""
    return 0


SEALED_ALREADY = {"pk_lottery": _let_be}


def new_seed() -> bytes:
    """Draw a seed, outside of any transaction: it must be the same in each of its attempts."""
    return secrets.token_bytes(SEED_BYTES)


def close(tx: Tx, performance_id: int) -> int:
    """Fix who takes part: everybody committed who came before the opening; publish their digest.

    Nothing happens before the opening: the organiser may have put it off since the usher looked.
    """
    sales_open_at = catalogue.get_rules(tx, performance_id).sales_open_at
    if tx.now < sales_open_at:
        return 0
    entries = tx.execute(
        select(QueueEntry.id).where(
            QueueEntry.performance_id == performance_id,
            QueueEntry.number.is_(None),
            QueueEntry.admitted_at.is_(None),
            QueueEntry.retired_at.is_(None),
            QueueEntry.joined_at < sales_open_at,
        )
    ).scalars()
    participants = b"".join(sorted(entry.bytes for entry in entries))
    digest = digest_of(participants)
    tx.execute(
        update(_LOTTERY)
        .where(Lottery.performance_id == performance_id, Lottery.closed_at.is_(None))
        .values(closed_at=tx.now, participants=participants, participants_digest=digest)
    )
    count = len(participants) // ID_BYTES
    tx.record(
        "lottery_closed",
        performance_id=performance_id,
        participants=count,
        participants_digest=digest.hex(),
    )
    return count


def draw(tx: Tx, performance_id: int) -> int:
    """Settle the order by publishing the seed; return how many it is for."""
    lottery = tx.execute(
        select(Lottery.seed, func.length(Lottery.participants).label("length")).where(
            Lottery.performance_id == performance_id, Lottery.drawn_at.is_(None)
        )
    ).one()
    first_number = admission.get_last_number(tx, performance_id) + 1
    tx.execute(
        update(_LOTTERY)
        .where(Lottery.performance_id == performance_id, Lottery.drawn_at.is_(None))
        .values(drawn_at=tx.now, first_number=first_number)
    )
    tx.record(
        "lottery_drawn",
        performance_id=performance_id,
        seed=lottery.seed.hex(),
        first_number=first_number,
    )
    return int(lottery.length) // ID_BYTES


class Drawn(NamedTuple):
    """What the order follows from."""

    seed: bytes
    beacon: str
    participants: bytes


def read_drawn(tx: Tx, performance_id: int) -> tuple[int, Drawn]:
    """Read the first number of a drawn lottery, and what its order follows from."""
    lottery = tx.execute(
        select(Lottery.first_number, Lottery.seed, Lottery.beacon, Lottery.participants).where(
            Lottery.performance_id == performance_id, Lottery.drawn_at.is_not(None)
        )
    ).one()
    drawn = Drawn(lottery.seed, lottery.beacon or "", lottery.participants)
    return lottery.first_number, drawn


# -- the organiser's and the public's -----------------------------------------------------------


def set_beacon(tx: Tx, performance_id: int, organiser_id: uuid.UUID | None, beacon: str) -> None:
    """Enter the beacon's value once the lottery has closed; raise NotFound, or Invalid."""
    rooms.get_own(tx, performance_id, organiser_id)
    rooms.check_text("beacon", beacon, rooms.BEACON_MAX, least=1)
    entered = tx.execute(
        update(_LOTTERY)
        .where(
            Lottery.performance_id == performance_id,
            Lottery.closed_at.is_not(None),
            Lottery.beacon_source != "",
            Lottery.beacon.is_(None),
        )
        .values(beacon=beacon)
        .returning(_LOTTERY.c.performance_id)
    ).one_or_none()
    if entered is None:
        detail = "is entered once, after the closing, where a source was named"
        raise Invalid(errors=[{"pointer": "/beacon", "detail": detail}])
    by = journal.told_by(organiser_id)
    tx.record("lottery_beacon", performance_id=performance_id, beacon=beacon, by=by)


def find_publication(tx: Tx, performance_id: int) -> Publication | None:
    """Read what is public by now; None before the pre-queue, or where there is none."""
    row = tx.execute(
        select(
            Lottery.seed,
            Lottery.beacon_source,
            Lottery.sealed_at,
            Lottery.closed_at,
            func.length(Lottery.participants).label("length"),
            Lottery.participants_digest,
            Lottery.beacon,
            Lottery.drawn_at,
            Lottery.first_number,
        ).where(Lottery.performance_id == performance_id)
    ).one_or_none()
    if row is None:
        return None
    return Publication(
        seed_hash=hash_of(row.seed),
        beacon_source=row.beacon_source,
        sealed_at=row.sealed_at,
        closed_at=row.closed_at,
        participants=None if row.length is None else row.length // ID_BYTES,
        participants_digest=row.participants_digest and row.participants_digest.hex(),
        beacon=row.beacon,
        drawn_at=row.drawn_at,
        seed=row.seed.hex() if row.drawn_at else None,
        first_number=row.first_number,
    )


def find_sealed_hash(tx: Tx, performance_id: int) -> str | None:
    """Read the seed's hash as it was told when the pre-queue opened, whatever seed is stored now.

    It reads the whole journal: for whoever checks a lottery, not for those who wait.
    """
    sealed = tx.execute(
        select(JournalEntry.facts)
        .where(JournalEntry.kind == "lottery_sealed")
        .order_by(JournalEntry.id)
    ).scalars()
    mine = (facts for facts in sealed if facts["performance_id"] == performance_id)
    return next((str(facts["seed_hash"]) for facts in mine), None)


def get_participants(tx: Tx, performance_id: int) -> bytes:
    """Read the list of participants; raise NotFound before it is closed."""
    found = tx.execute(
        select(Lottery.participants).where(
            Lottery.performance_id == performance_id, Lottery.closed_at.is_not(None)
        )
    ).scalar_one_or_none()
    if found is None:
        raise NotFound()
    return bytes(found)


def find_misplaced(tx: Tx, performance_id: int) -> list[str]:
    """Compare the numbers that were given with the order recomputed; say what differs, by id."""
    first, drawn = read_drawn(tx, performance_id)
    order = order_of(*drawn)
    given = {
        row.id: row.number
        for row in tx.execute(
            select(QueueEntry.id, QueueEntry.number).where(
                QueueEntry.performance_id == performance_id,
                QueueEntry.number >= first,
                QueueEntry.number < first + len(order),
            )
        )
    }
    last = tx.execute(
        select(RoomProgress.last_number).where(RoomProgress.performance_id == performance_id)
    ).scalar_one()
    return [
        f"queue entry {entry} has number {given.get(entry)} and should have {number}"
        for number, entry in enumerate(order, first)
        if number <= last and given.get(entry) != number
    ]
