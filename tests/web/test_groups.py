"""Groups: who works for whom, and that everybody gets his own outcome."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from webapp.db import Busy
from webapp.web.groups import Groups

WAIT = 10.0


class Desk:
    """Work that stands still until it is told to go on, and remembers its groups."""

    def __init__(self, size_max: int = 16, wait_seconds: float = WAIT) -> None:
        self.seen: list[tuple[str, list[int]]] = []
        self.workers: list[int] = []
        self.begun, self.go_on = threading.Semaphore(0), threading.Semaphore(0)
        self.groups: Groups[str, int, int] = Groups(
            self.work,
            lambda group, one: one % 10 not in {n % 10 for n in group},
            size_max,
            wait_seconds,
        )

    def work(self, key: str, group: Sequence[int]) -> list[int]:
        self.seen.append((key, list(group)))
        self.workers.append(threading.get_ident())
        self.begun.release()
        assert self.go_on.acquire(timeout=WAIT)
        if 13 in group:
            raise ValueError("13")
        return [2 * number for number in group]

    def waiting(self, key: str, count: int) -> None:
        """Wait until so many wait for the next group."""
        deadline = time.monotonic() + WAIT
        while len(self.groups._waiting.get(key, [])) < count:
            assert time.monotonic() < deadline
            time.sleep(0.001)


def test_the_first_begins_alone_and_what_comes_meanwhile_is_one_group() -> None:
    desk = Desk()
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(desk.groups.do, "a", 1)
        assert desk.begun.acquire(timeout=WAIT)
        others = []
        for place, number in enumerate((2, 3, 4, 5)):
            others.append(pool.submit(desk.groups.do, "a", number))
            desk.waiting("a", place + 1)
        desk.go_on.release(2)
        assert first.result() == 2
        assert [other.result() for other in others] == [4, 6, 8, 10]
    assert desk.seen == [("a", [1]), ("a", [2, 3, 4, 5])]
    assert len(set(desk.workers)) == 2, "the first worked for the others too"
    assert desk.groups._waiting == {}


def test_who_does_not_fit_waits_for_the_next_group_and_size_has_a_limit() -> None:
    desk = Desk(size_max=3)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(desk.groups.do, "a", 1)]
        assert desk.begun.acquire(timeout=WAIT)
        for place, number in enumerate((2, 12, 3, 4, 5)):
            asked.append(pool.submit(desk.groups.do, "a", number))
            desk.waiting("a", place + 1)
        desk.go_on.release(3)
        assert [one.result() for one in asked] == [2, 4, 24, 6, 8, 10]
    assert [group for _, group in desk.seen] == [[1], [2, 3, 4], [12, 5]]


def test_keys_do_not_wait_for_each_other() -> None:
    desk = Desk()
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(desk.groups.do, key, 1) for key in "ab"]
        assert desk.begun.acquire(timeout=WAIT)
        assert desk.begun.acquire(timeout=WAIT)
        desk.go_on.release(2)
        assert [one.result() for one in asked] == [2, 2]


def test_what_goes_wrong_with_a_group_is_told_to_each_and_the_next_goes_on() -> None:
    desk = Desk()
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(desk.groups.do, "a", 1)
        assert desk.begun.acquire(timeout=WAIT)
        bad = [pool.submit(desk.groups.do, "a", number) for number in (2, 13)]
        desk.waiting("a", 2)
        desk.go_on.release()
        assert first.result() == 2
        assert desk.begun.acquire(timeout=WAIT)
        late = pool.submit(desk.groups.do, "a", 5)
        desk.waiting("a", 1)
        desk.go_on.release(2)
        for one in bad:
            with pytest.raises(ValueError, match="13"):
                one.result()
        assert late.result() == 10
    assert desk.groups._waiting == {}


def test_whose_turn_does_not_come_in_time_is_told_to_come_again() -> None:
    desk = Desk(wait_seconds=0.05)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(desk.groups.do, "a", 1)
        assert desk.begun.acquire(timeout=WAIT)
        with pytest.raises(Busy):
            pool.submit(desk.groups.do, "a", 2).result()
        desk.go_on.release()
        assert first.result() == 2
    assert desk.seen == [("a", [1])]


def test_a_crowd_gets_every_answer_once() -> None:
    groups: Groups[int, int, int] = Groups(
        lambda _, group: [number + 1 for number in group], lambda *_: True, 4, WAIT
    )
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: groups.do(number % 3, number), range(3_000)))
    assert answers == list(range(1, 3_001))
    assert groups._waiting == {}
