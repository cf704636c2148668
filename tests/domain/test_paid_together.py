"""Payments of a group: each exactly as it would be alone, or not at all (PostgreSQL)."""

import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from tests.builders import Customer, enter, make_accounts, make_sale, pay, place
from tests.conftest import AdvancingClock
from tests.faults import Faults
from tests.races.soundness import assert_sound
from webapp.db import Database, new_id
from webapp.domain import (
    accounts,
    bookings,
    idempotency,
    paid_together,
    seatmap,
    staying,
    visits,
    waiting_room,
    wallet,
)
from webapp.domain.bookings import Booked, Payment
from webapp.domain.catalogue import get_rules
from webapp.domain.holds import Held
from webapp.domain.idempotency import Answer, Request
from webapp.domain.model import (
    Booking,
    Hold,
    IdempotencyKey,
    JournalEntry,
    LedgerEntry,
    QueueEntry,
    Ticket,
)
from webapp.domain.paid_together import Payer
from webapp.domain.together import NotTogether
from webapp.domain.visits import Visit
from webapp.domain.waiting_room import Pass
from webapp.web import actions

STATEMENTS = 10  # of a group, with the journal's


@pytest.fixture
def database_url(postgres_url: str) -> str:
    """There is no SQLite here: its one writer does everything alone."""
    return postgres_url


def keyed(account_id: uuid.UUID, key: str = "k") -> Request:
    return Request(account_id, "POST", "/api/v1/bookings", key, actions.request_digest(b"{}"))


def payer(admitted: Pass, hold_id: uuid.UUID) -> Payer:
    return Payer(keyed(admitted.account_id), admitted, Payment(new_id(), new_id(), hold_id))


def holder(
    db: Database, sale: int, *seat_nos: int, customer: Customer | None = None
) -> tuple[Pass, Held]:
    admitted = enter(db, customer or make_accounts(db)[0], sale)
    return admitted, place(db, admitted, seat_nos)


def payers(db: Database, sale: int, count: int) -> list[Payer]:
    """People who hold seats 2n and 2n + 1."""
    made = []
    for number in range(count):
        admitted, held = holder(db, sale, 2 * number, 2 * number + 1)
        made.append(payer(admitted, held.id))
    return made


def told(booked: Booked) -> Answer:
    return Answer(201, {"reference": booked.reference, "total_minor": booked.total_minor})


def pay_all(db: Database, sale: int, group: Sequence[Payer]) -> list[Answer]:
    return db.transact(paid_together.pay_together, sale, group, told)


def journal(db: Database, kind: str) -> list[Any]:
    query = select(JournalEntry).where(JournalEntry.kind == kind).order_by(JournalEntry.id)
    return db.read(lambda tx: list(tx.session.execute(query).scalars()))


COUNTED = (Booking, Ticket, LedgerEntry, IdempotencyKey, JournalEntry, QueueEntry, Hold)


def stored(db: Database) -> list[Any]:
    """What a payment would change: how many rows of each kind there are, and which stays and holds ended."""

    def count(tx: Any) -> list[Any]:
        counts: list[Any] = [
            tx.execute(select(func.count()).select_from(model)).scalar() for model in COUNTED
        ]
        for model in (QueueEntry, Hold):
            ended = select(model.id).where(model.ended_at.is_not(None)).order_by(model.id)
            counts.append(list(tx.execute(ended).scalars()))
        return counts

    return db.read(count)


def named(db: Database, sale: int, group: Sequence[Payer]) -> set[int]:
    """Pay, expect that some cannot; return who, and that nothing of anybody's is there."""
    before = stored(db), db.lookup(seatmap.states, sale)
    with pytest.raises(NotTogether) as others:
        pay_all(db, sale, group)
    assert (stored(db), db.lookup(seatmap.states, sale)) == before
    return {place for place, one in enumerate(group) if one.hold_id in others.value.hold_ids}


@pytest.mark.failure("F1")
def test_each_is_as_it_would_be_alone(db: Database) -> None:
    sale = make_sale(db, seats=30)
    admitted, held = holder(db, sale, 20, 21)
    alone = payer(admitted, held.id)
    single = db.transact(
        idempotency.keyed(
            alone.request, lambda tx: told(bookings.pay(tx, alone.admitted, alone.payment))
        )
    )
    group = payers(db, sale, 3)
    answers = pay_all(db, sale, group)
    assert db.lookup(seatmap.states, sale)[:8] == "ssssssff"
    entries = journal(db, "booking_paid")
    assert len({entry.attempt_id for entry in entries}) == 4
    assert len({entry.at for entry in entries[1:]}) == 1
    for one, answer, entry in zip(group, answers, entries[1:], strict=True):
        assert answer.body.keys() == single.body.keys()
        mine = db.read(bookings.get_own, answer.body["reference"], one.admitted.account_id)
        assert (mine.id, mine.total_minor, mine.currency) == (one.payment.booking_id, 2_000, "KRW")
        assert entry.facts.keys() == entries[0].facts.keys()
        assert entry.facts["ledger_id"] == str(one.payment.ledger_id)
        assert entry.facts["reference"] == mine.reference
        assert entry.facts["tickets"] == [
            [str(ticket.id), ticket.seat_no, ticket.price_minor] for ticket in mine.tickets
        ]
        kept = db.lookup(idempotency.find, one.request)
        assert kept == Answer(201, answer.body, replayed=True)
        assert db.lookup(wallet.get, one.admitted.account_id).balance_minor == 998_000
        [spent, _opening] = db.read(wallet.list_movements, one.admitted.account_id, None, 5)
        assert (spent.id, spent.kind, spent.amount_minor, spent.booking_id) == (
            one.payment.ledger_id,
            "spend",
            -2_000,
            mine.id,
        )
    assert_sound(db)


Spoil = Callable[[Flask, int, Pass, Held], Payer]


def _left(app: Flask, sale: int, admitted: Pass, held: Held) -> Payer:
    actions.leave(app.extensions["jari"], admitted.account_id, sale)
    return payer(admitted, held.id)


def _replaced(app: Flask, sale: int, admitted: Pass, held: Held) -> Payer:
    place(app.extensions["jari"].db, admitted, [30])
    return payer(admitted, held.id)


def _paid(app: Flask, sale: int, admitted: Pass, held: Held) -> Payer:
    pay(app.extensions["jari"].db, admitted, held)
    return payer(admitted, held.id)


def _poor(app: Flask, sale: int, admitted: Pass, held: Held) -> Payer:
    db = app.extensions["jari"].db
    db.transact(wallet.spend, admitted.account_id, new_id(), new_id(), 999_000 - 1)
    return payer(admitted, held.id)


def _known_key(app: Flask, sale: int, admitted: Pass, held: Held) -> Payer:
    keep = idempotency.keyed(keyed(admitted.account_id), lambda _: Answer(204, {}))
    app.extensions["jari"].db.transact(keep)
    return payer(admitted, held.id)


def _unknown_hold(_app: Flask, sale: int, admitted: Pass, held: Held) -> Payer:
    return payer(admitted, new_id())


def _never_held(app: Flask, sale: int, admitted: Pass, held: Held) -> Payer:
    db = app.extensions["jari"].db
    return payer(enter(db, make_accounts(db)[0], sale), held.id)


def _no_stay(_app: Flask, sale: int, admitted: Pass, held: Held) -> Payer:
    return payer(Pass(new_id(), sale, admitted.account_id), held.id)


def _others_stay(_app: Flask, sale: int, admitted: Pass, held: Held) -> Payer:
    return payer(Pass(admitted.entry_id, sale, new_id()), held.id)


def _ended(app: Flask, sale: int, admitted: Pass, held: Held) -> Payer:
    """As the usher sends somebody away while his hold lives."""
    db = app.extensions["jari"].db
    db.transact(waiting_room.end, admitted.entry_id, admitted.account_id, "revoked")
    return payer(admitted, held.id)


def _newer_stay(app: Flask, sale: int, admitted: Pass, held: Held) -> Payer:
    """The hold lives, and its customer has come in once more: another stay's token pays nothing."""
    _ended(app, sale, admitted, held)
    db = app.extensions["jari"].db
    return payer(enter(db, Customer(admitted.account_id, "", ""), sale), held.id)


SPOILT: list[Spoil] = [
    _left,
    _replaced,
    _paid,
    _poor,
    _known_key,
    _unknown_hold,
    _never_held,
    _no_stay,
    _others_stay,
    _ended,
    _newer_stay,
]


@pytest.mark.parametrize("spoil", SPOILT)
def test_who_cannot_pay_is_named_and_nothing_is_stored(
    app: Flask, db: Database, spoil: Spoil
) -> None:
    sale = make_sale(db, seats=60)
    group = payers(db, sale, 2)
    group.insert(1, spoil(app, sale, *holder(db, sale, 50, 51)))
    assert named(db, sale, group) == {1}
    assert len(pay_all(db, sale, [group[0], group[2]])) == 2
    assert db.lookup(seatmap.states, sale)[:4] == "ssss"
    assert len(journal(db, "booking_paid")) == 2 + (spoil is _paid)


def test_somebody_elses_hold_is_neither_paid_nor_charged(db: Database) -> None:
    """Whoever names the hold of somebody in the same group, before or after him, spoils it for both."""
    sale = make_sale(db, seats=20)
    owner, other = payers(db, sale, 2)
    thief = payer(other.admitted, owner.hold_id)
    for group in ([owner, thief], [thief, owner]):
        assert named(db, sale, group) == {0, 1}
    assert db.lookup(wallet.get, other.admitted.account_id).balance_minor == 1_000_000


@pytest.mark.failure("F2")
def test_a_hold_past_its_time_is_not_paid_in_a_group(db: Database, clock: AdvancingClock) -> None:
    sale = make_sale(db, seats=20, hold_seconds=60)
    late = payers(db, sale, 1)
    clock.advance(61)
    fresh = [payer(admitted, held.id) for admitted, held in (holder(db, sale, 8),)]
    assert named(db, sale, [*late, *fresh]) == {0}
    admitted, held = holder(db, sale, 0, 1)  # the seats are another's by now
    assert named(db, sale, [*late, payer(admitted, held.id)]) == {0}
    assert_sound(db)


def test_a_seat_that_is_no_longer_held_is_not_sold_in_a_group(db: Database) -> None:
    """It cannot happen while holds and seats agree; the statement would notice if they did not."""
    sale = make_sale(db, seats=20)
    group = payers(db, sale, 2)
    seats = seatmap.table_of(seatmap.Seat)
    taken = seats.update().where(seats.c.performance_id == sale, seats.c.seat_no == 3)
    db.transact(lambda tx: tx.execute(taken.values(hold_id=new_id())))
    assert named(db, sale, group) == {1}


def test_a_use_from_elsewhere_is_each_ones_own(db: Database) -> None:
    sale = make_sale(db)
    first, second = payers(db, sale, 2)

    def use(one: Payer, where: str) -> Payer:
        stay = Pass(one.admitted.entry_id, sale, one.admitted.account_id, where)
        return Payer(one.request, stay, one.payment)

    db.transact(staying.enter, use(first, "here").admitted, db.read(get_rules, sale))
    db.transact(staying.enter, use(second, "there").admitted, db.read(get_rules, sale))
    pay_all(db, sale, [use(first, "there"), use(second, "there")])
    [shared] = journal(db, "access_shared")
    assert shared.facts["account_id"] == str(first.admitted.account_id)
    attempts = {
        entry.facts["account_id"]: entry.attempt_id for entry in journal(db, "booking_paid")
    }
    assert shared.attempt_id == attempts[str(first.admitted.account_id)]
    assert shared.attempt_id != attempts[str(second.admitted.account_id)]


@pytest.mark.failure("F5")
@pytest.mark.parametrize("number", range(1, STATEMENTS + 1))
def test_a_conflict_at_any_statement_is_run_again(db: Database, number: int) -> None:
    sale = make_sale(db)
    group = payers(db, sale, 3)
    faults = Faults(db)
    faults.at_statement(number, "40001")
    assert len(pay_all(db, sale, group)) == 3
    assert faults.fired == 1
    assert len(faults.statements) == number + STATEMENTS
    assert len(journal(db, "booking_paid")) == 3
    assert_sound(db)


@pytest.mark.failure("F5")
def test_a_conflict_at_commit_is_run_again(db: Database) -> None:
    sale = make_sale(db)
    group = payers(db, sale, 3)
    faults = Faults(db)
    faults.conflict_at_commit("40001")
    assert len(pay_all(db, sale, group)) == 3
    assert faults.fired == 1
    assert_sound(db)


@pytest.mark.failure("F8")
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_commit_is_settled_for_all_of_them(db: Database, when: str) -> None:
    sale = make_sale(db)
    group = payers(db, sale, 3)
    faults = Faults(db)
    getattr(faults, f"commit_lost_{when}")()
    answers = pay_all(db, sale, group)
    assert faults.fired == 1
    assert len(journal(db, "booking_paid")) == 3
    for one, answer in zip(group, answers, strict=True):
        booked = db.read(bookings.get_own, answer.body["reference"], one.admitted.account_id)
        assert booked.id == one.payment.booking_id
        assert db.lookup(wallet.get, one.admitted.account_id).balance_minor == 998_000
    assert_sound(db)


def test_a_code_that_exists_is_drawn_again(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    sale = make_sale(db)
    first, *group = payers(db, sale, 3)
    [taken] = pay_all(db, sale, [first])
    draw, drawn = bookings.random_code, []

    def unlucky(length: int) -> str:
        code = draw(length)
        if length == bookings.REFERENCE_LENGTH and not drawn:
            code = taken.body["reference"]
        drawn.append(code)
        return code

    monkeypatch.setattr(bookings, "random_code", unlucky)
    answers = pay_all(db, sale, group)
    assert len({answer.body["reference"] for answer in (taken, *answers)}) == 3
    assert_sound(db)


def test_no_row_is_made_for_a_key_that_is_not_there(db: Database) -> None:
    """Who overlooks that somebody is missing among those whose rows were changed cannot commit."""
    nobody = Pass(new_id(), make_sale(db), new_id())
    before = stored(db)
    with pytest.raises(RuntimeError):
        db.transact(waiting_room.end_paid_together, [nobody])
    assert stored(db) == before


def test_a_kept_answer_may_hold_any_text(db: Database) -> None:
    """Lists are written as PostgreSQL reads them, whatever stands in them."""
    sale = make_sale(db)
    body = {"text": 'a "quoted" \\ {brace}, comma, NULL, 자리 \N{GRINNING FACE}\n\t', "none": None}
    group = [
        Payer(keyed(one.admitted.account_id, key), one.admitted, one.payment)
        for one, key in zip(payers(db, sale, 3), ('"\\', "NULL", "{a, b}"), strict=True)
    ]
    db.transact(paid_together.pay_together, sale, group, lambda _: Answer(201, body))
    for one in group:
        assert db.lookup(idempotency.find, one.request) == Answer(201, body, replayed=True)


def test_codes_have_every_letter_about_as_often(db: Database) -> None:
    codes = "".join(bookings.random_code(1_000) for _ in range(62))
    assert len(codes) == 62_000
    counts = [codes.count(letter) for letter in bookings.REFERENCE_ALPHABET]
    assert sum(counts) == 62_000
    assert all(1_700 < count < 2_300 for count in counts)  # 2,000 ± 7 standard deviations


def test_visits_are_looked_up_together_as_alone(db: Database, clock: AdvancingClock) -> None:
    people = make_accounts(db, 3)
    digests = [accounts.digest(one.session) for one in people]
    for key in ("old", "older"):
        request = Request(people[0].id, "POST", "/a", key, b"body")
        db.transact(idempotency.keyed(request, lambda _: Answer(201, {"n": 1})))
    db.transact(accounts.close_session, digests[1])
    asked = [
        Visit(digests[0], "POST", "/a", "old"),
        Visit(digests[0], "POST", "/a", "new"),
        Visit(digests[0], "POST", "/b", "old"),
        Visit(digests[0], "DELETE", "/a", "old"),
        Visit(digests[1], "POST", "/a", "old"),
        Visit(digests[2], "POST", "/a", "old"),
        Visit(accounts.digest("nobody's"), "POST", "/a", "old"),
        Visit(digests[0], "POST", "/a", "older"),
    ]
    alone = [db.lookup(visits.find_visit, visit) for visit in asked]
    assert db.lookup(visits.find_visits, asked) == alone
    assert [found and found[0][1] for found in alone] == [
        *["live"] * 4,
        "revoked",
        "live",
        None,
        "live",
    ]
    kept = [visit.key for visit, found in zip(asked, alone, strict=True) if found and found[1]]
    assert kept == ["old", "older"]
    clock.advance(24 * 3_600 + 1)
    assert all(found is None or found[1] is None for found in db.lookup(visits.find_visits, asked))
