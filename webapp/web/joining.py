"""Joins of the same moment are done by one thread for all: one look-up of their sessions, one transaction.

Each request that a thread works for alone costs several waits for the interpreter's lock, more than the join itself.
Promises:

1. One thread at a time has a group, of TOGETHER_MAX at most; who comes meanwhile is in the next. Nobody waits
   for a group to fill.
2. Everybody hears their own outcome. Who has a stay already takes a transaction, and a thread, of their own.
3. A group has its turn among other requests (gunicorn.conf.py) where its first member would have it.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

from webapp.web.fastlane import FastLane, Join
from webapp.web.wire import GONE, send, send_rest, write

TOGETHER_MAX = 64


@dataclass(slots=True)
class Joining:
    """Somebody who waits to join: over which connection, with what to answer, and what became of it."""

    conn: Any
    response: Any
    join: Join
    outcome: Any = GONE


class Joins:
    """Those who wait to join, and those for whom a thread is at work. `go_on` hears what became of each connection."""

    def __init__(self, worker: Any, lane: FastLane, go_on: Callable[[Any, Any], None]) -> None:
        self._worker, self._lane, self._go_on = worker, lane, go_on
        self._waiting: deque[Joining] = deque()
        self._group: list[Joining] = []
        self._at_work = False

    def add(self, one: Joining) -> None:
        """Let somebody wait, no longer than until the group before has joined."""
        self._waiting.append(one)
        if not self._at_work:
            self._begin()

    def _begin(self) -> None:
        self._at_work = True
        first = SimpleNamespace(begun=self._waiting[0].conn.begun)
        done = self._worker.tpool.submit(self._join, first)
        done.add_done_callback(lambda future: self._worker.method_queue.defer(self._end, future))

    def _join(self, _: Any) -> None:
        """Work for a group, in a thread."""
        count = min(len(self._waiting), TOGETHER_MAX)
        self._group = [self._waiting.popleft() for _ in range(count)]
        self._lane.join_together([one.join for one in self._group])
        answers = [None if one.join.must_wait else self._write(one) for one in self._group]
        for one, answer in zip(self._group, answers, strict=True):
            if answer is None:
                one.outcome = partial(self._answer_alone, one)
            else:
                one.outcome = send(one.conn, *answer)

    def _answer_alone(self, one: Joining, conn: Any) -> bool:
        answer, keep = self._write(one)
        return send_rest(answer, keep, conn)

    def _write(self, one: Joining) -> tuple[bytes, bool]:
        return write(one.response, one.join.answer(), keep=self._worker.alive)

    def _end(self, future: Any) -> None:
        """See to the connections, where all connections are seen to."""
        if future.exception():
            self._worker.log.error("Joining failed", exc_info=future.exception())
        for one in self._group:
            one.conn.begun = True
            self._go_on(one.conn, one.outcome)
        self._at_work, self._group = False, []
        if self._waiting:
            self._begin()
