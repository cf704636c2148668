"""One request of a customer after the other, within this process.

A customer's own tabs, and his client's retries, change the same few rows (stay, allowance, wallet), so
all but one of those that come at once would be run again: of twelve tabs one gave up after eight tries
(measured). Nothing depends on it for its correctness: other processes know nothing of it.
"""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from webapp.db import Busy


class Turns:
    """A lock for each customer who has a request under way."""

    def __init__(self, wait_seconds: float) -> None:
        self._wait_seconds = wait_seconds
        self._mutex = threading.Lock()
        self._locks: dict[uuid.UUID, tuple[threading.Lock, int]] = {}  # and how many use it

    @contextmanager
    def turn(self, account_id: uuid.UUID) -> Iterator[None]:
        """Wait for one's turn; raise Busy when it does not come in time."""
        with self._mutex:
            lock, users = self._locks.get(account_id) or (threading.Lock(), 0)
            self._locks[account_id] = (lock, users + 1)
        try:
            if not lock.acquire(timeout=self._wait_seconds):
                raise Busy("turn")
            try:
                yield
            finally:
                lock.release()
        finally:
            self._leave(account_id)

    def _leave(self, account_id: uuid.UUID) -> None:
        with self._mutex:
            lock, users = self._locks[account_id]
            if users == 1:
                del self._locks[account_id]
            else:
                self._locks[account_id] = (lock, users - 1)
