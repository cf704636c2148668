"""The one clock: the database's, read without asking it each time.

Two app servers whose own clocks are an hour apart must not steal a hold or refuse a token. So nobody
asks this machine what time it is, only how long ago the database was asked.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from webapp import nowait

log = logging.getLogger("jari.clock")

MEASURE_EVERY_SECONDS = 60.0
ROUND_TRIP_MAX_SECONDS = 0.05


class Clock:
    """The database's time, read without asking it: its offset from this process's monotonic clock.

    Two servers whose own clocks differ by an hour agree on `now` within a round trip. Errors: the first
    `now` raises whatever the database raises when it cannot be asked; later failures keep the offset.
    """

    def __init__(self, ask: Callable[[], datetime]) -> None:
        self._ask = ask
        self._offset: float | None = None
        self._measured_at = 0.0
        self._measuring = threading.Lock()

    def now(self) -> datetime:
        """Return the database's time, aware UTC."""
        if self._offset is None:
            nowait.check()  # somebody may be at it already, and the database takes its time
            with self._measuring:
                if self._offset is None:
                    self._measure()
        elif time.monotonic() - self._measured_at > MEASURE_EVERY_SECONDS:
            self._measure_again()
        assert self._offset is not None
        return datetime.fromtimestamp(time.monotonic() + self._offset, UTC)

    def _measure_again(self) -> None:
        if not self._measuring.acquire(blocking=False):
            return  # another thread is at it; the old offset is good meanwhile
        try:
            self._measure()
        except Exception as error:  # noqa: BLE001 - whatever the database raises, time goes on
            self._measured_at = time.monotonic()
            log.warning("clock kept its old offset: %s", type(error).__name__)
        finally:
            self._measuring.release()

    def _measure(self) -> None:
        best: tuple[float, float] | None = None
        for _ in range(5):
            asked = time.monotonic()
            answer = self._ask().timestamp()
            answered = time.monotonic()
            reading = (answered - asked, answer - (asked + answered) / 2)
            best = reading if best is None else min(best, reading)
            if best[0] <= ROUND_TRIP_MAX_SECONDS:
                break
        assert best is not None
        if best[0] > ROUND_TRIP_MAX_SECONDS and self._offset is not None:
            self._measured_at = time.monotonic()
            return  # a slow reading says less than the offset we have
        self._offset = best[1]
        self._measured_at = time.monotonic()
