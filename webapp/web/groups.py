"""Groups: what several requests of a process want at the same moment is done by one of them for all.

Promises:

1. Whoever comes while nobody is at work begins at once, alone: nobody waits for a group to fill.
2. What came meanwhile is the next group, in the order of arrival, `size_max` at most; its first member
   does the work. No thread works for others twice.
3. Members of a group fit together (`fits`); who does not fit waits for the next one.
4. Everybody gets his own outcome: a value, or what was raised for him. What goes wrong with the whole
   group is raised in each of its members.
"""

import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from webapp import nowait
from webapp.db import Busy

K = TypeVar("K", bound=Hashable)
M = TypeVar("M")
R = TypeVar("R")


@dataclass(slots=True, eq=False)
class _Waiting(Generic[M, R]):
    member: M
    gate: threading.Lock = field(default_factory=threading.Lock)  # held until something happens
    outcome: R | None = None
    error: BaseException | None = None
    done: bool = False


class Groups(Generic[K, M, R]):
    """One group at work per key, and those who wait for the next.

    `work(key, members)` returns an outcome for each; `fits(group, member)` says whether a member may
    join those before him.
    """

    def __init__(
        self,
        work: Callable[[K, Sequence[M]], Sequence[R]],
        fits: Callable[[Sequence[M], M], bool],
        size_max: int,
        wait_seconds: float,
    ) -> None:
        self._work, self._fits = work, fits
        self._size_max, self._wait_seconds = size_max, wait_seconds
        self._mutex = threading.Lock()
        self._waiting: dict[K, list[_Waiting[M, R]]] = {}  # a key is there while somebody works

    def do(self, key: K, member: M) -> R:
        """Have `member` done, in a group or alone; raise Busy when its turn does not come in time."""
        nowait.check()
        mine: _Waiting[M, R] = _Waiting(member)
        with self._mutex:
            queue = self._waiting.get(key)
            if queue is None:
                self._waiting[key] = []
            else:
                mine.gate.acquire()
                queue.append(mine)
        if queue is None:
            self._lead(key, [mine])
        else:
            self._wait(key, queue, mine)
        if mine.error is not None:
            raise mine.error
        return mine.outcome  # type: ignore[return-value]  # R may be None

    def _wait(self, key: K, queue: list[_Waiting[M, R]], mine: _Waiting[M, R]) -> None:
        if not mine.gate.acquire(timeout=self._wait_seconds):
            with self._mutex:
                if mine in queue:
                    queue.remove(mine)
                    raise Busy("group")
            mine.gate.acquire()  # its group is at work, and that ends in time
        if not mine.done:
            self._lead(key, self._gather(key, mine))

    def _gather(self, key: K, first: _Waiting[M, R]) -> list[_Waiting[M, R]]:
        """Take those out of the queue who fit together with its first, who is out already."""
        group, members = [first], [first.member]
        with self._mutex:
            for waiting in list(self._waiting[key]):
                if len(group) < self._size_max and self._fits(members, waiting.member):
                    self._waiting[key].remove(waiting)
                    group.append(waiting)
                    members.append(waiting.member)
        return group

    def _lead(self, key: K, group: list[_Waiting[M, R]]) -> None:
        try:
            outcomes = self._work(key, [waiting.member for waiting in group])
            for waiting, outcome in zip(group, outcomes, strict=True):
                waiting.outcome = outcome
        except BaseException as error:  # noqa: BLE001 - it is raised in each of them
            for waiting in group:
                waiting.error = error
        finally:
            with self._mutex:
                queue = self._waiting[key]
                successor = queue.pop(0) if queue else None
                if successor is None:
                    del self._waiting[key]
            if successor is not None:
                successor.gate.release()
            for waiting in group[1:]:
                waiting.done = True
                waiting.gate.release()
