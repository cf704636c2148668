"""Joins of the same moment are done by one thread for all: one look-up of their sessions, one transaction.

Each request that a thread works for alone costs several waits for the interpreter's lock, more than the join itself.
Promises:

1. One thread at a time works for a room, group after group of TOGETHER_MAX at most; who comes meanwhile is in the next
   one. Nobody waits for a group to fill, nor for another room, nor a group for whoever looks after the connections:
   with a crowd at the door that took two seconds each time, and joining half a minute (measured).
2. Everybody hears their own outcome. Whose answer takes another wait (who has a stay already, above all) has a thread
   of their own for it.
3. The first group has its turn among other requests (gunicorn.conf.py) as its foremost member would.
4. Who has waited JOINED_WITHIN_SECONDS for the thread is told when to return, and not worked for: where the database
   hangs each group takes as long as a transaction may, and a client that gave up would not hear what came of it.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

from webapp import nowait
from webapp.web import lateness
from webapp.web.fastlane import FastLane, Join
from webapp.web.wire import GONE, Reply, may_keep, send, send_rest

TOGETHER_MAX = 64
JOINED_WITHIN_SECONDS = 15.0  # and a look-up and a transaction; clients often give up after 30


@dataclass(slots=True)
class Joiner:
    """Somebody who waits to join: over which connection, with what to answer, and what became of it."""

    conn: Any
    reply: Reply
    join: Join
    outcome: Any = GONE
    came: float = 0.0  # by time.monotonic()


@dataclass(slots=True)
class Room:
    """Those who wait to join it, and the thread's work for them that was begun last."""

    waiting: deque[Joiner] = field(default_factory=deque)
    work: Any = None


class Joiners:
    """Those who wait to join, by room. `go_on` hears what became of each connection."""

    def __init__(self, worker: Any, lane: FastLane, go_on: Callable[[Any, Any], None]) -> None:
        self._worker, self._lane, self._go_on = worker, lane, go_on
        self._rooms: dict[int, Room] = {}

    def add(self, one: Joiner) -> None:
        """Let somebody wait for the thread that works for this room, or for a thread."""
        number = one.join.newcomer.performance_id
        room = self._rooms.setdefault(number, Room())
        one.came = time.monotonic()
        room.waiting.append(one)
        if room.work is None or room.work.done():
            self._begin(number, room, ahead=False)

    def _begin(self, number: int, room: Room, *, ahead: bool) -> None:
        turn = SimpleNamespace(begun=any(one.conn.begun for one in room.waiting))
        room.work = self._worker.tpool.submit(partial(self._join, room.waiting), turn, ahead=ahead)
        room.work.add_done_callback(
            lambda work: self._worker.method_queue.defer(self._end, number, room, work)
        )

    def _join(self, waiting: deque[Joiner], _: Any) -> None:
        """Work for those who wait, in a thread, until nobody does."""
        while waiting:
            group = [waiting.popleft() for _ in range(min(len(waiting), TOGETHER_MAX))]
            try:
                self._join_together(group)
            finally:
                self._worker.method_queue.defer(self._give_back, group)

    def _join_together(self, group: list[Joiner]) -> None:
        came_late = time.monotonic() - JOINED_WITHIN_SECONDS
        late = [one for one in group if one.came < came_late]
        for one in late:
            one.join.outcome = lateness.refusal()
        self._answer(late)
        in_time = [one for one in group if one.came >= came_late]
        if in_time:
            self._lane.join_together([one.join for one in in_time])
        self._answer(in_time)

    def _answer(self, group: list[Joiner]) -> None:
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
        return one.reply.write(one.join.answer(), keep=may_keep(self._worker))

    def _give_back(self, group: list[Joiner]) -> None:
        """See to the connections, where all connections are seen to."""
        for one in group:
            one.conn.begun = True
            self._go_on(one.conn, one.outcome)

    def _end(self, number: int, room: Room, work: Any) -> None:
        """Forget the room, unless somebody came when the thread had just gone, or it broke."""
        if work.exception():
            self._worker.log.error("Joining failed", exc_info=work.exception())
        if room.work is not work:
            return
        if room.waiting:
            self._begin(number, room, ahead=True)
        else:
            del self._rooms[number]
