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
GONE, KEPT, NOTHING_YET = object(), object(), object()

_libc = ctypes.PyDLL(None, use_errno=True)
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
    if sent == len(answer) and keep:
        return KEPT
    return partial(send_rest, answer[sent:], keep)


def send_rest(rest: bytes, keep: bool, conn: Any) -> bool:
    """Send as fast as the client reads; return whether the connection is kept, and see it off if not."""
    try:
        conn.sock.setblocking(True)
        conn.sock.sendall(rest)
    except OSError:
        return False  # the client has gone
    return keep
