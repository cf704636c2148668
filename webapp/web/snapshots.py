"""What many ask for at once, loaded once per process and moment.

A cache whose loss costs time and nothing else (no state that matters lives here). Promises:

1. `get` never returns what was read more than `max_age_seconds` ago.
2. One load per key at a time: when everybody comes at once, one thread asks the database and the
   others wait for its answer. While people keep coming nobody but that one waits: it asks when most of
   the time is over. Where nobody may wait (`nowait`) a thread of its own asks.
3. At most `keys_max` keys are kept; the one longest unused goes first.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Generic, TypeVar

from prometheus_client import Counter

from webapp import nowait

K = TypeVar("K")
V = TypeVar("V")

ASK_AGAIN_SHARE = 0.85  # of the age that is allowed

HITS_TOGETHER = 64

BESIDE = 2  # threads
_beside = ThreadPoolExecutor(
    BESIDE, "snapshots"
)  # its threads begin with its first work: after a fork

LOOKS = Counter(
    "jari_snapshot_looks_total", "Looks at a snapshot, by whether it was fresh.", ["name", "hit"]
)


class _Hits:
    """Looks that found something fresh, told HITS_TOGETHER at a time: one by one they were 6 % of the interpreter's
    time in a rush (measured).

    Who adds at the very same moment as another may be lost; what is told is how often it goes well, not money.
    """

    def __init__(self, name: str) -> None:
        self._told = LOOKS.labels(name, "yes")
        self._count = 0

    def add(self) -> None:
        self._count += 1
        if self._count >= HITS_TOGETHER:
            self._count = 0
            self._told.inc(HITS_TOGETHER)


@cache
def _hits(name: str) -> _Hits:
    return _Hits(name)


class _Slot(Generic[V]):
    __slots__ = ("asked", "loading", "read_at", "value")

    def __init__(self) -> None:
        self.asked = False  # for, beside who may not wait
        self.loading = threading.Lock()
        self.read_at = float("-inf")
        self.value: V | None = None


class Snapshots(Generic[K, V]):
    """Values by key, each at most `max_age_seconds` old. `load` may raise; the error is everybody's."""

    def __init__(
        self, name: str, load: Callable[[K], V], max_age_seconds: float, keys_max: int = 1_000
    ) -> None:
        self._load = load
        self._max_age = max_age_seconds
        self._keys_max = keys_max
        self._slots: OrderedDict[K, _Slot[V]] = OrderedDict()
        self._mutex = threading.Lock()
        self._hits = _hits(name)
        self._misses = LOOKS.labels(name, "no")

    def get(self, key: K, max_age_seconds: float | None = None) -> V:
        """Return the value of `key`, loading it if it is older than allowed here."""
        max_age = self._max_age if max_age_seconds is None else max_age_seconds
        slot = self._slot(key)
        asked_at = time.monotonic()
        read_at, value = slot.read_at, slot.value  # in the order in which they cannot be mismatched
        fresh = value is not None and asked_at - read_at <= max_age
        young = fresh and asked_at - read_at <= max_age * ASK_AGAIN_SHARE
        if not young and nowait.is_asked():
            if not fresh:
                raise nowait.MustWait
            self._load_beside(key, slot)
            young = True
        if young or not slot.loading.acquire(blocking=not fresh):
            self._hits.add()
            return value  # type: ignore[return-value]  # who did not wait found one
        try:
            # Whoever waited here gets what was loaded meanwhile, if it is fresh for the moment it asked.
            value = slot.value
            if value is not None and slot.read_at != read_at and asked_at - slot.read_at <= max_age:
                self._hits.add()
                return value
            return self._read(key, slot)
        finally:
            slot.loading.release()

    def _read(self, key: K, slot: _Slot[V]) -> V:
        """Load a value; whoever calls this has the slot's lock."""
        self._misses.inc()
        started = time.monotonic()
        value = self._load(key)
        slot.value, slot.read_at = value, started
        return value

    def _load_beside(self, key: K, slot: _Slot[V]) -> None:
        """Have a value loaded that is old soon, for who may not wait; what goes wrong is told to who has to."""
        if slot.asked or slot.loading.locked():
            return
        slot.asked = True
        try:
            _beside.submit(self._read_beside, key, slot)
        except RuntimeError:  # the process ends
            slot.asked = False

    def _read_beside(self, key: K, slot: _Slot[V]) -> None:
        """Load a value unless somebody else does, or has done so while this waited for its turn."""
        try:
            if not slot.loading.acquire(blocking=False):
                return
            try:
                if time.monotonic() - slot.read_at > self._max_age * ASK_AGAIN_SHARE:
                    self._read(key, slot)
            finally:
                slot.loading.release()
        finally:
            slot.asked = False

    def find_fresh(self, key: K) -> V | None:
        """Return the value of `key` if it is fresh, without loading it; for who can do without."""
        slot = self._slots.get(key)
        if slot is None or time.monotonic() - slot.read_at > self._max_age:
            return None
        return slot.value

    def find_last(self, key: K) -> V | None:
        """Return the last value of `key` however old it is, for who only decides whether to look."""
        slot = self._slots.get(key)
        return slot.value if slot else None

    def forget(self) -> None:
        """Drop everything; the next look loads again."""
        with self._mutex:
            self._slots.clear()

    def _slot(self, key: K) -> _Slot[V]:
        with self._mutex:
            slot = self._slots.get(key)
            if slot is None:
                slot = self._slots[key] = _Slot()
                if len(self._slots) > self._keys_max:
                    self._slots.popitem(last=False)
            else:
                self._slots.move_to_end(key)
            return slot
