"""Which seats requests of this process are about to hold, so that the next ones choose others.

A hint that decides nothing: other processes and the database know nothing of it, and losing it costs
time only. Without it 160 who asked at once for the best of 8,000 seats lost to each other all the time,
and one in a few hundred for eight seconds on end (measured).
"""

import math
import threading
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager

from webapp.domain.errors import NotEnoughSeats
from webapp.domain.seatmap import Choice

CHOICE_MAX_AGE_SECONDS = 0.25  # nobody chooses from older states


class Attempts:
    """The seats under way in this process, or asked for since the states that others choose from."""

    def __init__(self) -> None:
        self._choosing = threading.Lock()  # one after the other, or they would choose the same
        self._mutex = threading.Lock()  # for `_until` alone, so that nobody waits here for a choice
        self._until: dict[tuple[int, int], float] = {}  # (performance_id, seat_no): monotonic time

    @contextmanager
    def attempt(self, performance_id: int, pick: Callable[[Set[int]], Choice]) -> Iterator[Choice]:
        """Yield what `pick` chooses, given the seats to keep off; with none, if there are too few."""
        with self._choosing:
            under_way = self._under_way(performance_id)
            try:
                choice = pick(under_way)
            except NotEnoughSeats:
                choice = pick(frozenset())
            self._note(performance_id, choice, math.inf)
        try:
            yield choice
        finally:  # held or lost, older states show these seats as free
            self._note(performance_id, choice, time.monotonic() + CHOICE_MAX_AGE_SECONDS)

    def _under_way(self, performance_id: int) -> Set[int]:
        with self._mutex:
            now = time.monotonic()
            self._until = {key: until for key, until in self._until.items() if until > now}
            return {seat_no for of, seat_no in self._until if of == performance_id}

    def _note(self, performance_id: int, choice: Choice, until: float) -> None:
        with self._mutex:
            for place in choice.places:
                self._until[performance_id, place.seat_no] = until
