"""Ids that nobody makes twice, and the random bytes in them.

Promises:

1. Random bytes are the operating system's, never given out twice, not to a forked process either.
2. They are fetched many at a time: while the system is asked, Python lets other threads run, and to come
   back from that costs a busy process more than all else about an id (measured: four times a request).
"""

import os
import threading
import time
import uuid

FETCHED = 4_096  # bytes at a time


class _Store:
    """Random bytes fetched ahead."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self._lock = threading.Lock()
        self._bytes, self._used = b"", 0

    def take(self, count: int) -> bytes:
        with self._lock:
            if self._used + count > len(self._bytes):
                self._bytes, self._used = os.urandom(max(count, FETCHED)), 0
            self._used += count
            return self._bytes[self._used - count : self._used]


_STORE = _Store()
os.register_at_fork(after_in_child=_STORE.forget)


def random_bytes(count: int) -> bytes:
    """Return `count` random bytes."""
    return _STORE.take(count)


def new_id() -> uuid.UUID:
    """Make a UUIDv7 (RFC 9562): time-ordered, so that index inserts stay on the last page.

    Inserts at random places would meet the page locks that SERIALIZABLE readers of other rows hold.
    """
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(random_bytes(10))
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    return uuid.UUID(int=(value & ~(0x3 << 62)) | (0x2 << 62))


def random_id() -> uuid.UUID:
    """Make a UUIDv4: of no order."""
    return uuid.UUID(bytes=random_bytes(16), version=4)
