"""Clients that send too much, too slowly or too oddly meet a limit, and nobody else waits for them."""

import gzip
import http.client
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.builders import make_sale
from tests.conftest import config_for, dispose
from tests.servers import Web
from webapp import create_app
from webapp.commands import migrate_to

pytestmark = pytest.mark.slow


@pytest.fixture
def web(sqlite_url: str, tmp_path: Path) -> Iterator[Web]:
    with Web(sqlite_url, tmp_path / "web.log", workers=1, threads=4) as web:
        yield web
    assert "Traceback" not in web.said()


@contextmanager
def line_to(web: Web) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", web.port), timeout=15) as line:
        yield line


def answer_to(web: Web, request: bytes) -> bytes:
    """Send bytes; return the status line that comes back, nothing if the line was cut."""
    with line_to(web) as line:
        try:
            line.sendall(request)
            return line.recv(65_536).partition(b"\r\n")[0]
        except ConnectionError:
            return b""


HEAD = b"GET / HTTP/1.1\r\nHost: jari\r\n"
FLOODS = {
    "many headers": HEAD + b"".join(b"X-%d: 1\r\n" % n for n in range(5_000)) + b"\r\n",
    "a long header": HEAD + b"Access-Token: " + b"x" * 100_000 + b"\r\n\r\n",
    "a long line": b"GET /?" + b"q" * 100_000 + b" HTTP/1.1\r\nHost: jari\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "smuggled": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_is_cut_short(web: Web, flood: str) -> None:
    status = answer_to(web, FLOODS[flood])
    assert status == b"" or status.split()[1].startswith(b"4"), status
    assert web.status("/healthz") == 200


def test_a_bomb_is_not_unpacked(web: Web) -> None:
    """64 KB that would be 60 MB: nobody reads Content-Encoding, so it is not JSON and stays small."""
    bomb = gzip.compress(b"[" * 60_000_000, 9)
    assert len(bomb) < 64 * 1024
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = web.http.request("POST", "/api/v1/sessions", body=bomb, headers=headers)
    assert answer.status == 400
    huge = web.http.request("POST", "/api/v1/sessions", body=b" " * 200_000, headers=headers)
    assert huge.status == 413


def test_those_who_say_nothing_take_no_thread(web: Web) -> None:
    """Forty times as many silent lines as threads, and an answer comes at once."""
    lines = [socket.create_connection(("127.0.0.1", web.port)) for _ in range(160)]
    began = time.monotonic()
    assert web.status("/healthz", 10.0) == 200
    assert time.monotonic() - began < 3
    for line in lines:
        line.close()


def test_those_who_stop_in_the_middle_are_left_after_a_while(web: Web) -> None:
    """Twice as many as there are threads; after READ_SECONDS of each the others are served."""
    lines = [socket.create_connection(("127.0.0.1", web.port)) for _ in range(8)]
    for line in lines:
        line.sendall(b"GET /heal")
    time.sleep(0.5)
    assert web.status("/healthz", 18.0) == 200
    for line in lines:
        line.close()


def test_those_who_take_nothing_of_their_answer_are_left_after_a_while(
    sqlite_url: str, tmp_path: Path
) -> None:
    """As many as there are threads, and a hall of 2.6 MB for each; after WRITE_SECONDS others are served."""
    app = create_app(config_for(sqlite_url))
    migrate_to(app)
    path = f"/api/v1/performances/{make_sale(app.extensions['jari'].db, seats=20_000)}/seatmap"
    dispose(app)
    with (
        Web(sqlite_url, tmp_path / "web.log", workers=1, threads=2) as web,
        ExitStack() as lines,
    ):
        for _ in range(2):
            line = lines.enter_context(socket.socket())
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            line.connect(("127.0.0.1", web.port))
            line.sendall(f"GET {path} HTTP/1.1\r\nHost: jari\r\n\r\n".encode() * 4)
        time.sleep(1)
        assert web.status("/healthz", 30.0) == 200
    assert "Traceback" not in web.said()


def test_those_who_do_not_hang_up_keep_nobody_waiting(web: Web) -> None:
    """Ten ask for the end of their line, get it, and keep their own end open."""
    began = time.monotonic()
    with ExitStack() as lines:
        for _ in range(10):
            line = lines.enter_context(line_to(web))
            line.sendall(b"GET /healthz HTTP/1.1\r\nHost: jari\r\nConnection: close\r\n\r\n")
            assert line.recv(65_536)
        assert web.status("/healthz", 15.0) == 200
        assert time.monotonic() - began < 10  # gunicorn waits 2 s for each of them


def test_who_asked_once_is_waited_for_longer_than_who_never_did(web: Web) -> None:
    """A poll comes up to 72 s after the one before."""
    with line_to(web) as kept, line_to(web) as silent, line_to(web) as other:
        assert [health(line) for line in (other, kept)] == [200, 200]
        assert silent.recv(1) == b""  # hung up on within the time-out of this line
        assert health(kept) == 200


def health(line: socket.socket) -> int:
    line.sendall(b"GET /healthz HTTP/1.1\r\nHost: jari\r\n\r\n")
    answer = http.client.HTTPResponse(line)
    answer.begin()
    answer.read()
    return answer.status


def test_a_refusal_before_the_body_came_keeps_the_line(web: Web) -> None:
    """Some clients send head and body apart; closing the line would lose what they ask next."""
    head = (
        b"POST /api/v1/performances/1/holds HTTP/1.1\r\nHost: jari\r\nAuthorization: Bearer x\r\n"
        b"Access-Token: none\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n"
    )
    client = http.client.HTTPConnection("127.0.0.1", web.port, timeout=15)
    client.connect()
    line = client.sock
    for _ in range(3):
        line.sendall(head)
        answer = http.client.HTTPResponse(line)
        answer.begin()
        assert (answer.status, len(answer.read()) > 0) == (401, True)
        time.sleep(0.1)
        line.sendall(b'{"seats":[1]}')
    client.close()
