"""Joins of the same moment share a thread and a transaction, and everybody hears their own outcome."""

import json
import select
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from flask import Flask
from gunicorn.config import Config
from gunicorn.workers import gthread
from werkzeug.test import EnvironBuilder

from tests.builders import enter, make_accounts, make_sale, pay, place
from tests.conftest import config_for, dispose, let_snapshots_last
from tests.faults import Faults
from tests.races.soundness import assert_sound
from tests.servers import Web
from tests.web.contract import Api
from tests.web.test_reception import all_are_seen, is_silent, line_to, read, thread_taken
from tests.web.visitors import ush
from webapp import create_app, nowait
from webapp.db import Database
from webapp.domain import waiting_room
from webapp.domain.waiting_room import Arrival
from webapp.web import joining, lateness
from webapp.web.failures import Rejected
from webapp.web.fastlane import Join
from webapp.web.house import House
from webapp.web.joining import TOGETHER_MAX
from webapp.web.reception import Reception

Told = tuple[int, dict[str, str], dict[str, Any]]


@pytest.fixture
def app(postgres_url: str) -> Iterator[Flask]:
    app = create_app(config_for(postgres_url))
    let_snapshots_last(app.extensions["jari"])
    yield app
    dispose(app)


@pytest.fixture
def db(app: Flask) -> Database:
    house: House = app.extensions["jari"]
    return house.db


@pytest.fixture
def web(app: Flask, postgres_url: str, tmp_path: Path) -> Iterator[Web]:
    """A server of one thread, which does not forget; what it says has no trace of a failure."""
    settings = {"application": "tests.remembering", "TRANSACTION_MS": 1_000, "POOL_TIMEOUT_MS": 500}
    with Web(postgres_url, tmp_path / "web.log", workers=1, threads=1, **settings) as web:
        yield web
        said = web.said()
    assert "Traceback" not in said


def request(sale: int, session: str, more: str = "", method: str = "POST") -> bytes:
    return (
        f"{method} /api/v1/performances/{sale}/queue HTTP/1.1\r\nHost: jari\r\n"
        f"Authorization: Bearer {session}\r\n{more}\r\n"
    ).encode()


def look(web: Web, *sales: int) -> None:
    """Have the server know these sales."""
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
            all_are_seen(web)
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
    assert len({began[one.id] for one in people}) == 1


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


def begin(app: Flask, sale: int, session: str, **more: str) -> tuple[Join, list[str]]:
    """Judge a join where nobody may wait; return it, and a list that its status will be in."""
    statuses: list[str] = []
    house: House = app.extensions["jari"]
    for snapshots in (house.sales, house.availability):
        snapshots.get(sale)
    asked = EnvironBuilder(
        f"/api/v1/performances/{sale}/queue",
        method="POST",
        headers={"Authorization": f"Bearer {session}", "X-Forwarded-For": "8.8.8.8"} | more,
        environ_base={"REMOTE_ADDR": "10.0.0.1"},
    ).get_environ()
    lane = app.extensions["jari.fastlane"]
    join = lane.answer_at_once(asked, lambda status, _: statuses.append(status))
    assert isinstance(join, Join)
    return join, statuses


def test_a_group_has_an_outcome_for_each(app: Flask, db: Database, postgres_url: str) -> None:
    sale = make_sale(db, capacity=0)
    waiting, twice, *new = make_accounts(db, 5)
    db.transact(waiting_room.join, Arrival(uuid.uuid4(), sale, waiting.id))
    sessions = [twice.session, f"session-{uuid.uuid4().hex}", waiting.session, twice.session]
    sessions += [one.session for one in new]
    begun = [begin(app, sale, session) for session in sessions]
    app.extensions["jari.fastlane"].join_together([join for join, _ in begun])
    told = []
    for join, statuses in begun:
        try:
            nowait.work(join.answer)
            told.append(statuses[0][:3])
        except nowait.MustWait:
            join.answer()
            told.append(f"{statuses[0][:3]}, alone")
    tabs = sorted((told.pop(0), told.pop(2)))  # of one customer: either may be the first
    assert tabs == ["200, alone", "201"]
    assert told == ["401", "200, alone", "201", "201", "201"]
    found = dict(stays(postgres_url))
    assert len(found) == 5
    assert len({found[one.id] for one in (twice, *new)}) == 1
    assert_sound(db)


@pytest.mark.failure("F17")
def test_who_joins_again_among_others_is_shown_no_more_people_ahead(
    app: Flask, db: Database
) -> None:
    sale = make_sale(db, capacity=0)
    first, again = make_accounts(db, 2)
    for one in (first, again):
        db.transact(waiting_room.join, Arrival(uuid.uuid4(), sale, one.id))
    ush(Api(app))
    stay = db.read(waiting_room.find_stay, sale, again.id)
    assert stay is not None
    token, _ = app.extensions["jari"].tokens.issue_waiting(stay, 0)
    join, _ = begin(app, sale, again.session, **{"Waiting-Token": token})
    app.extensions["jari.fastlane"].join_together([join])
    place = json.loads(b"".join(join.answer()))
    assert (place["number"], place["ahead"]) == (2, 0)


def test_that_a_group_was_tried_again_is_said_once(
    app: Flask, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    sale = make_sale(db, capacity=0)
    begun = [begin(app, sale, one.session)[0] for one in make_accounts(db, 2)]
    Faults(db).at_statement(1, "40001", times=2)
    with caplog.at_level("INFO", "jari.request"):
        app.extensions["jari.fastlane"].join_together(begun)
        for join in begun:
            join.answer()
    assert [record.said["retries"] for record in caplog.records] == [2, 0]


def test_whoever_answers_a_join_counts_it_for_the_client_behind_the_proxy(
    postgres_url: str,
) -> None:
    app = create_app(config_for(postgres_url, trusted_proxies=1))
    house: House = app.extensions["jari"]
    let_snapshots_last(house)
    [one] = make_accounts(house.db)
    seen: list[str | None] = []
    house.throttle.count = lambda limit, who: seen.append(who)
    join, _ = begin(app, make_sale(house.db, capacity=0), one.session)
    app.extensions["jari.fastlane"].join_together([join])
    assert seen == ["8.8.8.8", str(one.id)]
    dispose(app)


def test_who_is_sent_away_is_told_when_to_return(app: Flask, db: Database) -> None:
    join, statuses = begin(app, make_sale(db, capacity=0), make_accounts(db)[0].session)
    join.outcome = lateness.refusal()
    said = json.loads(b"".join(join.answer()))
    assert (statuses, said["code"]) == (["503 SERVICE UNAVAILABLE"], "busy")
    least, most = lateness.COME_BACK_SECONDS
    assert least <= said["retry_after"] <= most


def test_before_a_sold_out_house_nobody_waits_for_a_thread(web: Web, db: Database) -> None:
    sale = make_sale(db, seats=1, capacity=0)
    buyer, late = make_accounts(db, 2)
    inside = enter(db, buyer, sale)
    pay(db, inside, place(db, inside, [0]))
    look(web, sale)
    with thread_taken(web) as waiting, line_to(web) as line:
        line.sendall(request(sale, late.session))
        told = hear(line)
        assert (told[0], told[2]["code"]) == (409, "sold_out")
        assert is_silent(waiting)


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
        self.worker_connections, self.max_keepalived = 1_000, 1_000
        self.keepalived_conns: list[Any] = []
        self.pending_conns: list[Any] = []
        self.submitted: list[tuple[Any, Any, Future[Any], bool]] = []
        self.deferred: list[Callable[[], None]] = []
        self.errors: list[str] = []
        nothing = SimpleNamespace(register=lambda *_: None, unregister=lambda *_: None)
        self.poller, self.tpool, self.method_queue, self.log = nothing, self, self, self

    def accept(self, _: object) -> None:
        """Nobody is at the door."""

    def wait_for_and_dispatch_events(self, _: float) -> None:
        """Nothing happens."""

    def submit(self, job: Any, conn: Any, ahead: bool = False) -> Future[Any]:
        self.submitted.append((job, conn, Future(), ahead))
        return self.submitted[-1][2]

    def defer(self, callback: Any, *args: Any) -> None:
        self.deferred.append(partial(callback, *args))

    def finish_request(self, *_: object) -> None:
        """Gunicorn sees to a connection that a thread has had."""

    def error(self, text: str, **_: object) -> None:
        self.errors.append(text)

    exception = error

    def work(self) -> tuple[bool, bool]:
        """Do what a thread was asked first; return whether for who had begun, and whether ahead of others."""
        job, conn, future, ahead = self.submitted.pop(0)
        try:
            future.set_result(job(conn))
        except RuntimeError as error:
            future.set_exception(error)
        return bool(conn.begun), ahead

    def see_to_connections(self) -> None:
        while self.deferred:
            self.deferred.pop(0)()


class Somebody(Join):
    """Somebody who joins without a house."""

    def __init__(self, lane: "Lane", room: int, start_response: Any) -> None:
        self.newcomer: Any = SimpleNamespace(performance_id=room)
        self._lane, self._start_response = lane, start_response
        self.outcome: Any = None

    def answer(self) -> Iterable[bytes]:
        if self._lane.waits:
            nowait.check()
        if self._lane.flaws:
            raise self._lane.flaws.pop()
        busy = isinstance(self.outcome, Rejected)
        self._start_response("503" if busy else "201 CREATED", [("Content-Length", "2")])
        return [b"ok"]


class Lane:
    """Lets everybody join."""

    def __init__(self) -> None:
        self.trouble: Exception | None = None
        self.flaws: list[Exception] = []
        self.waits = False
        self.meanwhile: Callable[[], object] | None = None  # happens once, while a thread works
        self.groups: list[int] = []

    def answer_at_once(self, environ: dict[str, Any], start_response: Any) -> Join:
        return Somebody(self, int(environ["PATH_INFO"].split("/")[4]), start_response)

    def join_together(self, joins: Sequence[Join]) -> None:
        if self.trouble:
            raise self.trouble
        self.groups.append(len(joins))
        if self.meanwhile:
            happens, self.meanwhile = self.meanwhile, None
            happens()


class Till:
    """A reception, and lines to it."""

    def __init__(self) -> None:
        self.worker: Any = Worker()
        self.config = Config()
        self.config.set("keepalive", 75)
        self.lane: Any = Lane()
        self.reception = Reception(self.worker, self.lane)
        self.lines: list[socket.socket] = []

    def come(self, *, begun: bool = False, room: int = 1) -> socket.socket:
        """Join over a line of one's own."""
        theirs, ours = socket.socketpair()
        theirs.settimeout(60)
        theirs.sendall(request(room, "session"))
        conn = gthread.TConn(self.config, ours, ("127.0.0.1", 1), ("127.0.0.1", 2))
        conn.begun = begun
        self.worker.nr_conns += 1
        self.lines += [theirs, ours]
        self.worker.enqueue_req(conn)
        return theirs

    def work(self) -> tuple[bool, bool]:
        done: tuple[bool, bool] = self.worker.work()
        self.worker.see_to_connections()
        return done

    def close(self) -> None:
        for line in self.lines:
            line.close()


@pytest.fixture
def till() -> Iterator[Till]:
    made = Till()
    yield made
    made.close()


def test_one_thread_at_a_time_works_for_a_room_and_takes_so_many(till: Till) -> None:
    """Group after group, also for who comes meanwhile, before anybody has seen to a connection."""
    lines = [till.come() for _ in range(TOGETHER_MAX + 5)]
    assert len(till.worker.submitted) == 1
    till.lane.meanwhile = lambda: lines.append(till.come())
    till.worker.work()
    assert till.worker.submitted == []
    assert till.lane.groups == [TOGETHER_MAX, 6]
    assert all(b" 201 " in line.recv(1_024) for line in lines)
    till.worker.see_to_connections()
    assert len(till.worker.keepalived_conns) == till.worker.nr_conns == TOGETHER_MAX + 6
    till.come()
    assert len(till.worker.submitted) == 1  # nobody worked for the room any more


def test_who_comes_when_the_thread_has_gone_begins_at_once(till: Till) -> None:
    till.come()
    till.worker.work()  # and nobody has seen to its connection
    till.come()
    assert len(till.worker.submitted) == 1
    till.work()
    till.come()
    assert len(till.worker.submitted) == 1


def test_rooms_do_not_wait_for_each_other(till: Till) -> None:
    one, other = till.come(room=1), till.come(room=2)
    assert len(till.worker.submitted) == 2
    till.worker.submitted.pop(0)  # is taken, and waits for the database
    till.work()
    assert b" 201 " in other.recv(1_024)
    assert not select.select([one], [], [], 0)[0]


@pytest.mark.parametrize(("waited", "told"), [(14.9, b" 201 "), (15.1, b" 503")])
def test_who_has_waited_for_long_is_told_so_and_not_worked_for(
    till: Till, monkeypatch: pytest.MonkeyPatch, waited: float, told: bytes
) -> None:
    """Where the database hangs, each group takes as long as a transaction may."""
    now = 1_000.0
    monkeypatch.setattr(joining, "time", SimpleNamespace(monotonic=lambda: now))
    first = till.come()
    now += waited
    second = till.come()
    heard: list[bytes] = []
    if b"503" in told:  # before anything is done for the others
        till.lane.meanwhile = lambda: heard.append(first.recv(1_024))
    till.work()
    assert told in (heard or [first.recv(1_024)])[0]
    assert b" 201 " in second.recv(1_024)
    assert till.lane.groups == [2 if b"201" in told else 1]


def test_where_all_have_waited_for_long_nothing_is_done(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [till.come() for _ in range(2)]
    later = SimpleNamespace(monotonic=lambda: time.monotonic() + 16)
    monkeypatch.setattr(joining, "time", later)
    till.work()
    assert all(b" 503" in line.recv(1_024) for line in lines)
    assert till.lane.groups == []


@pytest.mark.parametrize("first_begun", [False, True])
def test_a_group_has_the_turn_of_its_foremost(till: Till, first_begun: bool) -> None:
    till.come(begun=first_begun)
    for _ in range(TOGETHER_MAX):
        till.come()
    assert till.work() == (first_begun, False)
    assert all(conn.begun for conn in till.worker.keepalived_conns)


def test_who_is_left_by_a_thread_that_broke_goes_ahead(till: Till) -> None:
    for _ in range(TOGETHER_MAX):
        till.come()
    last = till.come()
    till.lane.trouble = RuntimeError("a flaw")
    till.work()
    till.lane.trouble = None
    assert till.work() == (False, True)
    assert b" 201 " in last.recv(1_024)


def test_a_worker_that_stops_keeps_no_line(till: Till) -> None:
    line = till.come()
    till.worker.alive = False
    till.work()
    assert b"Connection: close" in line.recv(1_024)
    assert line.recv(1) == b""
    assert till.worker.nr_conns == 0


def test_where_there_is_room_for_nobody_else_lines_are_not_kept(till: Till) -> None:
    """Those who poll come again before their line is given up, so that newcomers would never be let in."""
    till.worker.max_keepalived = 1
    for ends in (False, True):
        line = till.come()
        till.work()
        assert (b"Connection: close" in line.recv(1_024)) == ends
    assert line.recv(1) == b""
    assert till.worker.nr_conns == 1


def test_a_worker_that_stops_in_between_keeps_no_line_for_long(till: Till) -> None:
    till.come()
    till.worker.work()
    till.worker.alive = False
    till.worker.see_to_connections()
    [conn] = till.worker.keepalived_conns
    assert conn.timeout <= time.monotonic() + gthread.STOP_KEEPALIVE_LINGER


def test_whose_answer_takes_another_wait_has_a_thread_of_their_own(till: Till) -> None:
    till.lane.waits = True
    line = till.come()
    till.work()
    assert not select.select([line], [], [], 0)[0]
    till.work()
    assert b" 201 " in line.recv(1_024)


def test_who_hangs_up_meanwhile_is_forgotten(till: Till) -> None:
    line, other = till.come(), till.come()
    line.close()
    till.work()
    assert till.worker.nr_conns == 1
    assert b" 201 " in other.recv(1_024)


def test_a_flaw_costs_those_whom_it_met_their_line_and_nobody_else(till: Till) -> None:
    line = till.come()
    till.lane.trouble = RuntimeError("a flaw")
    till.work()
    assert line.recv(1_024) == b""
    assert till.worker.nr_conns == 0
    till.lane.trouble = None
    till.lane.flaws = [RuntimeError("a flaw")]
    unlucky, other = till.come(), till.come()
    till.work()
    assert unlucky.recv(1_024) == b""
    assert b" 201 " in other.recv(1_024)
    assert till.worker.nr_conns == 1
    assert till.worker.errors == ["Joining failed", "A join could not be answered"]
