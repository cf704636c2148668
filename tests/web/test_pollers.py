"""Those who wait in line take nothing away from those who book: no statement, no connection, no lock."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
from flask import Flask
from sqlalchemy import QueuePool

from tests.builders import make_sale
from tests.web.contract import Api
from tests.web.visitors import Visitor, let_time_pass, ush, visitor
from tests.web.watching import Watch
from webapp.db import Database, Tx
from webapp.domain import waiting_room
from webapp.web import queue

CROWD, ROUNDS = 12, 20


@pytest.fixture
def crowd(app: Flask) -> list[Visitor]:
    """People in line who have all asked before, each with a client of their own."""
    api = Api(app)
    sale = make_sale(api.db, capacity=0)
    people = [visitor(Api(app), sale).join() for _ in range(CROWD)]
    ush(api)
    let_time_pass(api)
    for _ in range(2):  # once to hear their numbers, and once with the token that has them
        together(people)
        let_again(api)
    return people


def together(people: list[Visitor]) -> Counter[int]:
    """Let everybody ask at the same moment; return the answers' statuses."""
    everybody = threading.Barrier(len(people))

    def ask(person: Visitor) -> int:
        everybody.wait(60)
        answer = person.api.call("poll_queue", waiting=person.waiting, path=person.path)
        if answer.status_code == 200:
            person.waiting = answer.json["waiting_token"]
        return answer.status_code

    with ThreadPoolExecutor(len(people)) as threads:
        return Counter(threads.map(ask, people))


def let_again(api: Api) -> None:
    """Let everybody ask again; the snapshots stay as they are."""
    api.house.pacing._not_before.clear()


@contextmanager
def everything_taken(db: Database) -> Iterator[None]:
    """A booking stands in the midst of its transaction, and whatever connections there are else are out."""
    under_way, over = threading.Event(), threading.Event()

    def book(tx: Tx) -> None:
        tx.connection.exec_driver_sql("SELECT 1")
        under_way.set()
        assert over.wait(30)

    with ThreadPoolExecutor(1) as thread, ExitStack() as stack:
        booking = thread.submit(db.transact, book)
        stack.callback(over.set)
        assert under_way.wait(60)
        for engine in (db.writer, db.reader):
            assert isinstance(engine.pool, QueuePool)
            while engine.pool.checkedout() < engine.pool.size():
                stack.callback(engine.pool.connect().close)
        yield
        over.set()
        booking.result(60)


@pytest.mark.failure("F23")
def test_a_crowd_that_polls_needs_nothing_that_bookers_need(api: Api, crowd: list[Visitor]) -> None:
    """Answered although every connection is out, every customer's turn is taken and a transaction is open."""
    together(crowd)
    with ExitStack() as stack:
        stack.enter_context(everything_taken(api.db))
        for person in crowd:
            stack.enter_context(api.house.turns.turn(person.who.id))
        watch = stack.enter_context(Watch(api.db))
        for _ in range(ROUNDS):
            let_again(api)
            assert together(crowd) == {200: CROWD}
        assert watch.idle, watch.statements


@pytest.mark.failure("F23")
def test_the_hasty_need_nothing_of_it_either(api: Api, crowd: list[Visitor]) -> None:
    together(crowd)
    with everything_taken(api.db), Watch(api.db) as watch:
        assert together(crowd) == {429: CROWD}
    assert watch.idle, watch.statements


@pytest.mark.failure("F23")
def test_what_a_crowd_makes_a_process_read_is_what_one_of_them_does(
    api: Api, crowd: list[Visitor]
) -> None:
    """Once in a moment, when what the process knows is over; whoever books waits for no more than that."""
    read = []
    for people in (crowd[:1], crowd):
        let_time_pass(api)
        with Watch(api.db) as watch:
            assert together(people) == {200: len(people)}
        read.append(Counter(watch.statements))
    assert read[0] == read[1]
    assert read[0]


def test_who_has_just_joined_hears_the_number_from_what_the_process_knows(app: Flask) -> None:
    """The number that the row has; what the first who asks makes known costs the others no statement."""
    api = Api(app)
    sale = make_sale(api.db, capacity=0)
    people = [visitor(Api(app), sale).join() for _ in range(CROWD)]
    tokens = [person.waiting for person in people]
    ush(api)
    let_time_pass(api)
    together(people[:1])
    let_again(api)
    for person, token in zip(people, tokens, strict=True):
        person.waiting = token
    with Watch(api.db) as watch:
        assert together(people) == {200: CROWD}
    assert watch.idle, watch.statements
    for number, person in enumerate(people, 1):
        assert api.house.tokens.read("waiting", person.waiting).number == number
    stays = [api.db.read(waiting_room.find_stay, sale, person.who.id) for person in people]
    assert [stay and stay.number for stay in stays] == list(range(1, CROWD + 1))


def test_who_left_is_not_taken_for_a_newcomer(app: Flask) -> None:
    api = Api(app)
    sale = make_sale(api.db, capacity=0)
    gone, stays = (visitor(Api(app), sale).join() for _ in range(2))
    ush(api)
    gone.api.ok("leave_queue", gone.who, path=gone.path)
    let_time_pass(api)
    assert together([gone, stays]) == {410: 1, 200: 1}


def test_where_nobody_moves_it_is_asked_less_often(app: Flask) -> None:
    """Soon near the front while people come in; half a minute when nobody has for a minute."""
    api = Api(app)
    moves, stands = make_sale(api.db, capacity=2), make_sale(api.db, capacity=0, opens_in=-120.0)
    pauses = {}
    for sale in (moves, stands):
        people = [visitor(Api(app), sale).join() for _ in range(4)]
        ush(api)
        let_time_pass(api)
        last = people[-1]
        place = last.api.ok("poll_queue", waiting=last.waiting, path=last.path)
        pauses[sale] = place["poll_after_ms"]
    assert pauses[moves] < 5_000
    assert 0.8 * queue.POLL_STANDING_MS <= pauses[stands] <= 1.2 * queue.POLL_STANDING_MS


@pytest.mark.parametrize(
    ("ahead", "estimate", "rate", "stands", "seconds"),
    [
        (0, None, 6_000, False, 1),
        (500, None, 6_000, False, 6),
        (20_000, None, 6_000, False, 60),
        (20_000, (4_000, 6_000), 6_000, False, 60),
        (100, (90, 130), 6_000, False, 54),  # it goes slowly: most of what is left
        (3_000, (8, 13), 6_000, False, 8),  # it goes fast: not 31 s, when the turn is over
        (50, (0, 1), 6_000, False, 1),
        (0, None, 6_000, True, 30),
        (9_000, None, 6_000, True, 60),
        (
            30,
            None,
            60,
            False,
            19,
        ),  # by the rate it takes half a minute: most of that, and one second
        (30, None, 0, False, 60),
    ],
)
def test_when_to_ask_next(
    ahead: int, estimate: tuple[int, int] | None, rate: int, stands: bool, seconds: int
) -> None:
    assert queue.pause_ms(ahead, estimate, rate, stands=stands) == seconds * 1000
