"""Joins of the same moment share a thread and a transaction, and everybody hears their own outcome."""

import json
import select
import socket
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from flask import Flask
from gunicorn.config import Config
from gunicorn.workers import gthread

from tests.builders import enter, make_accounts, make_sale, pay, place
from tests.conftest import config_for, dispose
from tests.servers import Web
from tests.web.test_reception import is_silent, line_to, read, thread_taken
from webapp import create_app
from webapp.db import Database
from webapp.domain.errors import SoldOut
from webapp.domain.waiting_room import Arrival
from webapp.web.crowd import Joined
from webapp.web.fastlane import Join
from webapp.web.house import House
from webapp.web.joining import TOGETHER_MAX
from webapp.web.reception import Reception

Told = tuple[int, dict[str, str], dict[str, Any]]


@pytest.fixture
def app(postgres_url: str) -> Iterator[Flask]:
    app = create_app(config_for(postgres_url))
    yield app
    dispose(app)


@pytest.fixture
def db(app: Flask) -> Database:
    house: House = app.extensions["jari"]
    return house.db


@pytest.fixture
def web(app: Flask, postgres_url: str, tmp_path: Path) -> Iterator[Web]:
    """A server of one thread; what it says has no trace of a failure."""
    limits = {"TRANSACTION_MS": 1_000, "POOL_TIMEOUT_MS": 500}
    with Web(postgres_url, tmp_path / "web.log", workers=1, threads=1, **limits) as web:
        yield web
        said = web.said()
    assert "Traceback" not in said


def request(sale: int, session: str, more: str = "", method: str = "POST") -> bytes:
    return (
        f"{method} /api/v1/performances/{sale}/queue HTTP/1.1\r\nHost: jari\r\n"
        f"Authorization: Bearer {session}\r\n{more}\r\n"
    ).encode()


def look(web: Web, *sales: int) -> None:
    """Have the server know these sales for the next moment."""
    for sale in sales:
        assert web.status(f"/api/v1/performances/{sale}") == 200


def hear(line: Any) -> Told:
    status, headers, body = read(line)
    return status, headers, json.loads(body)


@contextmanager
def together(web: Web, *requests: bytes) -> Iterator[list[Any]]:
    """Send requests while nothing gets a thread, each on a line of its own; yield the lines when one is free."""
    with ExitStack() as lines:
        with thread_taken(web) as waiting:
            sent = [lines.enter_context(line_to(web)) for _ in requests]
            for line, one in zip(sent, requests, strict=True):
                line.sendall(one)
            assert is_silent(waiting)
        yield sent


def stays(url: str) -> list[tuple[Any, ...]]:
    """Return every stay's customer and the transaction that began it."""
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT account_id, xmin::text FROM queue_entry").fetchall()


def test_who_joins_at_the_same_moment_joins_in_one_transaction(
    web: Web, db: Database, postgres_url: str
) -> None:
    sale = make_sale(db, capacity=0)

    def are_one() -> bool:
        people = make_accounts(db, 9)
        look(web, sale)
        with together(web, *[request(sale, one.session) for one in people]) as lines:
            told = [hear(line) for line in lines]
            assert [(status, body["status"]) for status, _, body in told] == [(201, "waiting")] * 9
            for line, (_, _, body) in zip(lines, told, strict=True):  # each has a token of its own
                token = f"Waiting-Token: {body['waiting_token']}\r\n"
                line.sendall(request(sale, "", token, "GET"))
                assert hear(line)[0] == 200
        began = dict(stays(postgres_url))
        return len({began[one.id] for one in people}) == 1

    assert any(are_one() for _ in range(5))  # what is known of the sale grows old on a slow machine


def test_everybody_hears_their_own_outcome(web: Web, db: Database, postgres_url: str) -> None:
    sale, other, open_to_all = (make_sale(db, capacity=size) for size in (0, 0, None))
    waiting, *new = make_accounts(db, 4)
    with line_to(web) as line:
        line.sendall(request(sale, waiting.session))
        assert hear(line)[0] == 201
    look(web, sale, other, open_to_all)
    asked = [
        (request(sale, new[0].session), 201),
        (request(sale, "session-of-nobody"), 401),
        (request(sale, waiting.session), 200),
        (request(other, new[0].session), 201),
        (request(sale, new[1].session, "Connection: close\r\n"), 201),
        (request(open_to_all, new[2].session), 201),
    ]
    with together(web, *[one for one, _ in asked]) as lines:
        told = [hear(line) for line in lines]
        assert [status for status, _, _ in told] == [status for _, status in asked]
        assert told[1][2]["code"] == "session_invalid"
        assert told[4][1]["Connection"] == "close"
        assert lines[4].recv(1) == b""
        assert told[5][2]["status"] == "admitted"  # no room stands before it
        lines[1].sendall(request(sale, new[1].session))
        assert hear(lines[1])[0] == 200  # the line is kept
    assert len(stays(postgres_url)) == 5


def test_tabs_of_one_customer_have_one_place(web: Web, db: Database, postgres_url: str) -> None:
    sale = make_sale(db, capacity=0)
    [one] = make_accounts(db)
    look(web, sale)
    with together(web, *[request(sale, one.session)] * 5) as lines:
        assert sorted(hear(line)[0] for line in lines) == [200] * 4 + [201]
    assert len(stays(postgres_url)) == 1


def test_before_a_sold_out_house_nobody_waits_for_a_thread(web: Web, db: Database) -> None:
    sale = make_sale(db, seats=1, capacity=0)
    buyer, late = make_accounts(db, 2)
    inside = enter(db, buyer, sale)
    pay(db, inside, place(db, inside, [0]))

    def is_told_meanwhile() -> bool:
        look(web, sale)
        with thread_taken(web) as waiting, line_to(web) as line:
            line.sendall(request(sale, late.session))
            told = hear(line)
            assert (told[0], told[2]["code"]) == (409, "sold_out")
            return is_silent(waiting)

    assert any(is_told_meanwhile() for _ in range(5))  # what is known grows old on a slow machine


def test_who_hangs_up_meanwhile_hinders_nobody(web: Web, db: Database) -> None:
    sale = make_sale(db, capacity=0)
    people = make_accounts(db, 3)
    look(web, sale)
    with together(web, *[request(sale, one.session) for one in people]) as lines:
        lines[0].close()
        assert [hear(line)[0] for line in lines[1:]] == [201, 201]
    assert web.status("/healthz") == 200


def test_where_the_database_does_not_answer_all_are_told_when_to_return(
    web: Web, db: Database, postgres_url: str
) -> None:
    sale = make_sale(db, capacity=0)
    people = make_accounts(db, 3)
    look(web, sale)
    with psycopg.connect(postgres_url) as stranger:
        stranger.execute("LOCK TABLE queue_entry IN SHARE MODE")
        with together(web, *[request(sale, one.session) for one in people]) as lines:
            told = [hear(line) for line in lines]
        stranger.rollback()
    assert {(status, body["code"]) for status, _, body in told} == {(503, "busy")}
    assert all(int(headers["Retry-After"]) > 0 for _, headers, _ in told)
    with line_to(web) as line:
        line.sendall(request(sale, people[0].session))
        assert hear(line)[0] == 201


# -- with a worker of which the threads are told when to work


class Worker:
    """As much of a gunicorn worker as a reception asks for."""

    def __init__(self) -> None:
        self.alive, self.nr_conns = True, 0
        self.keepalived_conns: list[Any] = []
        self.pending_conns: list[Any] = []
        self.submitted: list[tuple[Any, Any, Future[Any]]] = []
        self.errors: list[str] = []
        nothing = SimpleNamespace(register=lambda *_: None, unregister=lambda *_: None)
        self.poller, self.tpool, self.method_queue, self.log = nothing, self, self, self

    def accept(self, _: object) -> None:
        """Nobody is at the door."""

    def submit(self, job: Any, conn: Any) -> Future[Any]:
        self.submitted.append((job, conn, Future()))
        return self.submitted[-1][2]

    def defer(self, callback: Any, *args: Any) -> None:
        callback(*args)

    def error(self, text: str, **_: object) -> None:
        self.errors.append(text)

    def work(self) -> bool:
        """Do what a thread was asked first; return whether for somebody who had asked something before."""
        job, conn, future = self.submitted.pop(0)
        try:
            future.set_result(job(conn))
        except RuntimeError as error:
            future.set_exception(error)
        return bool(conn.begun)


class Somebody(Join):
    """Somebody who joins without a house."""

    def __init__(self, start_response: Any) -> None:
        self._start_response = start_response

    def answer(self) -> Iterable[bytes]:
        self._start_response("201 CREATED", [("Content-Length", "2")])
        return [b"ok"]


class Lane:
    """Lets everybody join."""

    def __init__(self, trouble: Exception | None = None) -> None:
        self.trouble = trouble
        self.outcome: Joined = SoldOut()
        self.groups: list[int] = []

    def answer_at_once(self, _: object, start_response: Any) -> Join:
        return Somebody(start_response)

    def join_together(self, joins: Sequence[Join]) -> None:
        if self.trouble:
            raise self.trouble
        self.groups.append(len(joins))
        for one in joins:
            one.outcome = self.outcome


class Till:
    """A reception, and lines to it."""

    def __init__(self, lane: Lane) -> None:
        self.worker: Any = Worker()
        self.reception = Reception(self.worker, lane)  # type: ignore[arg-type]
        self.lines: list[socket.socket] = []

    def come(self, *, begun: bool = False) -> socket.socket:
        """Join over a line of one's own."""
        theirs, ours = socket.socketpair()
        theirs.settimeout(10)
        theirs.sendall(request(1, "session"))
        conn = gthread.TConn(Config(), ours, ("127.0.0.1", 1), ("127.0.0.1", 2))
        conn.begun = begun
        self.worker.nr_conns += 1
        self.lines += [theirs, ours]
        self.worker.enqueue_req(conn)
        return theirs

    def close(self) -> None:
        for line in self.lines:
            line.close()


@pytest.fixture
def till(request: pytest.FixtureRequest) -> Iterator[Till]:
    made = Till(getattr(request, "param", None) or Lane())
    yield made
    made.close()


def test_one_thread_at_a_time_has_joins_and_takes_so_many(till: Till) -> None:
    lines = [till.come() for _ in range(TOGETHER_MAX + 5)]
    assert len(till.worker.submitted) == 1
    till.worker.work()
    late = till.come()
    assert len(till.worker.submitted) == 1
    till.worker.work()
    assert till.worker.submitted == []
    assert all(b" 201 " in line.recv(1_024) for line in (*lines, late))
    lane: Any = till.reception._lane
    assert lane.groups == [TOGETHER_MAX, 6]
    assert len(till.worker.keepalived_conns) == till.worker.nr_conns == TOGETHER_MAX + 6


@pytest.mark.parametrize("begun", [False, True])
def test_joins_wait_with_those_who_are_as_new_as_their_first(till: Till, begun: bool) -> None:
    till.come(begun=begun)
    till.come(begun=not begun)
    assert till.worker.work() is begun
    assert all(conn.begun for conn in till.worker.keepalived_conns)


def test_a_worker_that_stops_keeps_no_line(till: Till) -> None:
    line = till.come()
    till.worker.alive = False
    till.worker.work()
    assert b"Connection: close" in line.recv(1_024)
    [(rest, conn, _)] = till.worker.submitted
    assert rest(conn) is False  # gunicorn sees it off


def test_who_has_a_stay_already_has_a_thread_of_their_own(till: Till) -> None:
    lane: Any = till.reception._lane
    lane.outcome = Arrival(uuid.uuid4(), 1, uuid.uuid4())
    line = till.come()
    till.worker.work()
    assert not select.select([line], [], [], 0)[0]
    till.worker.work()
    assert b" 201 " in line.recv(1_024)


@pytest.mark.parametrize("till", [Lane(trouble=RuntimeError("a flaw"))], indirect=True)
def test_a_flaw_costs_those_whom_it_met_their_line_and_nobody_else(till: Till) -> None:
    line = till.come()
    till.worker.work()
    assert line.recv(1_024) == b""
    assert till.worker.nr_conns == 0
    assert till.worker.errors == ["Joining failed"]
    lane: Any = till.reception._lane
    lane.trouble = None
    later = till.come()
    till.worker.work()
    assert b" 201 " in later.recv(1_024)
