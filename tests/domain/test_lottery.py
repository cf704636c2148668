"""The lottery: everybody early is shuffled once, and what was published lets anybody check it."""

import hashlib
import hmac
import uuid
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from jobs import usher
from tests.builders import make_accounts, make_sale
from tests.conftest import AdvancingClock
from webapp.db import Database, new_id
from webapp.domain import admission, catalogue, leases, lottery, outlook, rooms, waiting_room
from webapp.domain.errors import Invalid, NotFound
from webapp.domain.model import QueueEntry
from webapp.domain.waiting_room import Arrival


def early_sale(db: Database, clock: AdvancingClock, beacon: str = "", capacity: int = 0) -> int:
    """A sale that opens in a minute and whose pre-queue is open."""
    return make_sale(
        db,
        capacity=capacity,
        opens_in=60.0,
        prequeue_opens_at=clock.now() - timedelta(seconds=1),
        room={"beacon_source": beacon},
    )


def join(db: Database, sale: int, count: int) -> list[uuid.UUID]:
    arrivals = [Arrival(new_id(), sale, person.id) for person in make_accounts(db, count)]
    return [db.transact(waiting_room.join, arrival)[0].entry_id for arrival in arrivals]


def lead(db: Database) -> int:
    fence = db.transact(leases.acquire, "usher")
    assert fence is not None
    return fence


def line(db: Database, sale: int) -> list[uuid.UUID]:
    """The entries that have a number, in its order; the numbers must be 1, 2, 3, …"""
    query = (
        select(QueueEntry.number, QueueEntry.id)
        .where(QueueEntry.performance_id == sale, QueueEntry.number.is_not(None))
        .order_by(QueueEntry.number)
    )
    rows = db.read(lambda tx: tx.execute(query).all())
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))
    return [row.id for row in rows]


def published(db: Database, sale: int) -> lottery.Publication:
    found = db.read(lottery.find_publication, sale)
    assert found is not None
    return found


def by_hand(seed: str, participants: str, beacon: str = "") -> list[uuid.UUID]:
    """What docs/lottery.md says, by somebody who does not know this code."""
    key = bytes.fromhex(seed) + hashlib.sha256(participants.encode()).digest() + beacon.encode()
    ids = participants.splitlines()
    ids.sort(key=lambda one: hmac.new(key, one.encode(), hashlib.sha256).hexdigest())
    return [uuid.UUID(one) for one in ids]


def test_a_lottery_from_beginning_to_end(db: Database, clock: AdvancingClock) -> None:
    sale, fence = early_sale(db, clock), lead(db)
    assert db.read(lottery.find_publication, sale) is None
    usher.run(db, fence)
    sealed = published(db, sale)
    assert (sealed.closed_at, sealed.seed, sealed.participants) == (None, None, None)
    early = join(db, sale, 40)
    usher.run(db, fence)
    assert line(db, sale) == []  # nobody has a number before the opening
    clock.advance(61)
    late = join(db, sale, 5)
    usher.run(db, fence)
    drawn = published(db, sale)
    assert drawn.seed is not None
    assert (
        drawn.seed_hash == sealed.seed_hash == hashlib.sha256(bytes.fromhex(drawn.seed)).hexdigest()
    )
    listed = "".join(lottery.lines(db.read(lottery.get_participants, sale)))
    assert hashlib.sha256(listed.encode()).hexdigest() == drawn.participants_digest
    assert sorted(str(entry) for entry in early) == listed.split()
    assert line(db, sale) == by_hand(drawn.seed, listed) + late
    assert by_hand(drawn.seed, listed) != early
    assert db.read(lottery.find_misplaced, sale) == []


def test_a_sale_put_off_at_the_last_moment_has_its_lottery_later(
    db: Database, clock: AdvancingClock
) -> None:
    """The usher had read the rules, then the organiser changed them, then it is the old opening."""
    sale, fence = early_sale(db, clock), lead(db)
    usher.run(db, fence)
    join(db, sale, 3)
    old = db.read(catalogue.get_rules, sale)
    later = {"sales_open_at": old.sales_open_at + timedelta(hours=1)}
    db.transact(rooms.change, sale, None, later)
    clock.advance(61)
    usher._tend(db, fence, old)
    assert published(db, sale).closed_at is None
    join(db, sale, 2)
    clock.advance(3_600)
    usher.run(db, fence)
    assert published(db, sale).participants == 5


def test_it_is_drawn_once(db: Database, clock: AdvancingClock) -> None:
    sale, fence = early_sale(db, clock), lead(db)
    usher.run(db, fence)
    join(db, sale, 10)
    clock.advance(61)
    usher.run(db, fence)
    first, order = published(db, sale), line(db, sale)
    for _ in range(3):
        usher.run(db, fence)
    assert (published(db, sale), line(db, sale)) == (first, order)


def test_a_round_that_ended_in_the_middle_is_gone_on_with(
    db: Database, clock: AdvancingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers of participants go out in batches; newcomers wait until all of them have theirs.

    Then the order, which may be large, is forgotten: also when the last of them filled the last batch.
    """
    monkeypatch.setattr(admission, "NUMBERED_PER_BATCH", 5)
    monkeypatch.setattr(usher, "BATCHES_MAX", 1)
    sale, fence = early_sale(db, clock), lead(db)
    usher.run(db, fence)
    join(db, sale, 10)
    clock.advance(61)
    late = join(db, sale, 2)
    lengths = []
    for _ in range(4):
        usher.run(db, fence)
        lengths.append(len(line(db, sale)))
    assert lengths == [5, 12, 12, 12]
    assert usher._order_of.cache_info().currsize == 0
    _, drawn = db.read(lottery.read_drawn, sale)
    order = lottery.order_of(*drawn)
    assert line(db, sale) == order + late


def test_whoever_left_before_the_closing_takes_no_part_and_who_left_after_keeps_the_number(
    db: Database, clock: AdvancingClock
) -> None:
    sale, fence = early_sale(db, clock), lead(db)
    usher.run(db, fence)
    people = make_accounts(db, 6)
    stays = [
        db.transact(waiting_room.join, Arrival(new_id(), sale, person.id))[0] for person in people
    ]
    db.transact(waiting_room.end, stays[0].entry_id, stays[0].account_id, "left")
    clock.advance(61)
    assert db.transact(lottery.close, sale) == 5
    db.transact(waiting_room.end, stays[1].entry_id, stays[1].account_id, "left")
    usher.run(db, fence)
    order = line(db, sale)
    assert len(order) == 5
    assert stays[0].entry_id not in order
    gone = order.index(stays[1].entry_id) + 1
    room = db.read(outlook.look, sale)
    assert [room.ahead(number) for number in range(1, 6) if number != gone] == [0, 1, 2, 3]


def test_with_a_beacon_nobody_is_numbered_until_it_is_known(
    db: Database, clock: AdvancingClock
) -> None:
    sale, fence = early_sale(db, clock, "drand round 4711", capacity=5), lead(db)
    usher.run(db, fence)
    assert published(db, sale).beacon_source == "drand round 4711"
    join(db, sale, 20)
    with pytest.raises(Invalid):
        db.transact(lottery.set_beacon, sale, None, "too early")
    clock.advance(61)
    late = join(db, sale, 1)
    assert usher.run(db, fence) == 0
    closed = published(db, sale)
    assert (closed.participants, closed.drawn_at, closed.seed) == (20, None, None)
    assert line(db, sale) == []
    assert db.read(outlook.look, sale).awaits_beacon
    db.transact(lottery.set_beacon, sale, None, "8f21")
    with pytest.raises(Invalid):
        db.transact(lottery.set_beacon, sale, None, "another one")
    assert usher.run(db, fence) == 5
    drawn = published(db, sale)
    assert drawn.seed is not None
    assert drawn.participants_digest == closed.participants_digest
    listed = "".join(lottery.lines(db.read(lottery.get_participants, sale)))
    assert line(db, sale) == by_hand(drawn.seed, listed, "8f21") + late
    assert by_hand(drawn.seed, listed, "8f21") != by_hand(drawn.seed, listed, "8f22")


def test_without_a_prequeue_there_is_no_lottery(db: Database) -> None:
    sale = make_sale(db, capacity=0)
    arrived = join(db, sale, 5)
    usher.run(db, lead(db))
    assert line(db, sale) == arrived
    assert db.read(lottery.find_publication, sale) is None
    with pytest.raises(NotFound):
        db.read(lottery.get_participants, sale)


def test_after_the_opening_nothing_is_sealed_and_numbers_follow_the_order_of_arrival(
    db: Database, clock: AdvancingClock
) -> None:
    """No usher came in time, and nobody who would have sealed it: there is nothing to prove any more."""
    sale = early_sale(db, clock)
    early = join(db, sale, 5)
    clock.advance(61)
    assert db.transact(lottery.seal, sale, b"s" * 32) == 0
    late = join(db, sale, 2)
    usher.run(db, lead(db))
    assert line(db, sale) == early + late
    assert db.read(lottery.find_publication, sale) is None


def test_an_usher_who_was_not_the_first_to_seal_goes_on(
    db: Database, clock: AdvancingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale, fence = early_sale(db, clock), lead(db)
    db.transact(lottery.seal, sale, b"s" * 32)
    steps = iter(["seal", "early"])
    monkeypatch.setattr(lottery, "find_step", lambda *_: next(steps))
    assert usher.run(db, fence) == 0
    assert published(db, sale).seed_hash == lottery.hash_of(b"s" * 32)


def test_an_organiser_who_opens_a_prequeue_later_gets_a_lottery(
    db: Database, clock: AdvancingClock
) -> None:
    sale, fence = make_sale(db, capacity=0, opens_in=60.0), lead(db)
    usher.run(db, fence)
    db.transact(rooms.change, sale, None, {"prequeue_opens_at": clock.now()})
    usher.run(db, fence)
    assert published(db, sale).sealed_at >= clock.now() - timedelta(seconds=5)


@given(
    seed=st.binary(min_size=32, max_size=32),
    beacon=st.text(max_size=20),
    ids=st.sets(st.uuids(), max_size=30),
)
def test_the_order_is_what_the_document_says(seed: bytes, beacon: str, ids: set[uuid.UUID]) -> None:
    packed = b"".join(sorted(one.bytes for one in ids))
    listed = "".join(lottery.lines(packed))
    assert lottery.order_of(seed, beacon, packed) == by_hand(seed.hex(), listed, beacon)
    assert lottery.digest_of(packed) == hashlib.sha256(listed.encode()).digest()


def test_every_place_is_as_likely() -> None:
    """Who is first of four, over 4,000 seeds: 1,000 each, give or take five standard deviations."""
    packed = b"".join(sorted(uuid.UUID(int=number).bytes for number in range(4)))
    firsts = [
        lottery.order_of(hashlib.sha256(str(n).encode()).digest(), "", packed)[0].int
        for n in range(4_000)
    ]
    assert all(abs(firsts.count(number) - 1_000) < 137 for number in range(4))
