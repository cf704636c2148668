"""Answers from where all connections wait: the same as a thread's, without one, and nobody is waited for."""

import http.client
import json
import re
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from gunicorn.config import Config
from gunicorn.http import get_parser
from gunicorn.workers import gthread

from tests.builders import make_accounts, make_sale
from tests.conftest import config_for, dispose
from tests.servers import Web, until
from webapp import create_app, nowait
from webapp.clock import Clock
from webapp.commands import migrate_to
from webapp.db import Database, new_id
from webapp.domain import waiting_room
from webapp.domain.waiting_room import Arrival
from webapp.web import lookups, queue
from webapp.web.groups import Groups
from webapp.web.place_part import WAITING_COOKIE
from webapp.web.reception import ACCEPTED_AT_ONCE, ROUND_SECONDS, Reception
from webapp.web.snapshots import ASK_AGAIN_SHARE, BESIDE, Snapshots, _beside
from webapp.web.wire import DONE, KEPT, NOTHING_YET

HEAD = "GET {} HTTP/1.1\r\nHost: jari\r\n{}\r\n"


@contextmanager
def serving(folder: Path, **options: Any) -> Iterator[tuple[Web, str]]:
    """A server of one thread, and where a sale of a hall of 20,000 seats is found on it."""
    url = f"sqlite:///{folder}/jari.sqlite"
    app = create_app(config_for(url))
    migrate_to(app)
    path = f"/api/v1/performances/{make_sale(app.extensions['jari'].db, seats=20_000)}"
    dispose(app)
    with Web(url, folder / "web.log", workers=1, threads=1, **options) as web:
        yield web, path
        said = web.said()
    assert "Traceback" not in said
    assert "gunicorn has changed" not in said


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Web, str]]:
    with serving(tmp_path_factory.mktemp("reception")) as found:
        yield found


@pytest.fixture(scope="module")
def remembering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Web, str]]:
    folder = tmp_path_factory.mktemp("remembering")
    with serving(folder, application="tests.remembering") as found:
        yield found


@contextmanager
def line_to(web: Web) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", web.port), timeout=20) as line:
        yield line


def read(line: socket.socket) -> tuple[int, dict[str, str], bytes]:
    answer = http.client.HTTPResponse(line)
    answer.begin()
    return answer.status, dict(answer.getheaders()), answer.read()


def read_all(line: socket.socket, count: int) -> list[tuple[int, dict[str, str], bytes]]:
    """Read answers that may be there already, one after the other."""
    answers = []
    with line.makefile("rb") as file:
        for _ in range(count):
            status = int(file.readline().split()[1])
            headers = dict(http.client.parse_headers(file).items())
            answers.append((status, headers, file.read(int(headers["Content-Length"]))))
    return answers


def ask(line: socket.socket, path: str, more: str = "") -> tuple[int, dict[str, str], bytes]:
    line.sendall(HEAD.format(path, more).encode())
    return read(line)


def all_are_seen(web: Web) -> None:
    """Return when the server has read all that was sent before: when it has seen two hang up, one after the other."""
    for _ in range(2):
        with line_to(web) as line:
            line.shutdown(socket.SHUT_WR)
            assert line.recv(1) == b""


@contextmanager
def thread_taken(web: Web) -> Iterator[socket.socket]:
    """Have the one thread wait for the rest of a request; yield a line that waits for the thread."""
    with line_to(web) as line, line_to(web) as waiting:
        line.sendall(b"GET /heal")
        all_are_seen(web)
        waiting.sendall(HEAD.format("/healthz", "").encode())
        yield waiting


def is_silent(line: socket.socket) -> bool:
    return not select.select([line], [], [], 0)[0]


@pytest.mark.parametrize("anew", [False, True])
def test_what_is_known_needs_no_thread(remembering: tuple[Web, str], anew: bool) -> None:
    """Somebody, perhaps new, looks twice while nothing gets a thread."""
    web, path = remembering
    with line_to(web) as line:
        first = ask(line, path)
        with thread_taken(web) as waiting, line_to(web) if anew else nullcontext(line) as looking:
            assert [ask(looking, path)[2] for _ in range(2)] == [first[2]] * 2
            assert is_silent(waiting)


def test_what_is_not_known_any_more_is_asked_for_by_a_thread(house: tuple[Web, str]) -> None:
    web, path = house
    with line_to(web) as line:
        for _ in range(3):
            assert ask(line, path)[0] == 200
            assert ask(line, f"{path}/seats?limit=5")[0] == 200
            time.sleep(1)  # older than STALE_MAX_SECONDS


def test_the_answer_is_the_one_that_a_thread_gives(house: tuple[Web, str]) -> None:
    web, path = house
    with line_to(web) as line:
        ask(line, path)
        at_once = ask(line, path, "X-Request-Id: 0123456789abcdef\r\n")
        # Two requests at the same moment are a thread's: gunicorn takes them one after the other.
        line.sendall(HEAD.format(path, "X-Request-Id: 0123456789abcdef\r\n").encode() * 2)
        by_thread = read_all(line, 2)
    for status, headers, body in by_thread:
        assert (status, body) == (at_once[0], at_once[2])
        assert headers | {"Date": ""} == at_once[1] | {"Date": ""}


@pytest.mark.parametrize("cut", [1, 20, -2])
def test_a_request_in_two_pieces_is_waited_for_by_a_thread(
    house: tuple[Web, str], cut: int
) -> None:
    web, path = house
    request = HEAD.format(path, "").encode()
    with line_to(web) as line:
        ask(line, path)
        line.sendall(request[:cut])
        time.sleep(0.2)
        line.sendall(request[cut:])
        assert read(line)[0] == 200
        assert ask(line, path)[0] == 200


@pytest.mark.parametrize("kind", ["", "/seats?limit=3", "/seatmap", "/nothing"])
def test_who_wants_to_hang_up_is_answered_before(house: tuple[Web, str], kind: str) -> None:
    """Known or not: what was looked at in vain is looked at again as if nobody had."""
    web, path = house
    for pause in (1.0, 0.0):
        time.sleep(pause)
        with line_to(web) as line:
            status, headers, _ = ask(line, path + kind, "Connection: close\r\n")
            assert (status, headers["Connection"]) == (404 if "nothing" in kind else 200, "close")
            assert line.recv(1) == b""


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("GET /api/ HTTP/9.9\r\n\r\n", 400),
        ("GET /api/v1/performances/1 HTTP/1.1\r\nHo st: x\r\n\r\n", 400),
        ("GET /api/v1/performances/999999 HTTP/1.1\r\nHost: jari\r\n\r\n", 404),
        (
            "GET /api/v1/performances/1/queue HTTP/1.1\r\nHost: jari\r\nWaiting-Token: x\r\n\r\n",
            401,
        ),
        ("GET /api/v1/events?limit=x HTTP/1.1\r\nHost: jari\r\n\r\n", 422),
    ],
)
def test_what_is_wrong_is_refused_as_by_a_thread(
    house: tuple[Web, str], request_: str, status: int
) -> None:
    web, _ = house
    with line_to(web) as line:
        line.sendall(request_.encode())
        assert read(line)[0] == status


def test_a_body_is_read_by_a_thread(house: tuple[Web, str]) -> None:
    web, path = house
    with line_to(web) as line:
        for _ in range(2):
            line.sendall(HEAD.format(path, "Content-Length: 4\r\n").encode())
            time.sleep(0.1)
            line.sendall(b"body")
            assert read(line)[0] == 200


def test_a_body_that_looks_like_a_request_is_none(house: tuple[Web, str]) -> None:
    """Whoever answers a request with a body reads all of it, or its pieces would be taken for requests."""
    web, path = house
    body = HEAD.format(path, "").encode() + b"rest"
    poll = HEAD.format(f"{path}/queue", f"Waiting-Token: x\r\nContent-Length: {len(body)}\r\n")
    with line_to(web) as line:
        ask(line, path)
        line.sendall(poll.encode())
        time.sleep(0.2)
        line.sendall(body[:-4])
        time.sleep(0.2)
        line.sendall(body[-4:])
        assert read(line)[0] == 401
        assert ask(line, path)[0] == 200
        assert is_silent(line)


def test_who_asks_whether_to_go_on_is_told_once(house: tuple[Web, str]) -> None:
    web, path = house
    with line_to(web) as line:
        ask(line, path)
        head = HEAD.format(f"{path}/queue", "Expect: 100-continue\r\nContent-Length: 2\r\n")
        line.sendall(head.replace("GET", "POST", 1).encode())
        time.sleep(0.3)
        line.sendall(b"{}")
        told = line.recv(4_096)
        while b" 401 " not in told:
            told += line.recv(4_096)
    assert told.count(b"HTTP/1.1 100 Continue") == 1


@pytest.mark.parametrize(("what", "times"), [("/seatmap", 8), ("/seats?limit=500", 100)])
def test_nobody_is_kept_waiting_by_who_does_not_read(
    house: tuple[Web, str], tmp_path: Path, what: str, times: int
) -> None:
    """A hall of 2.6 MB some times is more than the kernel takes for a client that reads nothing, and is a thread's from
    the beginning; so is the rest of a list of 50 KB when it takes no more of those.
    """
    other, path = house
    with (
        Web(other.environment["DATABASE_URL"], tmp_path / "web.log", workers=1, threads=2) as web,
        socket.socket() as slow,
        line_to(web) as quick,
    ):
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        slow.settimeout(20)
        slow.connect(("127.0.0.1", web.port))
        whole = ask(quick, path + what)[2]
        assert len(whole) * times > 4_000_000
        for _ in range(times):
            slow.sendall(HEAD.format(path + what, "").encode())
            time.sleep(0.05)
        assert ask(quick, path)[0] == 200  # within the time-out of this line
        assert [answer[2] == whole for answer in read_all(slow, times)] == [True] * times
        assert ask(slow, path)[0] == 200


def test_who_hangs_up_is_forgotten(house: tuple[Web, str], tmp_path: Path) -> None:
    """A worker that believed them still there would wait for them when it is told to stop."""
    other, path = house
    url = other.environment["DATABASE_URL"]
    # One that remembers: what is looked at anew beside opens files for good.
    options: dict[str, Any] = {"workers": 1, "threads": 1, "application": "tests.remembering"}
    with Web(url, tmp_path / "web.log", **options) as web:
        with line_to(web) as line:
            ask(line, path)
        files = Path(f"/proc/{web.workers()[0]}/fd")
        before = len(list(files.iterdir()))
        for request in ("", HEAD.format(path, "")):
            with ExitStack() as lines:
                for _ in range(20):
                    line = lines.enter_context(line_to(web))
                    if request:
                        ask(line, path)
        until(lambda: len(list(files.iterdir())) <= before)
        began = time.monotonic()
        web.stop()
        assert time.monotonic() - began < 10


LANE: Any = SimpleNamespace(answer_at_once=lambda *_: None)


class Worker:
    """As much of a gunicorn worker as a reception asks for, with so many at the door."""

    def __init__(self, at_the_door: int) -> None:
        self.at_the_door, self.nr_conns, self.alive = at_the_door, 0, True
        self._accepting = True
        self.worker_connections, self.max_keepalived = 1_000, 1_000
        self.keepalived_conns: list[Any] = []
        self.pending_conns: list[Any] = []
        self.waits: list[float] = []
        self.happens: Callable[[], None] = lambda: None

    def accept(self, _: object) -> None:
        if self.at_the_door:
            self.at_the_door -= 1
            self.nr_conns += 1

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        self.waits.append(timeout)
        self.happens()


@pytest.mark.parametrize(("count", "left"), [(30, 0), (2 * ACCEPTED_AT_ONCE, ACCEPTED_AT_ONCE)])
def test_a_crowd_at_the_door_is_let_in_together_but_not_for_ever(count: int, left: int) -> None:
    worker: Any = Worker(count)
    Reception(worker, LANE)
    worker.accept(None)
    assert worker.at_the_door == left


def test_no_more_are_let_in_than_there_is_room_for() -> None:
    worker: Any = Worker(30)
    worker.nr_conns = worker.worker_connections - 5
    Reception(worker, LANE)
    worker.accept(None)
    assert worker.at_the_door == 25


def test_who_was_answered_at_once_is_no_newcomer_any_more() -> None:
    worker: Any = Worker(0)

    def answer(_: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    reception = Reception(worker, SimpleNamespace(answer_at_once=answer))
    theirs, ours = socket.socketpair()
    with theirs, ours:
        ours.setblocking(False)
        conn = gthread.TConn(Config(), ours, ("127.0.0.1", 1), ("127.0.0.1", 2))
        conn.parser, conn.begun = get_parser(conn.cfg, ours, conn.client), False
        assert reception._serve(conn) is NOTHING_YET
        assert not conn.begun
        theirs.sendall(HEAD.format("/api/x", "").encode())
        assert reception._serve(conn) is KEPT
        assert conn.begun
        assert theirs.recv(4_096).endswith(b"\r\n\r\nok")
        worker.max_keepalived = 0
        theirs.sendall(HEAD.format("/api/x", "").encode())
        assert reception._serve(conn) is DONE
        assert b"Connection: close" in theirs.recv(4_096)


def test_what_comes_is_seen_to_again_and_again_before_gunicorn_says_that_it_lives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker, now = Worker(0), [1_000.0]
    monkeypatch.setattr("webapp.web.reception.time", SimpleNamespace(monotonic=lambda: now[0]))
    Reception(worker, LANE)
    worker.happens = lambda: now.append(now.pop() + ROUND_SECONDS / 4)
    worker.wait_for_and_dispatch_events(1.0)
    assert 2 <= len(worker.waits) <= 5
    assert max(worker.waits) <= ROUND_SECONDS
    assert min(worker.waits) >= 0


@pytest.mark.parametrize("what", ["stops", "is full", "has room again"])
def test_a_worker_that_stops_or_is_full_is_gunicorns_at_once(what: str) -> None:
    worker = Worker(0)
    Reception(worker, LANE)
    worker._accepting = what != "has room again"

    def happen() -> None:
        worker.alive = what != "stops"
        worker.nr_conns = worker.worker_connections if what == "is full" else 0

    worker.happens = happen
    worker.wait_for_and_dispatch_events(1.0)
    assert len(worker.waits) == 1


# -- where nobody may wait


def must_wait(task: Callable[[], Any]) -> bool:
    try:
        nowait.work(task)
    except nowait.MustWait as waiting:
        return waiting.wish is None
    return False


def grow_old(snapshots: Snapshots[str, str], seconds: float) -> None:
    snapshots._slots["a"].read_at -= seconds


def test_a_snapshot_that_is_old_is_not_loaded_where_nobody_may_wait() -> None:
    loads: list[str] = []
    snapshots = Snapshots("test", lambda key: loads.append(key) or key, max_age_seconds=60.0)
    assert must_wait(lambda: snapshots.get("a"))
    assert loads == []
    snapshots.get("a")
    assert nowait.work(lambda: snapshots.get("a")) == "a"
    assert loads == ["a"]
    grow_old(snapshots, 60.0)
    assert must_wait(lambda: snapshots.get("a"))
    assert loads == ["a"]


def test_a_snapshot_that_is_old_soon_is_loaded_beside_those_who_may_not_wait() -> None:
    go_on, loads = threading.Event(), ["first"]

    def load(_: str) -> str:
        if len(loads) > 1:
            assert go_on.wait(60)
        return loads[-1]

    snapshots = Snapshots("test", load, max_age_seconds=600.0)
    snapshots.get("a")
    grow_old(snapshots, 600.0 * ASK_AGAIN_SHARE)
    loads.append("second")
    for _ in range(3):
        assert nowait.work(lambda: snapshots.get("a")) == "first"
    go_on.set()
    until(lambda: nowait.work(lambda: snapshots.get("a")) == "second")


def test_nobody_waits_behind_a_load_that_has_not_begun() -> None:
    """Those that load beside are at work for others: whoever needs the value loads it."""
    go_on, values = threading.Event(), iter(("first", "second"))
    snapshots = Snapshots("test", lambda _: next(values), max_age_seconds=600.0)
    snapshots.get("a")
    try:
        for _ in range(BESIDE):
            _beside.submit(go_on.wait, 60)
        grow_old(snapshots, 600.0 * ASK_AGAIN_SHARE)
        assert nowait.work(lambda: snapshots.get("a")) == "first"
        grow_old(snapshots, 600.0)
        assert not snapshots._slots["a"].loading.locked()
        assert snapshots.get("a") == "second"
    finally:
        go_on.set()
    until(lambda: not snapshots._slots["a"].asked)
    assert snapshots.get("a") == "second"  # which was not loaded once more


def test_what_cannot_be_loaded_beside_is_told_to_who_has_to_wait() -> None:
    fails: list[str] = []

    def load(key: str) -> str:
        if fails:
            fails.append(key)
            raise LookupError
        return key

    snapshots = Snapshots("test", load, max_age_seconds=600.0)
    snapshots.get("a")
    grow_old(snapshots, 600.0 * ASK_AGAIN_SHARE)
    fails.append("from now on")
    assert nowait.work(lambda: snapshots.get("a")) == "a"
    until(lambda: len(fails) > 1 and not snapshots._slots["a"].asked)
    grow_old(snapshots, 600.0)
    assert must_wait(lambda: snapshots.get("a"))
    with pytest.raises(LookupError):
        snapshots.get("a")


def test_while_somebody_looks_again_what_is_known_is_good_enough() -> None:
    go_on, loading = threading.Event(), threading.Event()
    values = iter(("old", "new"))

    def load(_: str) -> str:
        value = next(values)
        if value == "new":
            loading.set()
            assert go_on.wait(60)
        return value

    snapshots = Snapshots("test", load, max_age_seconds=600.0)
    snapshots.get("a")
    grow_old(snapshots, 600.0 * ASK_AGAIN_SHARE)
    thread = threading.Thread(target=lambda: snapshots.get("a"))
    thread.start()
    assert loading.wait(60)
    seen = nowait.work(lambda: snapshots.get("a"))
    grow_old(snapshots, 600.0)
    too_old = must_wait(lambda: snapshots.get("a"))
    go_on.set()
    thread.join()
    assert (seen, too_old) == ("old", True)


def test_neither_groups_nor_the_database_nor_its_time_are_waited_for(app: Flask) -> None:
    db: Database = app.extensions["jari"].db
    done: list[int] = []
    groups: Groups[str, int, None] = Groups(
        lambda _, members: [done.append(member) for member in members], lambda *_: True, 8, 5.0
    )
    fresh = Clock(db._ask_time)
    tasks: list[Any] = [
        lambda: groups.do("a", 1),
        lambda: db.transact(lambda _: done.append(2)),
        lambda: db.read(lambda _: done.append(3)),
        lambda: db.lookup(lambda _: done.append(4)),
        fresh.now,
    ]
    assert all(must_wait(task) for task in tasks)
    assert done == []
    for task in tasks:
        task()
    assert done == [1, 2, 3, 4]


def test_who_asks_for_the_time_first_is_not_waited_for() -> None:
    asking, go_on = threading.Event(), threading.Event()

    def ask_time() -> datetime:
        asking.set()
        assert go_on.wait(60)
        return datetime.now(UTC)

    fresh = Clock(ask_time)
    thread = threading.Thread(target=fresh.now)
    thread.start()
    assert asking.wait(60)
    watchdog = threading.Timer(30, go_on.set)  # who does wait is let go on, and seen
    watchdog.start()
    assert must_wait(fresh.now)
    watchdog.cancel()
    go_on.set()
    thread.join()


def wish(path: str, session: str, access: str, seat: str = "ST-A-1") -> bytes:
    body = json.dumps({"seats": [seat]})
    return (
        f"POST {path}/holds HTTP/1.1\r\nHost: jari\r\nAuthorization: Bearer {session}\r\nAccess-Token: {access}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


@pytest.fixture(scope="module")
def sold_out(remembering: tuple[Web, str]) -> tuple[Web, str, str, str]:
    """A sale with nothing left, which the server knows with its hall, and somebody inside: session and access token."""
    web, _ = remembering
    app = create_app(config_for(web.environment["DATABASE_URL"]))
    house = app.extensions["jari"]
    sale = make_sale(house.db, seats=2, blocked=[0, 1])
    [person] = make_accounts(house.db)
    stay, _ = house.db.transact(waiting_room.join, Arrival(new_id(), sale, person.id, 3_600))
    access = house.tokens.issue_access(stay)
    dispose(app)
    path = f"/api/v1/performances/{sale}"
    assert [web.status(path + look) for look in ("/availability", "/seatmap")] == [200, 200]
    return web, path, person.session, access


def test_who_wants_seats_where_there_are_none_needs_no_thread(
    sold_out: tuple[Web, str, str, str],
) -> None:
    """The one line asks for other things in between: no body is taken for a request."""
    web, path, session, access = sold_out
    with line_to(web) as line:
        ask(line, path)
        with thread_taken(web) as waiting:
            for token, status in ((access, 409), ("undefined", 401), (access, 409)):
                line.sendall(wish(path, session, token))
                assert read(line)[0] == status
                assert ask(line, path)[0] == 200
            assert is_silent(waiting)


@pytest.mark.parametrize("cut", [40, -4])
def test_a_wish_in_two_pieces_is_waited_for_by_a_thread(
    sold_out: tuple[Web, str, str, str], cut: int
) -> None:
    web, path, session, access = sold_out
    wanted = wish(path, session, access)
    with line_to(web) as line:
        line.sendall(wanted[:cut])
        all_are_seen(web)
        line.sendall(wanted[cut:])
        assert read(line)[0] == 409
        assert ask(line, path)[0] == 200


def test_a_wish_that_is_flasks_matter_is_read_as_if_nobody_had(
    sold_out: tuple[Web, str, str, str],
) -> None:
    """A keyed one, and one that nobody knows the answer to: their bodies are there for the thread."""
    web, path, session, access = sold_out
    keyed = wish(path, session, access).replace(b"Host:", b"Idempotency-Key: one\r\nHost:")
    plain = wish(path, session, access).replace(b"application/json", b"text/plain")
    with line_to(web) as line:
        for wanted, status in ((keyed, 409), (plain, 400), (keyed, 409)):
            line.sendall(wanted)
            assert read(line)[0] == status
        assert ask(line, path)[0] == 200
        assert is_silent(line)


def part_of_the_page(sale: int, session: str, token: str) -> bytes:
    cookies = f"jari_session={session}; {WAITING_COOKIE}={token}"
    return HEAD.format(f"/performances/{sale}/queue/place", f"Cookie: {cookies}\r\n").encode()


def test_the_waiting_page_is_told_where_somebody_stands_without_a_thread(
    remembering: tuple[Web, str],
) -> None:
    """Once the server has looked at the room, for somebody else; who looks again too soon is told so."""
    web, _ = remembering
    app = create_app(config_for(web.environment["DATABASE_URL"]))
    house = app.extensions["jari"]
    early = house.db.clock.now() - timedelta(seconds=60)
    sale = make_sale(house.db, opens_in=3_600, prequeue_opens_at=early)
    asking = []
    for person in make_accounts(house.db, 2):
        stay, _ = house.db.transact(waiting_room.join, Arrival(new_id(), sale, person.id))
        token, _ = house.tokens.issue_waiting(stay, None, queue.mark(person.session))
        asking.append(part_of_the_page(sale, person.session, token))
    dispose(app)
    with line_to(web) as line:
        line.sendall(asking[0])
        assert read(line)[0] == 200
        with thread_taken(web) as waiting:
            for status in (200, 429):
                line.sendall(asking[1])
                found, _, text = read(line)
                assert found == status
                assert (b"You take part in the lottery." in text) == (status == 200)
            assert is_silent(waiting)


def test_a_large_answer_is_for_a_thread(app: Flask) -> None:
    """All its bytes would be copied for each who asks, and kept for who reads slowly."""
    house = app.extensions["jari"]
    sale = make_sale(house.db, seats=20_000)
    look = partial(lookups.get_seatmap, house, sale, None)
    packed = {"HTTP_ACCEPT_ENCODING": "gzip"}
    assert len(look({}).body) > lookups.AT_ONCE_MAX_BYTES > len(look(packed).body)
    assert must_wait(lambda: look({}))
    assert nowait.work(lambda: look(packed)).status == 200


def test_a_failure_is_not_taken_for_waiting() -> None:
    with pytest.raises(ZeroDivisionError):
        nowait.work(lambda: 1 / 0)
    assert not nowait.is_asked()


def test_each_answer_is_in_the_log_once(house: tuple[Web, str]) -> None:
    web, path = house
    with line_to(web) as line:
        ids = [f"{number:016x}" for number in range(1, 6)]
        for request_id in ids:
            assert ask(line, path, f"X-Request-Id: {request_id}\r\n")[0] == 200

    def told() -> list[str]:
        whole = [text for text in web.said().splitlines() if re.fullmatch(r"\{.*\}", text)]
        found = [json.loads(text).get("request_id") for text in whole]
        return [one for one in found if one in ids]

    until(lambda: len(told()) >= len(ids))
    time.sleep(0.5)  # for what should not come twice
    assert told() == ids
