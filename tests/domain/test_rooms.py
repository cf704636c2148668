"""A room as its organiser wants it: settings, guests and revocations, all of it in the journal."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from tests.builders import Customer, enter, make_accounts, make_sale, place
from tests.conftest import AdvancingClock
from webapp.db import Database, new_id
from webapp.domain import admission, catalogue, lottery, rooms, sales, seatmap, waiting_room
from webapp.domain.errors import Invalid, NotFound, TurnOver
from webapp.domain.model import JournalEntry
from webapp.domain.waiting_room import Arrival, Stay


def told(db: Database, kind: str) -> list[dict[str, Any]]:
    query = select(JournalEntry.facts).where(JournalEntry.kind == kind).order_by(JournalEntry.id)
    return db.read(lambda tx: list(tx.execute(query).scalars()))


def join(db: Database, sale: int, customer: Customer) -> Stay:
    return db.transact(waiting_room.join, Arrival(new_id(), sale, customer.id))[0]


def test_an_organiser_sets_everything_and_the_journal_tells(
    db: Database, clock: AdvancingClock
) -> None:
    [organiser] = make_accounts(db, role="organiser")
    sale = make_sale(db, organiser=organiser, capacity=5, opens_in=60)
    opens = clock.now() + timedelta(hours=2)
    changes = {
        "prequeue_opens_at": opens - timedelta(hours=1),
        "sales_open_at": opens,
        "capacity": 7,
        "rate_per_minute": 30,
        "session_seconds": 300,
        "arrival_seconds": 90,
        "idle_seconds": 120,
        "message": "문이 곧 열립니다",
        "beacon_source": "drand round 4711",
    }
    db.transact(rooms.change, sale, organiser.id, changes)
    rules, settings = db.read(catalogue.get_rules, sale), db.read(rooms.get_settings, sale)
    assert {name: getattr(rules, name) for name in catalogue.OF_SALE} | {
        name: getattr(settings, name) for name in catalogue.OF_ROOM
    } == changes
    [entry] = told(db, "room_changed")
    assert entry["performance_id"] == sale
    assert entry["changes"]["message"] == "문이 곧 열립니다"
    assert set(entry["changes"]) == set(changes)
    assert entry["by"] == str(organiser.id)


def test_the_journal_tells_by_which_settings_a_sale_began(db: Database) -> None:
    sale = make_sale(db, capacity=5, rate_per_minute=60, room={"message": "Hello"})
    rules = db.read(catalogue.get_rules, sale)
    [entry] = told(db, "performance_opened")
    assert entry["settings"] == {
        "prequeue_opens_at": None,
        "sales_open_at": rules.sales_open_at.isoformat(),
        "capacity": 5,
        "rate_per_minute": 60,
        "session_seconds": 600,
        "arrival_seconds": catalogue.ARRIVAL_SECONDS,
        "idle_seconds": None,
        "message": "Hello",
        "beacon_source": "",
    }


@pytest.mark.parametrize("operator", [False, True])
def test_the_journal_tells_who_steered(db: Database, clock: AdvancingClock, operator: bool) -> None:
    [organiser] = make_accounts(db, role="organiser")
    guest, other = make_accounts(db, 2)
    early = clock.now() - timedelta(seconds=1)
    some: dict[str, Any] = {"prequeue_opens_at": early, "room": {"beacon_source": "the weather"}}
    sale = make_sale(db, organiser=organiser, capacity=5, opens_in=60, **some)
    mine = sale, None if operator else organiser.id
    db.transact(lottery.seal, sale, b"s" * 32)
    join(db, sale, other)
    db.transact(rooms.change, *mine, {"capacity": 3})
    db.transact(rooms.invite, *mine, guest.email)
    db.transact(rooms.disinvite, *mine, guest.email)
    db.transact(rooms.revoke, *mine, other.email)
    for paused in (True, False):
        db.transact(sales.set_paused, *mine, paused)
    clock.advance(61)
    db.transact(lottery.close, sale)
    db.transact(lottery.set_beacon, *mine, "rain")
    steered = {
        kind: [entry["by"] for entry in told(db, kind)]
        for kind in (
            *("room_changed", "guest_invited", "guest_disinvited", "queue_retired"),
            *("sale_paused", "sale_resumed", "lottery_beacon"),
        )
    }
    assert steered == {kind: [mine[1] and str(mine[1])] for kind in steered}


def test_a_room_can_be_switched_off_and_on(db: Database) -> None:
    sale = make_sale(db, capacity=0)
    people = make_accounts(db, 3)
    for person in people:
        join(db, sale, person)
    db.transact(admission.number_newcomers, sale)
    assert db.transact(admission.admit, sale) == 0
    db.transact(rooms.change, sale, None, {"capacity": None})
    assert db.transact(admission.admit, sale) == 3  # nobody is left standing in a room that is off


@pytest.mark.failure("F47")
def test_another_organisers_room_is_not_there(db: Database) -> None:
    other = make_accounts(db, role="organiser")[0]
    [guest] = make_accounts(db)
    sale = make_sale(db, capacity=5)
    for work, argument in (
        (rooms.change, {"capacity": 1}),
        (rooms.invite, guest.email),
        (rooms.disinvite, guest.email),
        (rooms.revoke, guest.email),
        (lottery.set_beacon, "heads"),
    ):
        with pytest.raises(NotFound):
            db.transact(work, sale, other.id, argument)
    assert db.read(catalogue.get_rules, sale).capacity == 5


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"sales_open_at": 10**6}, "sales_open_at"),
        ({"prequeue_opens_at": 120}, "prequeue_opens_at"),
        ({"prequeue_opens_at": 30, "sales_open_at": 20}, "prequeue_opens_at"),
    ],
)
def test_times_in_the_wrong_order_are_refused(
    db: Database, clock: AdvancingClock, changes: dict[str, int], field: str
) -> None:
    sale = make_sale(db, capacity=5, opens_in=60)
    later = {name: clock.now() + timedelta(seconds=value) for name, value in changes.items()}
    with pytest.raises(Invalid) as refusal:
        db.transact(rooms.change, sale, None, later)
    assert refusal.value.facts["errors"][0]["pointer"] == f"/{field}"


@pytest.mark.parametrize("later", [-3_600, 3_600])
def test_when_a_sale_opened_is_not_changed_afterwards(
    db: Database, clock: AdvancingClock, later: int
) -> None:
    sale = make_sale(db, capacity=5)
    opened = db.read(catalogue.get_rules, sale).sales_open_at
    moved = clock.now() + timedelta(seconds=later)
    with pytest.raises(Invalid) as refusal:
        db.transact(rooms.change, sale, None, {"sales_open_at": moved})
    assert refusal.value.facts["errors"][0]["pointer"] == "/sales_open_at"
    as_a_form_says_it = {"sales_open_at": opened.replace(microsecond=0), "capacity": 7}
    db.transact(rooms.change, sale, None, as_a_form_says_it)
    rules = db.read(catalogue.get_rules, sale)
    assert (rules.sales_open_at, rules.capacity) == (opened, 7)
    assert told(db, "room_changed")[0]["changes"] == {"capacity": 7}


def test_a_sale_is_not_put_off_by_one_who_began_before_its_lottery_was_closed(
    db: Database, clock: AdvancingClock
) -> None:
    early = clock.now() - timedelta(seconds=1)
    sale = make_sale(db, capacity=5, opens_in=600, prequeue_opens_at=early)
    db.transact(lottery.seal, sale, b"s" * 32)
    clock.advance(601)
    db.transact(lottery.close, sale)
    clock.advance(-601)
    later = clock.now() + timedelta(seconds=1_000)
    with pytest.raises(Invalid):
        db.transact(rooms.change, sale, None, {"sales_open_at": later})


def test_the_beacon_cannot_be_chosen_anew_once_it_was_promised(
    db: Database, clock: AdvancingClock
) -> None:
    early = clock.now() - timedelta(seconds=1)
    sale = make_sale(db, capacity=5, opens_in=60, prequeue_opens_at=early)
    db.transact(rooms.change, sale, None, {"beacon_source": "the weather"})
    db.transact(lottery.seal, sale, b"s" * 32)
    with pytest.raises(Invalid):
        db.transact(rooms.change, sale, None, {"beacon_source": "my own coin"})
    db.transact(rooms.change, sale, None, {"beacon_source": "the weather", "message": "Hello"})


def test_a_guest_is_on_the_list_once_and_comes_off_it(db: Database) -> None:
    sale = make_sale(db, capacity=5)
    [guest] = make_accounts(db)
    for _ in range(2):
        db.transact(rooms.invite, sale, None, guest.email.upper())
    assert db.read(rooms.list_guests, sale) == [guest.email]
    assert len(told(db, "guest_invited")) == 1
    db.transact(rooms.disinvite, sale, None, guest.email)
    assert db.read(rooms.list_guests, sale) == []
    for work in (rooms.disinvite, rooms.revoke):
        with pytest.raises(NotFound):
            db.transact(work, sale, None, guest.email)
    with pytest.raises(NotFound):
        db.transact(rooms.invite, sale, None, "nobody@example.com")


def test_a_revoked_stay_is_over_with_its_hold(db: Database) -> None:
    sale = make_sale(db, seats=6)
    [customer] = make_accounts(db)
    inside = enter(db, customer, sale)
    place(db, inside, [1, 2])
    db.transact(rooms.revoke, sale, None, customer.email)
    assert db.lookup(seatmap.states, sale) == "ffffff"
    with pytest.raises(TurnOver) as over:
        db.read(waiting_room.get_stay, inside.entry_id)
    assert over.value.facts == {"reason": "revoked"}
    again, new = db.transact(
        waiting_room.join,
        Arrival(uuid.uuid4(), sale, customer.id),
        instead={"uq_queue_entry_stay": waiting_room.rejoin},
    )
    assert new
    assert again.entry_id != inside.entry_id
