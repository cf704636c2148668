"""Requests read without gunicorn's parser: the plainest only, and those as it reads them."""

import re
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.errors import ParseException
from gunicorn.http.parser import RequestParser
from hypothesis import given
from hypothesis import strategies as st

from webapp.web.wire import Reply, read

CLIENT, SERVER = ("127.0.0.1", 50_000), ("127.0.0.1", 8_000)  # a proxy that gunicorn trusts
HOST = b"Host: jari\r\n"
POLL = b"GET /api/v1/performances/7/queue HTTP/1.1\r\n"
HOLD = b"POST /api/v1/performances/7/holds HTTP/1.1\r\n"


def as_gunicorn_reads(data: bytes) -> dict[str, Any]:
    """Return the environment that gunicorn makes; raise what it refuses with."""
    request = next(RequestParser(Config(), iter([data]), CLIENT))
    return dict(wsgi.create(request, None, CLIENT, SERVER, Config())[1])


def agree(ours: dict[str, Any], data: bytes) -> None:
    """What we read is what gunicorn reads, and leaves out nothing that a client sent."""
    theirs = as_gunicorn_reads(data)
    assert ours.pop("wsgi.input").read() == theirs["wsgi.input"].read()
    sent = {key for key in theirs if key.startswith(("HTTP_", "CONTENT_"))}
    assert ours == {key: theirs[key] for key in ours.keys() | sent}


@pytest.mark.parametrize(
    "data",
    [
        POLL + HOST + b"\r\n",
        POLL + HOST + b"Waiting-Token:  a.b.c \t\r\nAuthorization: Bearer x\r\n\r\n",
        POLL + HOST + b"Connection: Keep-Alive\r\nx-forwarded-for: 1.2.3.4, 5.6.7.8\r\n\r\n",
        POLL + HOST + b"Connection: close\r\nEmpty:\r\n\r\n",
        b"GET /api/v1/performances/7/seats?limit=5&section=A%20B HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /api/v1/events/a? HTTP/1.1\r\n" + HOST + b"\r\n",
        HOLD + HOST + b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        HOLD + HOST + b"Content-Length: 0\r\n\r\n",
    ],
)
def test_a_plain_request_is_read_as_gunicorn_reads_it(data: bytes) -> None:
    ours = read(data, CLIENT)
    assert ours is not None
    agree(ours, data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        POLL,
        POLL + b"\r\n",  # no host
        POLL + HOST,
        POLL + HOST + HOST + b"\r\n",
        POLL + HOST + b"Waiting-Token: a\r\nwaiting-token: b\r\n\r\n",
        POLL + HOST + b"Waiting_Token: a\r\n\r\n",
        POLL + HOST + b"Waiting-Token : a\r\n\r\n",
        POLL + HOST + b"Waiting-Token: a\r\n b\r\n\r\n",
        POLL + HOST + b"Waiting-Token: \xe9\r\n\r\n",
        POLL + HOST + b"Waiting-Token: a\nX: b\r\n\r\n",
        POLL + HOST + b"Waiting-Token: a\x00\r\n\r\n",
        POLL + HOST + b"Expect: 100-continue\r\n\r\n",
        POLL + HOST + b"Upgrade: h2c\r\n\r\n",
        POLL + HOST + b"Connection: upgrade\r\n\r\n",
        POLL + HOST + b"X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n\r\n",
        POLL + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POLL + HOST + b"\r\n" + POLL + HOST + b"\r\n",
        HOLD + HOST + b"Content-Length: 3\r\n\r\n{}",
        HOLD + HOST + b"Content-Length: 1\r\n\r\n{}",
        HOLD + HOST + b"Content-Length: +2\r\n\r\n{}",
        HOLD + HOST + b"Content-Length: 0_2\r\n\r\n{}",
        HOLD + HOST + b"Content-Length: \r\n\r\n",
        HOLD + HOST + b"\r\n{}",
        POLL.replace(b"1.1", b"1.0") + HOST + b"\r\n",
        POLL.replace(b"GET", b"HEAD") + HOST + b"\r\n",
        POLL.replace(b"/api", b"http://jari/api") + HOST + b"\r\n",
        POLL.replace(b"/queue", b"/%71ueue") + HOST + b"\r\n",
        POLL.replace(b"/queue", b"/queue#x") + HOST + b"\r\n",
        POLL.replace(b"/queue HTTP", b"/queue  HTTP") + HOST + b"\r\n",
        POLL + HOST + b"".join(b"X%d: y\r\n" % number for number in range(50)) + b"\r\n",
    ],
)
def test_whatever_is_not_plain_is_gunicorns_matter(data: bytes) -> None:
    assert read(data, CLIENT) is None


_ODD = st.sampled_from(
    [
        b"",
        b" ",
        b"\t",
        b"\r",
        b"\n",
        b"\r\n",
        b":",
        b"_",
        b"\x00",
        b"\xe9",
        b"%41",
        b"?",
        b"#",
        b"7",
    ]
)
_LINES = st.sampled_from(
    [
        HOST,
        b"Waiting-Token: a.b.c\r\n",
        b"Content-Length: 2\r\n",
        b"Content-Type: application/json\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Forwarded: for=1.2.3.4\r\n",
        b"X-Forwarded-Proto: https\r\n",
        b"X-Forwarded-Ssl: off\r\n",
    ]
)


@given(
    start=st.sampled_from([POLL, HOLD, b"GET /api/v1/events/a?b=c HTTP/1.1\r\n"]),
    lines=st.lists(_LINES, max_size=4),
    body=st.sampled_from([b"", b"{}"]),
    odd=st.lists(st.tuples(st.floats(0, 1), _ODD), max_size=2),
)
def test_no_two_readers_see_different_requests(
    start: bytes, lines: list[bytes], body: bytes, odd: list[tuple[float, bytes]]
) -> None:
    """Also with anything odd anywhere in it: what we read, gunicorn reads, as the same."""
    data = start + b"".join(lines) + b"\r\n" + body
    for where, piece in odd:
        place = round(where * len(data))
        data = data[:place] + piece + data[place:]
    ours = read(data, CLIENT)
    if ours is None:
        return
    try:
        agree(ours, data)
    except ParseException as refused:
        raise AssertionError(data) from refused


def test_an_answer_is_written_as_gunicorn_writes_it() -> None:
    headers = [("Content-Type", "application/json"), ("Content-Length", "2")]
    for wish, may_keep, kept in (
        (b"", True, True),
        (b"", False, False),
        (b"Connection: close\r\n", True, False),
    ):
        data = POLL + HOST + wish + b"\r\n"
        asked = read(data, CLIENT)
        assert asked is not None
        reply = Reply(asked)
        reply.start("200 OK", headers)
        ours, keep = reply.write([b"{", b"}"], keep=may_keep)
        assert keep is kept
        assert _undated(ours) == _undated(_as_gunicorn_writes(data, headers, may_keep))


def _as_gunicorn_writes(data: bytes, headers: list[tuple[str, str]], may_keep: bool) -> bytes:
    sent: list[bytes] = []

    class _Line:
        sendall = staticmethod(sent.append)

    request = next(RequestParser(Config(), iter([data]), CLIENT))
    response = wsgi.create(request, _Line, CLIENT, SERVER, Config())[0]
    if not may_keep:
        response.force_close()
    response.start_response("200 OK", headers)
    response.write(b"{}")
    return b"".join(sent)


def _undated(answer: bytes) -> bytes:
    return re.sub(rb"Date: [^\r]*", b"Date:", answer)


def test_no_header_of_ours_becomes_two() -> None:
    reply = Reply({})
    reply.start("200 OK", [("Retry-After", "1\r\nSet-Cookie: a=b")])
    with pytest.raises(ValueError, match="more than one"):
        reply.write([b""], keep=True)
