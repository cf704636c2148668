"""The waiting room: one stay at a time, numbers that never change, exact admission, clean ends."""

import random
import uuid
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, insert, select, update

from tests.builders import Customer, enter, make_accounts, make_sale, offers, pay, place, retire
from tests.conftest import AdvancingClock
from webapp.db import Database, Tx, new_id
from webapp.domain import admission, catalogue, holds, outlook, staying, waiting_room
from webapp.domain.errors import NotAdmitted, SaleClosed, SalePaused, TurnOver
from webapp.domain.model import Performance, QueueEntry, table_of
from webapp.domain.outlook import Room
from webapp.domain.waiting_room import Arrival, Pass, Stay

STAY = "uq_queue_entry_stay"


def join(db: Database, customer: Customer, sale: int) -> tuple[Stay, bool]:
    arrival = Arrival(new_id(), sale, customer.id)
    return db.transact(waiting_room.join, arrival, instead={STAY: waiting_room.rejoin})


def leave(db: Database, stay: Stay, reason: str = "left") -> bool:
    return db.transact(waiting_room.end, stay.entry_id, stay.account_id, reason)


def number_all(db: Database, sale: int) -> int:
    total = 0
    while numbered := db.transact(admission.number_newcomers, sale):
        total += numbered
    return total


def admit(db: Database, sale: int) -> int:
    return db.transact(admission.admit, sale)


def get(db: Database, stay: Stay) -> Stay:
    return db.read(waiting_room.get_stay, stay.entry_id)


def numbers(db: Database, sale: int) -> list[int | None]:
    """The numbers of a room in the order of arrival."""
    query = select(QueueEntry.number).where(QueueEntry.performance_id == sale)
    return db.read(lambda tx: list(tx.execute(query.order_by(QueueEntry.joined_at)).scalars()))


def crowd(db: Database, sale: int, count: int) -> None:
    """Let `count` people join at different instants, stored in no order at all."""

    def work(tx: Tx) -> None:
        rows = [
            {
                "id": uuid.uuid4(),
                "performance_id": sale,
                "account_id": uuid.uuid4(),
                "joined_at": tx.now + timedelta(microseconds=place),
            }
            for place in range(count)
        ]
        random.Random(1).shuffle(rows)
        tx.execute(insert(table_of(QueueEntry)), rows)

    db.transact(work)


# -- joining ------------------------------------------------------------------------------------------


def test_joining_again_finds_the_same_stay(db: Database) -> None:
    sale = make_sale(db, capacity=5)
    [customer] = make_accounts(db)
    first, new = join(db, customer, sale)
    again, anew = join(db, customer, sale)
    assert (new, anew) == (True, False)
    assert again == first
    number_all(db, sale)
    assert join(db, customer, sale)[0].number == 1


def test_leaving_and_joining_again_is_a_new_stay_at_the_back(db: Database) -> None:
    sale = make_sale(db, capacity=5)
    first, second = make_accounts(db, 2)
    stay, _ = join(db, first, sale)
    join(db, second, sale)
    number_all(db, sale)
    assert leave(db, stay)
    assert not leave(db, stay)
    again, new = join(db, first, sale)
    assert new
    assert again.entry_id != stay.entry_id
    number_all(db, sale)
    assert get(db, again).number == 3


def test_stays_of_different_performances_do_not_meet(db: Database) -> None:
    one, other = make_sale(db, capacity=5), make_sale(db, capacity=5)
    [customer] = make_accounts(db)
    assert join(db, customer, one)[1]
    assert join(db, customer, other)[1]
    assert number_all(db, one) == 1
    assert numbers(db, other) == [None]


def test_with_the_room_off_one_is_inside_at_once(db: Database) -> None:
    sale = make_sale(db)
    [customer] = make_accounts(db)
    admitted = enter(db, customer, sale, session_seconds=600)
    stay = db.read(waiting_room.get_stay, admitted.entry_id)
    assert stay.number is None
    assert stay.admitted_at == stay.joined_at
    assert stay.access_expires_at == stay.joined_at + timedelta(seconds=600)
    place(db, admitted, [1])


@pytest.mark.failure("F14")
@pytest.mark.parametrize("swept", [False, True])
def test_whose_access_has_expired_may_join_again(
    db: Database, clock: AdvancingClock, swept: bool
) -> None:
    sale = make_sale(db, capacity=5, session_seconds=60)
    [customer] = make_accounts(db)
    first, _ = join(db, customer, sale)
    number_all(db, sale)
    admit(db, sale)
    clock.advance(61)
    if swept:
        retire(db, sale)
    again, new = join(db, customer, sale)
    assert new
    assert again.entry_id != first.entry_id
    assert number_all(db, sale) == 1
    assert get(db, again).number == 2
    with pytest.raises(TurnOver):
        get(db, first)


@pytest.mark.failure("F14")
def test_whose_entry_was_lost_may_join_again(db: Database) -> None:
    sale = make_sale(db, capacity=5)
    [customer] = make_accounts(db)
    lost, _ = join(db, customer, sale)
    entry = table_of(QueueEntry)
    db.transact(lambda tx: tx.execute(entry.delete().where(entry.c.id == lost.entry_id)))
    with pytest.raises(TurnOver) as over:
        get(db, lost)
    assert over.value.facts == {"reason": "expired"}
    assert join(db, customer, sale)[1]
    assert not join(db, customer, sale)[1]


def test_who_still_holds_seats_keeps_the_stay_although_the_access_is_over(
    db: Database, clock: AdvancingClock
) -> None:
    sale = make_sale(db, capacity=5, session_seconds=60, hold_seconds=300)
    [customer] = make_accounts(db)
    stay, _ = join(db, customer, sale)
    number_all(db, sale)
    admit(db, sale)
    admitted = Pass(stay.entry_id, sale, customer.id)
    held = place(db, admitted, [1])
    clock.advance(61)
    assert retire(db, sale) == 0
    assert get(db, stay).entry_id == stay.entry_id
    again, new = join(db, customer, sale)
    assert (again.entry_id, new) == (stay.entry_id, False)
    pay(db, admitted, held)
    assert join(db, customer, sale)[1]


# -- numbers ----------------------------------------------------------------------------------------


@pytest.mark.failure("F17")
def test_ten_thousand_get_contiguous_numbers_in_the_order_of_arrival(db: Database) -> None:
    sale = make_sale(db, capacity=5)
    [early] = make_accounts(db)
    first, _ = join(db, early, sale)
    crowd(db, sale, 9_999)
    batches = []
    while numbered := db.transact(admission.number_newcomers, sale):
        batches.append(numbered)
    assert batches == [admission.NUMBERED_PER_BATCH] * 5
    assert numbers(db, sale) == list(range(1, 10_001))
    assert get(db, first).number == 1


def test_numbers_go_on_where_they_ended_and_never_change(db: Database) -> None:
    sale = make_sale(db, capacity=1)
    people = make_accounts(db, 6)
    stays = [join(db, person, sale)[0] for person in people[:3]]
    leave(db, stays[1])  # before it had a number: none is spent on it
    number_all(db, sale)
    admit(db, sale)
    stays += [join(db, person, sale)[0] for person in people[3:]]
    number_all(db, sale)
    number_all(db, sale)
    assert numbers(db, sale) == [1, None, 2, 3, 4, 5]


# -- admission ----------------------------------------------------------------------------------------


def test_admission_is_in_the_order_of_numbers_up_to_capacity(db: Database) -> None:
    sale = make_sale(db, capacity=3)
    stays = [join(db, person, sale)[0] for person in make_accounts(db, 5)]
    number_all(db, sale)
    assert admit(db, sale) == 3
    assert admit(db, sale) == 0
    inside = [get(db, stay).admitted_at is not None for stay in stays]
    assert inside == [True, True, True, False, False]


@pytest.mark.parametrize("way", ["left", "paid", "expired"])
def test_each_place_is_given_back_once(db: Database, clock: AdvancingClock, way: str) -> None:
    sale = make_sale(db, capacity=1, session_seconds=60)
    first, *_ = [join(db, person, sale)[0] for person in make_accounts(db, 3)]
    number_all(db, sale)
    admit(db, sale)
    if way == "expired":
        clock.advance(61)  # counted by the clock, whether or not anybody retired the stay
    elif way == "paid":
        admitted = Pass(first.entry_id, sale, first.account_id)
        pay(db, admitted, place(db, admitted, [1]))
    else:
        leave(db, first)
    assert admit(db, sale) == 1
    retire(db, sale)
    assert admit(db, sale) == 0


def test_no_more_than_the_rate_within_any_minute(db: Database, clock: AdvancingClock) -> None:
    sale = make_sale(db, capacity=1_000, rate_per_minute=10, session_seconds=20)
    crowd(db, sale, 60)
    number_all(db, sale)
    admissions = []
    for _ in range(40):  # every 7 s: the windows begin anywhere
        admissions.append((clock.now(), admit(db, sale)))
        clock.advance(7)
    for start, _ in admissions:
        within = [n for at, n in admissions if start <= at < start + timedelta(seconds=60)]
        assert sum(within) <= 10
    assert sum(count for _, count in admissions) > 40  # and hardly less


@pytest.mark.parametrize("limits", [{"capacity": 0}, {"capacity": 5, "rate_per_minute": 0}])
def test_a_limit_of_nothing_admits_nobody(db: Database, limits: dict[str, int]) -> None:
    sale = make_sale(db, **limits)
    crowd(db, sale, 3)
    number_all(db, sale)
    assert admit(db, sale) == 0


def test_lowering_the_capacity_below_those_inside_throws_nobody_out(db: Database) -> None:
    sale = make_sale(db, capacity=3)
    crowd(db, sale, 5)
    number_all(db, sale)
    admit(db, sale)
    db.transact(lambda tx: tx.execute(update(Performance).values(capacity=1)))
    assert admit(db, sale) == 0
    assert db.read(outlook.count_people, [sale]) == {sale: (2, 3)}


# -- being inside -------------------------------------------------------------------------------------


def inside(db: Database, sale: int, customer: Customer) -> tuple[Pass, Stay]:
    stay, _ = join(db, customer, sale)
    number_all(db, sale)
    admit(db, sale)
    return Pass(stay.entry_id, sale, customer.id), stay


def test_who_only_waits_may_not_choose(db: Database) -> None:
    sale = make_sale(db, capacity=0)
    [customer] = make_accounts(db)
    waiting, _ = inside(db, sale, customer)
    with pytest.raises(NotAdmitted):
        place(db, waiting, [1])


@pytest.mark.parametrize("reason", ["left", "paid"])
def test_an_ended_stay_opens_nothing(db: Database, reason: str) -> None:
    sale = make_sale(db, capacity=5)
    [customer] = make_accounts(db)
    admitted, stay = inside(db, sale, customer)
    held = place(db, admitted, [1, 2])
    leave(db, stay, reason)
    with pytest.raises(NotAdmitted):
        place(db, admitted, [3])
    with pytest.raises(NotAdmitted):
        pay(db, admitted, held)


@pytest.mark.failure("F47")
def test_a_pass_opens_nothing_for_somebody_else(db: Database) -> None:
    sale = make_sale(db, capacity=5)
    owner, thief = make_accounts(db, 2)
    admitted, _ = inside(db, sale, owner)
    with pytest.raises(NotAdmitted):
        place(db, Pass(admitted.entry_id, sale, thief.id), [1])


def test_an_expired_access_opens_nothing(db: Database, clock: AdvancingClock) -> None:
    sale = make_sale(db, capacity=5, session_seconds=60)
    [customer] = make_accounts(db)
    admitted, _ = inside(db, sale, customer)
    clock.advance(61)
    with pytest.raises(NotAdmitted):
        place(db, admitted, [1])


@pytest.mark.failure("F42")
def test_nothing_moves_the_last_deadline_of_a_stay(db: Database, clock: AdvancingClock) -> None:
    sale = make_sale(db, session_seconds=600, hold_seconds=300)
    [customer] = make_accounts(db)
    admitted = enter(db, customer, sale, session_seconds=600)
    first = place(db, admitted, [1])
    end = first.placed_at + timedelta(seconds=600)
    deadlines = [first.expires_at]
    for number in range(2, 6):
        clock.advance(110)
        held = place(db, admitted, [number])
        deadlines.append(held.expires_at)
        if number % 2:
            db.transact(holds.release, held.id, customer.id)
    assert deadlines[:2] < deadlines[2:]
    assert all(deadline <= end for deadline in deadlines)
    assert end - deadlines[-1] < timedelta(seconds=1)
    clock.advance(161)
    with pytest.raises(NotAdmitted):
        place(db, admitted, [7])


def test_a_late_first_hold_may_outlive_the_access_but_the_next_one_not_the_first(
    db: Database, clock: AdvancingClock
) -> None:
    sale = make_sale(db, hold_seconds=300)
    [customer] = make_accounts(db)
    admitted = enter(db, customer, sale, session_seconds=600)
    clock.advance(590)
    first = place(db, admitted, [1])
    assert first.expires_at == first.placed_at + timedelta(seconds=300)
    clock.advance(5)
    second = place(db, admitted, [2])
    assert second.expires_at == first.expires_at


@pytest.mark.parametrize(
    ("change", "refusal"),
    [({"paused_at": 0.0}, SalePaused), ({"sales_close_at": 0.0}, SaleClosed)],
)
def test_a_paused_or_closed_sale_takes_no_new_holds_but_is_paid(
    db: Database, change: dict[str, float], refusal: type[Exception]
) -> None:
    sale = make_sale(db)
    [customer] = make_accounts(db)
    admitted = enter(db, customer, sale)
    held = place(db, admitted, [1])
    [column] = change
    db.transact(lambda tx: tx.execute(update(Performance).values({column: tx.now})))
    with pytest.raises(refusal):
        place(db, admitted, [2])
    pay(db, admitted, held)


def test_nobody_holds_seats_before_the_sale_opens(db: Database, clock: AdvancingClock) -> None:
    """Not even somebody who got in: the sale may have been moved since."""
    sale = make_sale(db, opens_in=60.0)
    [customer] = make_accounts(db)
    admitted = enter(db, customer, sale)
    with pytest.raises(NotAdmitted):
        place(db, admitted, [1])
    clock.advance(61)
    place(db, admitted, [1])


# -- how a stay ended ---------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["left", "paid", "expired"])
def test_an_ended_stay_says_why(db: Database, clock: AdvancingClock, reason: str) -> None:
    sale = make_sale(db, capacity=5, session_seconds=60)
    [customer] = make_accounts(db)
    admitted, stay = inside(db, sale, customer)
    if reason == "expired":
        clock.advance(61)
    elif reason == "paid":
        pay(db, admitted, place(db, admitted, [1]))
    else:
        leave(db, stay)
    with pytest.raises(TurnOver) as over:
        get(db, stay)
    assert over.value.facts == {"reason": reason}
    retire(db, sale)
    with pytest.raises(TurnOver) as still:
        get(db, stay)
    assert still.value.facts == {"reason": reason}


# -- looking on ---------------------------------------------------------------------------------------


def test_who_has_a_number_is_given_no_other(db: Database) -> None:
    """Nor is anything kept of a batch with them in it: the others' numbers would have a gap."""
    sale = make_sale(db, capacity=0)
    numbered, other = [join(db, person, sale)[0].entry_id for person in make_accounts(db, 2)]
    db.transact(admission.number_in_order, sale, 0, [numbered])
    with pytest.raises(RuntimeError, match="gap"):
        db.transact(admission.number_in_order, sale, 1, [other, numbered])
    assert db.read(waiting_room.get_stay, numbered).number == 1
    assert db.read(waiting_room.get_stay, other).number is None
    assert db.read(admission.get_last_number, sale) == 1


def test_a_room_says_who_is_before_whom(db: Database) -> None:
    sale = make_sale(db, capacity=2)
    stays = [join(db, person, sale)[0] for person in make_accounts(db, 6)]
    number_all(db, sale)
    admit(db, sale)
    leave(db, get(db, stays[3]))
    room = db.read(outlook.look, sale)
    assert (room.front, list(room.gone), room.admitted_last_minute) == (3, [4], 2)
    assert [room.is_waiting(number) for number in range(1, 8)] == [
        *(False, False),  # admitted
        True,
        False,  # left
        *(True, True),
        True,  # not handed out yet: it will wait
    ]
    assert [room.ahead(number) for number in (3, 5, 6)] == [0, 1, 2]


def test_an_empty_room_has_its_front_behind_the_last_number(db: Database) -> None:
    sale = make_sale(db, capacity=5)
    assert db.read(outlook.look, sale).front == 1
    crowd(db, sale, 3)
    number_all(db, sale)
    admit(db, sale)
    assert db.read(outlook.look, sale).front == 4


@pytest.mark.failure("F17")
def test_a_position_never_gets_worse_whatever_happens(db: Database, clock: AdvancingClock) -> None:
    sale = make_sale(db, capacity=4, session_seconds=30)
    stays = [join(db, person, sale)[0] for person in make_accounts(db, 30)]
    number_all(db, sale)
    stays = [get(db, stay) for stay in stays]
    chance = random.Random(7)
    shown = {stay.number: 10_000 for stay in stays if stay.number}
    while True:
        room = db.read(outlook.look, sale)
        for number, before in shown.items():
            assert room.ahead(number) <= before
            shown[number] = room.ahead(number)
        waiting = [stay for stay in stays if stay.number and room.is_waiting(stay.number)]
        if not waiting:
            break
        assert sorted(shown[s.number] for s in waiting if s.number) == list(range(len(waiting)))
        if chance.random() < 0.5:
            leave(db, chance.choice(waiting))
        else:
            admit(db, sale)
            clock.advance(31)


@given(
    front=st.integers(1, 40),
    left=st.sets(st.integers(1, 60)),
    later=st.sets(st.integers(1, 60)),
    step=st.integers(0, 20),
)
def test_a_later_room_never_shows_more_people_ahead(
    front: int, left: set[int], later: set[int], step: int
) -> None:
    """Whatever is admitted or leaves between two looks at a room of sixty."""
    now = Room(1, front, tuple(sorted(n for n in left if n >= front)), 0)
    front_then = front + step
    gone_then = tuple(sorted(n for n in left | later if n >= front_then))
    then = Room(1, front_then, gone_then, 0)
    for number in range(1, 61):
        assert then.ahead(number) <= now.ahead(number)


@pytest.mark.failure("F13")
def test_of_a_mixed_crowd_exactly_those_who_are_over_are_retired(
    db: Database, clock: AdvancingClock
) -> None:
    """Waiting, inside, late but with time for a hold, over by the access, over by the last hold."""
    sale = make_sale(db, capacity=5)

    def fill(tx: Tx) -> dict[uuid.UUID, bool]:
        over, rows = {}, []
        for place_no in range(10_000):
            access, hold = [(None, None), (30, None), (-1, 30), (-1, None), (-90, -30)][
                place_no % 5
            ]
            row = {
                "id": uuid.uuid4(),
                "performance_id": sale,
                "account_id": uuid.uuid4(),
                "joined_at": tx.now,
                "admitted_at": tx.now if access else None,
                "access_expires_at": tx.now + timedelta(seconds=access) if access else None,
                "holds_end_at": tx.now + timedelta(seconds=hold) if hold else None,
            }
            rows.append(row)
            over[row["id"]] = place_no % 5 in (3, 4)
        tx.execute(insert(table_of(QueueEntry)), rows)
        return over

    over = db.transact(fill)
    assert retire(db, sale) == 4_000
    assert retire(db, sale) == 0
    query = select(QueueEntry.id, QueueEntry.end_reason)
    ended = {row.id: row.end_reason for row in db.read(lambda tx: tx.execute(query).all())}
    assert ended == {entry: "expired" if is_over else None for entry, is_over in over.items()}
    clock.advance(31)
    assert retire(db, sale) == 4_000


def test_a_customer_has_one_listed_entry_however_often_he_comes(db: Database) -> None:
    sale = make_sale(db, capacity=5)
    [customer] = make_accounts(db)
    for _ in range(5):
        stay, _ = join(db, customer, sale)
        join(db, customer, sale)
        leave(db, stay)
    join(db, customer, sale)
    listed = select(func.count(QueueEntry.id)).where(QueueEntry.ended_at.is_(None))
    assert db.read(lambda tx: tx.execute(listed).scalar()) == 1


def test_the_offers_of_a_hold_come_from_the_admission_only(db: Database) -> None:
    """Nobody else makes the argument that `holds.place` asks for."""
    sale = make_sale(db, seats_max=2)
    [customer] = make_accounts(db)
    admitted = enter(db, customer, sale)
    rules = db.read(catalogue.get_rules, sale)
    admission = db.transact(staying.enter, admitted, rules)
    assert admission.rules.seats_max == 2
    assert admission.account_id == customer.id
    held = db.transact(holds.place, admission, new_id(), offers([1, 2]))
    assert held.entry_id == admitted.entry_id


def test_a_pass_opens_its_own_room_only(db: Database) -> None:
    own, other = make_sale(db), make_sale(db)
    [customer] = make_accounts(db)
    admitted = enter(db, customer, own)
    with pytest.raises(NotAdmitted):
        place(db, Pass(admitted.entry_id, other, customer.id), [1])
