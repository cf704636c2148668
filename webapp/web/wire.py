"""Answers on their way: written as gunicorn writes them, sent and received without waiting.

Python's own calls give the interpreter's lock up, and where 24 threads want it, to have it back takes as long as several
answers. These never wait, and keep it.
"""

import ctypes
import os
import socket
from collections.abc import Iterable
from functools import partial
from typing import Any

RECEIVED_MAX = 8_192
# What became of a connection, where it is no job for a thread.
GONE, DONE, KEPT, NOTHING_YET = object(), object(), object(), object()

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


def write(response: Any, body: Iterable[bytes], *, keep: bool) -> tuple[bytes, bool]:
    """Return an answer as it is sent, and whether the connection outlasts it: if both sides want to keep it."""
    if not keep:
        response.force_close()
    response.sock = sent = _Sent()
    for piece in body:
        response.write(piece)
    response.close()
    return b"".join(sent.pieces), not response.should_close()


class _Sent:
    """A socket for gunicorn's response to write to."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def sendall(self, data: bytes) -> None:
        self.pieces.append(data)


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
