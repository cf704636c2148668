"""What many ask for at once: one load per key and moment, bounded, never older than promised."""

import threading
import time
from collections.abc import Callable

import pytest
from flask import Flask

from tests.builders import enter, make_accounts, make_sale, place
from tests.conftest import config_for, dispose
from tests.faults import Faults
from tests.kernel.counted import Rise
from webapp import create_app
from webapp.db import Database
from webapp.domain.errors import NotFound
from webapp.web.house import House
from webapp.web.snapshots import ASK_AGAIN_SHARE, HITS_TOGETHER, LOOKS, Snapshots


class Source:
    """Something to load: counts how often, and waits until it may answer."""

    def __init__(self) -> None:
        self.loads: list[str] = []
        self.open = threading.Event()
        self.open.set()
        self.failing = False

    def __call__(self, key: str) -> str:
        self.loads.append(key)
        assert self.open.wait(60)
        if self.failing:
            raise NotFound()
        return f"{key}-{len(self.loads)}"


@pytest.fixture
def source() -> Source:
    return Source()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def together(count: int, work: Callable[[], object]) -> tuple[list[object], list[threading.Thread]]:
    results: list[object] = []
    threads = [threading.Thread(target=lambda: results.append(work())) for _ in range(count)]
    for thread in threads:
        thread.start()
    return results, threads


def test_a_fresh_value_is_not_loaded_again(source: Source) -> None:
    with Rise(LOOKS) as looks:
        for _ in range(
            HITS_TOGETHER
        ):  # which come together, whichever of one name they were asked of
            snapshots = Snapshots("fresh", source, max_age_seconds=60.0)
            assert {snapshots.get("a") for _ in range(3)} == {f"a-{len(source.loads)}"}
    assert looks.by == {("fresh", "no"): HITS_TOGETHER, ("fresh", "yes"): 2 * HITS_TOGETHER}


def test_an_old_one_is(source: Source) -> None:
    snapshots = Snapshots("test", source, max_age_seconds=0.0)
    assert [snapshots.get("a") for _ in range(3)] == ["a-1", "a-2", "a-3"]


def test_who_can_do_without_loads_nothing(source: Source) -> None:
    snapshots = Snapshots("test", source, max_age_seconds=60.0)
    assert snapshots.find_fresh("a") is None
    snapshots.get("a")
    assert snapshots.find_fresh("a") == "a-1"
    snapshots._slots["a"].read_at -= 61.0
    assert snapshots.find_fresh("a") is None
    assert source.loads == ["a"]


def test_nobody_waits_for_who_asks_before_it_is_old(source: Source) -> None:
    snapshots = Snapshots("test", source, max_age_seconds=600.0)
    snapshots.get("a")
    snapshots._slots["a"].read_at -= 600.0 * ASK_AGAIN_SHARE
    source.open.clear()
    results, early = together(1, lambda: snapshots.get("a"))
    until(lambda: len(source.loads) == 2)
    assert snapshots.get("a") == "a-1"
    source.open.set()
    early[0].join()
    assert results == ["a-2"] == [snapshots.get("a")]


def test_who_asks_may_want_it_fresher_than_others(source: Source) -> None:
    snapshots = Snapshots("test", source, max_age_seconds=60.0)
    snapshots.get("a")
    assert snapshots.get("a", 0.0) == "a-2"
    assert snapshots.get("a") == "a-2"


def test_keys_do_not_wait_for_each_other(source: Source) -> None:
    snapshots = Snapshots("test", source, max_age_seconds=60.0)
    source.open.clear()
    _, slow = together(1, lambda: snapshots.get("slow"))
    until(lambda: source.loads == ["slow"])
    _, other = together(1, lambda: snapshots.get("other"))
    until(lambda: source.loads == ["slow", "other"])
    source.open.set()
    for thread in slow + other:
        thread.join(60)


def test_when_everybody_comes_at_once_one_loads_for_all(source: Source) -> None:
    snapshots = Snapshots("test", source, max_age_seconds=60.0)
    source.open.clear()
    results, threads = together(20, lambda: snapshots.get("a"))
    until(lambda: len(source.loads) == 1)
    source.open.set()
    for thread in threads:
        thread.join(60)
    assert results == ["a-1"] * 20
    assert source.loads == ["a"]


def test_who_wants_it_as_of_now_does_not_get_what_was_being_loaded_before(source: Source) -> None:
    snapshots = Snapshots("test", source, max_age_seconds=60.0)
    source.open.clear()
    _, first = together(1, lambda: snapshots.get("a"))
    until(lambda: len(source.loads) == 1)
    fresh, second = together(1, lambda: snapshots.get("a", 0.0))
    source.open.set()
    for thread in first + second:
        thread.join(60)
    assert fresh == ["a-2"]


def test_a_failure_is_everybodys_own_and_the_next_look_tries_again(source: Source) -> None:
    snapshots = Snapshots("test", source, max_age_seconds=60.0)
    source.failing = True
    for _ in range(2):
        with pytest.raises(NotFound):
            snapshots.get("a")
    source.failing = False
    assert snapshots.get("a") == "a-3"


def test_the_longest_unused_key_goes_first(source: Source) -> None:
    snapshots = Snapshots("test", source, max_age_seconds=60.0, keys_max=3)
    for key in "abc":
        snapshots.get(key)
    snapshots.get("a")
    snapshots.get("d")  # "b" goes
    for key in "acd":
        snapshots.get(key)
    assert source.loads == list("abcd")
    snapshots.get("b")
    assert source.loads == list("abcdb")


@pytest.mark.failure("F15")
def test_filled_with_strangers_it_forgets_and_loses_nothing(source: Source) -> None:
    snapshots = Snapshots("test", source, max_age_seconds=60.0, keys_max=10)
    snapshots.get("mine")
    for number in range(1_000):
        snapshots.get(f"stranger-{number}")
    assert len(snapshots._slots) == 10
    assert snapshots.get("mine").startswith("mine-")


def test_forgetting_loads_everything_again(source: Source) -> None:
    snapshots = Snapshots("test", source, max_age_seconds=60.0)
    snapshots.get("a")
    snapshots.forget()
    assert snapshots.get("a") == "a-2"


# -- the house's own ----------------------------------------------------------------------------------


@pytest.mark.failure("F27")
def test_dropped_at_the_peak_each_key_costs_one_load(app: Flask, db: Database) -> None:
    house: House = app.extensions["jari"]
    sale = make_sale(db, capacity=5)
    reads = Faults(db, reading=True)
    kinds = (house.sales, house.availability, house.rooms)
    for snapshots in kinds:
        snapshots.get(sale)
    costs = []
    for snapshots in kinds:
        snapshots.forget()
        reads.forget()
        snapshots.get(sale)
        alone = len(reads.statements)
        snapshots.forget()
        reads.forget()
        results, threads = together(16, lambda s=snapshots: s.get(sale))
        for thread in threads:
            thread.join(60)
        assert len(results) == 16
        costs.append((alone, len(reads.statements)))
    assert all(alone == at_once for alone, at_once in costs), costs


@pytest.mark.failure("F29")
def test_a_hold_is_seen_when_the_snapshot_is_over(database_url: str) -> None:
    app = create_app(config_for(database_url))
    house: House = app.extensions["jari"]
    assert house.availability._max_age < 1.0
    db = house.db
    sale = make_sale(db, seats=5)
    [customer] = make_accounts(db)
    before = house.availability.get(sale)
    place(db, enter(db, customer, sale), [2])
    after = house.availability.get(sale, 0.0)
    assert (before.states, after.states) == ("fffff", "ffhff")
    assert before.version != after.version
    assert before.as_of < after.as_of
    assert after.counts() == {"free": 4, "held": 1, "sold": 0, "blocked": 0}
    assert house.states_at(sale, before.version) == "fffff"
    dispose(app)


def test_only_the_last_versions_are_remembered(app: Flask, db: Database) -> None:
    house: House = app.extensions["jari"]
    sale = make_sale(db, seats=5)
    first = house.availability.get(sale)
    for number in range(200):
        with house._versions_lock:
            house._versions[sale, str(number)] = ""
    house.availability.get(sale, 0.0)
    assert len(house._versions) <= 32
    assert house.states_at(sale, first.version) == first.states  # seen again just now
    assert house.states_at(sale, "0") is None
