"""What is done for several customers at once: for each exactly as it would be alone, or not at all (PostgreSQL)."""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from tests.builders import Customer, enter, make_accounts, make_sale, offers, pay, place
from tests.conftest import AdvancingClock
from tests.faults import Faults
from tests.races.soundness import assert_sound
from webapp.db import Database, new_id
from webapp.domain import (
    accounts,
    catalogue,
    holds,
    sales,
    seatmap,
    staying,
    together,
    waiting_room,
)
from webapp.domain.errors import TurnOver
from webapp.domain.holds import Held
from webapp.domain.model import Event, Hold, JournalEntry, Performance
from webapp.domain.together import NotTogether, Wanted
from webapp.domain.waiting_room import Arrival, Pass, Stay
from webapp.web import actions


@pytest.fixture
def database_url(postgres_url: str) -> str:
    """There is no SQLite here: its one writer does everything alone."""
    return postgres_url


def inside(db: Database, sale: int, count: int) -> list[Pass]:
    return [enter(db, customer, sale) for customer in make_accounts(db, count)]


def hold(db: Database, sale: int, group: Sequence[Wanted]) -> list[Held]:
    rules = db.read(catalogue.get_rules, sale)
    return db.transact(together.place_together, rules, group)


def want(admitted: Pass, *seat_nos: int) -> Wanted:
    return Wanted(admitted, new_id(), offers(seat_nos))


def journal(db: Database, kind: str) -> list[Any]:
    query = select(JournalEntry).where(JournalEntry.kind == kind).order_by(JournalEntry.id)
    return db.read(lambda tx: list(tx.session.execute(query).scalars()))


def refused(db: Database, sale: int, group: Sequence[Wanted]) -> set[int]:
    """Hold, expect that some cannot; return who, and that nothing of anybody's is there."""
    before = db.lookup(seatmap.states, sale), len(journal(db, "hold_placed"))
    with pytest.raises(NotTogether) as others:
        hold(db, sale, group)
    assert (db.lookup(seatmap.states, sale), len(journal(db, "hold_placed"))) == before
    return {place for place, one in enumerate(group) if one.hold_id in others.value.hold_ids}


def test_each_is_as_it_would_be_alone(db: Database) -> None:
    sale = make_sale(db, seats=30, session_seconds=600, hold_seconds=300)
    alone, *group = inside(db, sale, 4)
    single = place(db, alone, [9, 8])
    helds = hold(db, sale, [want(one, 3 * n, 3 * n + 1) for n, one in enumerate(group)])
    assert db.lookup(seatmap.states, sale)[:10] == "hhfhhfhhhh"
    assert [held.seat_nos for held in helds] == [[0, 1], [3, 4], [6, 7]]
    for held, one in zip(helds, group, strict=True):
        found = db.read(holds.get_own, held.id, one.account_id)
        assert found == held
        assert held.expires_at - held.placed_at == single.expires_at - single.placed_at
    entries = journal(db, "hold_placed")
    assert len({entry.attempt_id for entry in entries}) == 4
    assert [entry.facts["hold_id"] for entry in entries[1:]] == [str(held.id) for held in helds]
    for entry in entries[1:]:
        assert entry.facts.keys() == entries[0].facts.keys()
        assert entry.facts["displaced"] == {}
        assert entry.facts["replaced"] is None
    for held, one in zip(helds, group, strict=True):
        pay(db, one, held)
    assert_sound(db)


def test_dead_holds_lose_their_seats_to_a_group(db: Database, clock: AdvancingClock) -> None:
    sale = make_sale(db, seats=6, hold_seconds=60)
    old, first, second = inside(db, sale, 3)
    dead = place(db, old, [0, 1, 2])
    clock.advance(61)
    hold(db, sale, [want(first, 0, 1), want(second, 2, 3)])
    displaced = [entry.facts["displaced"] for entry in journal(db, "hold_placed")[1:]]
    assert displaced == [{"0": str(dead.id), "1": str(dead.id)}, {"2": str(dead.id)}]
    assert_sound(db)


def test_who_cannot_have_it_is_named_and_nothing_is_stored(db: Database, app: Flask) -> None:
    sale, elsewhere = make_sale(db, seats=60, seats_max=4), make_sale(db)
    people = inside(db, sale, 8)
    place(db, people[7], [50])
    taken, again, left, greedy, rich, fine = people[:6]
    place(db, again, [40])
    actions.leave(app.extensions["jari"], left.account_id, sale)
    pay(db, rich, place(db, rich, [41, 42]))
    rich = enter(db, customer(rich), sale)
    [foreign] = inside(db, elsewhere, 1)
    group = [
        want(taken, 50, 51),
        want(again, 1),
        want(left, 2),
        want(greedy, 10, 11, 12, 13, 14),
        want(rich, 20, 21, 22),
        want(fine, 30),
        want(Pass(foreign.entry_id, sale, foreign.account_id), 31),
        want(Pass(people[6].entry_id, sale, uuid.uuid4()), 32),
    ]
    named = refused(db, sale, group)
    assert named == {1, 2, 3, 4, 6, 7}
    assert refused(db, sale, [one for place, one in enumerate(group) if place not in named]) == {0}
    assert_sound(db)


def customer(admitted: Pass) -> Customer:
    return Customer(admitted.account_id, "", "")


@pytest.mark.parametrize("state", ["paused_at", "sales_close_at"])
def test_nobody_holds_in_a_sale_that_has_stopped(
    db: Database, clock: AdvancingClock, state: str
) -> None:
    sale = make_sale(db)
    group = [want(one, n) for n, one in enumerate(inside(db, sale, 3))]
    rules = db.read(catalogue.get_rules, sale)  # as they were a moment ago
    if state == "paused_at":
        query = select(Event.organiser_id).join(Performance).where(Performance.id == sale)
        owner = db.read(lambda tx: tx.execute(query).scalar_one())
        db.transact(sales.set_paused, sale, owner, True)
    else:
        clock.advance(86_401)
    with pytest.raises(NotTogether) as others:
        db.transact(together.place_together, rules, group)
    assert len(others.value.hold_ids) == 3


def test_a_use_from_elsewhere_is_each_ones_own(db: Database) -> None:
    sale = make_sale(db)
    first, second = inside(db, sale, 2)

    def use(place: str) -> list[Pass]:
        return [Pass(p.entry_id, sale, p.account_id, place) for p in (first, second)]

    rules = db.read(catalogue.get_rules, sale)
    db.transact(staying.enter, use("here")[0], rules)
    hold(db, sale, [want(one, n) for n, one in enumerate(use("there"))])
    shared = journal(db, "access_shared")
    assert [entry.facts["account_id"] for entry in shared] == [str(first.account_id)]
    placed = {entry.facts["account_id"]: entry.attempt_id for entry in journal(db, "hold_placed")}
    assert shared[0].attempt_id == placed[str(first.account_id)] != placed[str(second.account_id)]


@pytest.mark.parametrize("number", range(1, 6))
def test_a_conflict_at_any_statement_or_at_commit_is_run_again(db: Database, number: int) -> None:
    sale = make_sale(db)
    group = [want(one, 2 * n, 2 * n + 1) for n, one in enumerate(inside(db, sale, 3))]
    rules = db.read(catalogue.get_rules, sale)
    faults = Faults(db)
    faults.at_statement(number, "40001")
    assert len(db.transact(together.place_together, rules, group)) == 3
    assert faults.fired == 1
    later = [want(one, 20 + n) for n, one in enumerate(inside(db, sale, 2))]
    faults.conflict_at_commit("40001")
    assert len(db.transact(together.place_together, rules, later)) == 2
    assert faults.fired == 1
    assert len(journal(db, "hold_placed")) == 5
    assert_sound(db)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_commit_is_settled_for_all_of_them(db: Database, when: str) -> None:
    sale = make_sale(db)
    group = [want(one, n) for n, one in enumerate(inside(db, sale, 3))]
    faults = Faults(db)
    getattr(faults, f"commit_lost_{when}")()
    assert len(hold(db, sale, group)) == 3
    assert faults.fired == 1
    rows = db.read(lambda tx: list(tx.execute(select(Hold.id)).scalars()))
    assert sorted(rows) == sorted(one.hold_id for one in group)
    assert len(journal(db, "hold_placed")) == 3
    assert_sound(db)


def test_sessions_are_looked_up_together_as_alone(db: Database, clock: AdvancingClock) -> None:
    people = make_accounts(db, 4)
    digests = [accounts.digest(one.session) for one in people]
    db.transact(accounts.close_session, digests[1])
    asked = [*digests, accounts.digest("nobody's"), digests[0]]
    alone = [db.lookup(accounts.find_session, digest) for digest in asked]
    assert db.lookup(accounts.find_sessions, asked) == alone
    assert [found and found[1] for found in alone] == [
        "live",
        "revoked",
        "live",
        "live",
        None,
        "live",
    ]
    clock.advance(13 * 3_600)
    assert {found and found[1] for found in db.lookup(accounts.find_sessions, asked)} == {
        "expired",
        "revoked",
        None,
    }


# -- the waiting room ---------------------------------------------------------------------------


def join_together(db: Database, people: list[Customer], sale: int) -> list[uuid.UUID]:
    """Let several join at once; return who did, in the order of their accounts."""
    arrivals = [Arrival(new_id(), sale, one.id) for one in people]
    return [stay.account_id for stay in db.transact(waiting_room.join_together, arrivals).values()]


def test_who_joins_together_has_a_stay_as_if_alone(db: Database) -> None:
    sale = make_sale(db, capacity=0)
    alone, *people = make_accounts(db, 5)
    single = db.transact(waiting_room.join, Arrival(new_id(), sale, alone.id))[0]
    everybody = sorted(one.id for one in people)
    assert join_together(db, people, sale) == everybody
    first, *entries = journal(db, "queue_joined")
    assert len({entry.attempt_id for entry in (first, *entries)}) == 5
    assert [entry.facts["account_id"] for entry in entries] == [str(one) for one in everybody]
    for entry in entries:
        assert entry.facts.keys() == first.facts.keys()
        stay = db.read(waiting_room.get_stay, uuid.UUID(entry.facts["entry_id"]))
        assert (stay.performance_id, stay.joined_at) == (sale, entry.at)
        unlike = {"entry_id": single.entry_id, "account_id": alone.id}
        assert replace(stay, joined_at=single.joined_at, **unlike) == single
    assert_sound(db)


@pytest.mark.failure("F18")
def test_who_is_there_already_does_not_join_with_others(db: Database) -> None:
    sale = make_sale(db, capacity=0)
    early, twice, late = make_accounts(db, 3)
    db.transact(waiting_room.join, Arrival(new_id(), sale, early.id))
    assert join_together(db, [early, twice, late, twice], sale) == sorted([twice.id, late.id])
    assert len(journal(db, "queue_joined")) == 3
    assert_sound(db)


def test_where_the_room_is_off_all_are_admitted_at_once(db: Database) -> None:
    sale = make_sale(db)
    arrivals = [Arrival(new_id(), sale, one.id, 600) for one in make_accounts(db, 3)]
    for stay in db.transact(waiting_room.join_together, arrivals).values():
        assert stay == db.read(waiting_room.get_stay, stay.entry_id)
        assert stay.access_expires_at == stay.joined_at + timedelta(seconds=600)
    assert_sound(db)


def test_stays_are_looked_up_together_as_alone(db: Database, clock: AdvancingClock) -> None:
    sale = make_sale(db, session_seconds=60, hold_seconds=120)
    holding, over, gone = (enter(db, customer, sale, 60) for customer in make_accounts(db, 3))
    place(db, holding, [1])
    db.transact(waiting_room.end, gone.entry_id, gone.account_id, "left")
    clock.advance(61)
    fresh = enter(db, make_accounts(db)[0], sale)
    asked = [one.entry_id for one in (fresh, gone, over, holding)] + [new_id()]
    found = db.lookup(waiting_room.get_stays, asked)
    told = [one.facts["reason"] if isinstance(one, TurnOver) else one.entry_id for one in found]
    assert told == [fresh.entry_id, "left", "expired", holding.entry_id, "expired"]


def test_who_comes_together_is_seen(db: Database) -> None:
    sale = make_sale(db)
    stays = [join_at_once(db, one, sale) for one in make_accounts(db, 3)]
    seen_before = [db.read(waiting_room.get_stay, stay.entry_id).seen_at for stay in stays]
    whose = {stay.entry_id: stay.account_id for stay in stays[:2]}
    db.transact(staying.see_together, whose, 0.0)
    seen = [db.read(waiting_room.get_stay, stay.entry_id).seen_at for stay in stays]
    assert [now != before for now, before in zip(seen, seen_before, strict=True)] == [
        True,
        True,
        False,
    ]


def join_at_once(db: Database, customer: Customer, sale: int) -> Stay:
    return db.transact(waiting_room.join, Arrival(new_id(), sale, customer.id, 600))[0]
