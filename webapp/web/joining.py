"""Joins of the same moment are done by one thread for all: one look-up of their sessions, one transaction.

Each request that a thread works for alone costs several waits for the interpreter's lock, more than the join itself.
Promises:

1. One thread at a time works for a room, for TOGETHER_MAX at most; who comes meanwhile is in the next group. Nobody
   waits for a group to fill, nor for another room.
2. Everybody hears their own outcome. Whose answer takes another wait (who has a stay already, above all) has a thread
   of their own for it.
3. A group has its turn among other requests (gunicorn.conf.py) as its foremost member would; the next group goes
   before those who came later.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

from webapp import nowait
from webapp.web.fastlane import FastLane, Join
from webapp.web.wire import GONE, send, send_rest, write

TOGETHER_MAX = 64


@dataclass(slots=True)
class Joiner:
    """Somebody who waits to join: over which connection, with what to answer, and what became of it."""

    conn: Any
    response: Any
    join: Join
    outcome: Any = GONE


class Joiners:
    """Those who wait to join, by room. `go_on` hears what became of each connection."""

    def __init__(self, worker: Any, lane: FastLane, go_on: Callable[[Any, Any], None]) -> None:
        self._worker, self._lane, self._go_on = worker, lane, go_on
        self._rooms: dict[int, deque[Joiner]] = {}  # a room is there while a thread works for it

    def add(self, one: Joiner) -> None:
        """Let somebody wait for the thread that works for this room, or for a thread."""
        room = one.join.newcomer.performance_id
        if room in self._rooms:
            self._rooms[room].append(one)
        else:
            self._rooms[room] = deque([one])
            self._begin(room, ahead=False)

    def _begin(self, room: int, *, ahead: bool) -> None:
        waiting, group = self._rooms[room], list[Joiner]()
        turn = SimpleNamespace(begun=any(one.conn.begun for one in waiting))
        done = self._worker.tpool.submit(partial(self._join, waiting, group), turn, ahead=ahead)
        done.add_done_callback(
            lambda future: self._worker.method_queue.defer(self._end, room, group, future)
        )

    def _join(self, waiting: deque[Joiner], group: list[Joiner], _: Any) -> None:
        """Work for those who wait, in a thread."""
        while waiting and len(group) < TOGETHER_MAX:
            group.append(waiting.popleft())
        self._lane.join_together([one.join for one in group])
        for one in group:
            try:
                one.outcome = send(one.conn, *nowait.work(partial(self._write, one)))
            except nowait.MustWait:
                one.outcome = partial(self._answer_alone, one)
            except Exception:  # the others are answered nevertheless
                self._worker.log.exception("A join could not be answered")

    def _answer_alone(self, one: Joiner, conn: Any) -> bool:
        return send_rest(*self._write(one), conn)

    def _write(self, one: Joiner) -> tuple[bytes, bool]:
        return write(one.response, one.join.answer(), keep=self._worker.alive)

    def _end(self, room: int, group: list[Joiner], future: Any) -> None:
        """See to the connections, where all connections are seen to."""
        if future.exception():
            self._worker.log.error("Joining failed", exc_info=future.exception())
        for one in group:
            one.conn.begun = True
            self._go_on(one.conn, one.outcome)
        if self._rooms[room]:
            self._begin(room, ahead=True)
        else:
            del self._rooms[room]
