"""Requests and answers on their way: read and written without gunicorn's parser, sent and received without waiting.

Python's own calls give the interpreter's lock up, and where 24 threads want it, to have it back takes as long as several
answers. These never wait, and keep it.
"""

import ctypes
import io
import os
import re
import socket
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import gunicorn
from gunicorn.util import http_date

RECEIVED_MAX = 8_192
# What became of a connection, where it is no job for a thread.
GONE, DONE, KEPT, NOTHING_YET = object(), object(), object(), object()

KEEP, CLOSE = "keep-alive", "close"

# A path with an escape is not plain: whoever reads it has to undo that.
_PLAIN = re.compile(
    rb"(?P<method>GET|POST) (?P<path>/[!$&->@-~]{0,2000})(?:\?(?P<query>[!$-~]{0,2000}))? HTTP/1\.1\r\n"
    rb"(?P<headers>(?:[A-Za-z0-9-]{1,64}:[\t -~]*\r\n){1,50})\r\n"
)
_PRINTABLE = re.compile(r"[\t -~]*\Z")
_LENGTH = re.compile(r"[0-9]{1,4}\Z")
_OF_BODY = {"CONTENT_LENGTH", "CONTENT_TYPE"}
# Of which a proxy sends one. Where they contradict each other, gunicorn refuses.
_SCHEMES = {"HTTP_X_FORWARDED_PROTOCOL", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_SSL"}
_UNUSUAL = {"HTTP_EXPECT", "HTTP_TRANSFER_ENCODING", "HTTP_UPGRADE"}

_libc = ctypes.PyDLL(None, use_errno=True)
for _call in (_libc.recv, _libc.send):
    _call.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int)
    _call.restype = ctypes.c_ssize_t
_received = ctypes.create_string_buffer(RECEIVED_MAX)


def receive_now(file: int) -> bytes:
    """Return what is there, nothing where the client has hung up; raise BlockingIOError and other OSErrors. For one
    thread only.
    """
    length = _libc.recv(file, _received, RECEIVED_MAX, socket.MSG_DONTWAIT)
    if length < 0:
        _raise()
    return ctypes.string_at(_received, length)


def _send_now(file: int, data: bytes) -> int:
    length: int = _libc.send(file, data, len(data), socket.MSG_DONTWAIT)
    if length < 0:
        _raise()
    return length


def _raise() -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number))


def may_keep(worker: Any) -> bool:
    """Whether one more connection may outlast its answer: as gunicorn does, or newcomers would find no room."""
    return bool(worker.alive and len(worker.keepalived_conns) < worker.max_keepalived)


def read(data: bytes, client: Any) -> dict[str, Any] | None:
    """Return a whole request as WSGI has it, as far as anybody looks who answers at once; None: gunicorn's matter.

    Only the plainest of requests, in which no two readers could see different ones: HTTP/1.1, printable ASCII, each
    header once and on one line, no body but of the length that is told. gunicorn's parser and environment, for which
    nothing is unusual, cost a poll nearly as much as finding its answer. `client` is the address as accepted.
    """
    head = _PLAIN.match(data)
    if head is None:
        return None
    given: dict[str, Any] = {
        "REQUEST_METHOD": head["method"].decode(),
        "PATH_INFO": head["path"].decode(),
        "QUERY_STRING": (head["query"] or b"").decode(),
        "REMOTE_ADDR": client[0] if isinstance(client, tuple) else str(client),
    }
    for line in head["headers"].decode().split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        name = name.upper().replace("-", "_")
        key = name if name in _OF_BODY else f"HTTP_{name}"
        if key in _UNUSUAL or key in given:
            return None
        given[key] = value.strip(" \t")
    body, length = data[head.end() :], given.get("CONTENT_LENGTH", "0")
    if not (
        _LENGTH.match(length)
        and len(body) == int(length)
        and "HTTP_HOST" in given
        and len(_SCHEMES & given.keys()) <= 1
        and given.get("HTTP_CONNECTION", KEEP).lower() in (KEEP, CLOSE)
    ):
        return None
    given["wsgi.input"] = io.BytesIO(body)
    return given


class Reply:
    """What WSGI's `start_response` is told, and the answer to a request that `read` has read, as gunicorn writes it."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._may_keep = given.get("HTTP_CONNECTION", KEEP).lower() != CLOSE

    def start(self, status: str, headers: list[tuple[str, str]]) -> None:
        """Take status and headers; those say the length of a body, if there is one."""
        self._head = status, headers

    def write(self, body: Iterable[bytes], *, keep: bool) -> tuple[bytes, bool]:
        """Return the answer as it is sent, and whether the connection outlasts it: if both sides want to keep it."""
        keep = keep and self._may_keep
        status, headers = self._head
        if not _PRINTABLE.match("".join([part for header in headers for part in header])):
            raise ValueError("a header that would be more than one")
        lines = [
            f"HTTP/1.1 {status}",
            f"Server: {gunicorn.SERVER}",
            f"Date: {http_date()}",
            f"Connection: {KEEP if keep else CLOSE}",
            *(f"{name}: {value}" for name, value in headers),
            "\r\n",
        ]
        return b"".join(["\r\n".join(lines).encode("latin-1"), *body]), keep


def send(conn: Any, answer: bytes, keep: bool) -> Any:
    """Send what the client takes at once; return what became of the connection, or what a thread has to do for it."""
    try:
        sent = _send_now(conn.sock.fileno(), answer)
    except BlockingIOError:
        sent = 0
    except OSError:
        return GONE
    if sent == len(answer):
        return KEPT if keep else DONE
    return partial(send_rest, answer[sent:], keep)


def send_rest(rest: bytes, keep: bool, conn: Any) -> bool:
    """Send as fast as the client reads; return whether the connection is kept, and see it off if not."""
    try:
        conn.sock.setblocking(True)
        conn.sock.sendall(rest)
    except OSError:
        return False  # the client has gone
    return keep
