"""What requests of one process do for each other: customers' turns, and seats that somebody is at."""

import random
import threading
import time
import uuid
from collections.abc import Set
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.domain.test_seatmap import hall
from webapp.db import Busy
from webapp.domain import seatmap
from webapp.domain.errors import NotEnoughSeats, SeatsTaken
from webapp.domain.seatmap import Choice
from webapp.web import attempts
from webapp.web.attempts import Attempts
from webapp.web.turns import Turns


def test_one_customer_at_a_time_and_others_beside_him() -> None:
    turns, one, other = Turns(5.0), uuid.uuid4(), uuid.uuid4()
    inside, most = 0, 0

    def come(_: int) -> None:
        nonlocal inside, most
        with turns.turn(one):
            inside += 1
            most = max(most, inside)
            time.sleep(0.002)
            inside -= 1

    with turns.turn(other), ThreadPoolExecutor(8) as pool:
        list(pool.map(come, range(40)))
    assert most == 1
    assert turns._locks == {}


def test_who_waits_too_long_is_told_to_come_again() -> None:
    turns, one = Turns(0.05), uuid.uuid4()
    with turns.turn(one), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(turns.turn(one).__enter__)
        with pytest.raises(Busy):
            waiting.result()
    assert turns._locks == {}
    with turns.turn(one):
        pass


def test_a_turn_ends_with_whatever_went_wrong_in_it() -> None:
    turns, one = Turns(0.05), uuid.uuid4()
    for _ in range(2):
        with pytest.raises(SeatsTaken), turns.turn(one):
            raise SeatsTaken(seats=["A-1"])


# -- seats that somebody is at --------------------------------------------------------------------


def test_nobody_chooses_what_another_is_at() -> None:
    drawn, rng, at = hall(["f" * 30] * 4), random.Random(0), Attempts()
    gate = threading.Barrier(12)

    def ask(_: int) -> list[int]:
        def pick(under_way: Set[int]) -> Choice:
            return seatmap.choose(*drawn, 8, rng, under_way=under_way)

        with at.attempt(1, pick) as choice:
            gate.wait(60)
            return [place.seat_no for place in choice.places]

    with ThreadPoolExecutor(12) as pool:
        chosen = [seat_no for seats in pool.map(ask, range(12)) for seat_no in seats]
    assert len(set(chosen)) == len(chosen) == 96


def test_the_last_seats_may_be_asked_for_by_two_and_too_few_are_too_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn, rng, at = hall(["ffff"]), random.Random(0), Attempts()

    def pick(quantity: int, under_way: Set[int]) -> Choice:
        return seatmap.choose(*drawn, quantity, rng, under_way=under_way)

    def seats(quantity: int, performance_id: int = 1) -> list[int]:
        with at.attempt(performance_id, lambda under_way: pick(quantity, under_way)) as choice:
            return [place.seat_no for place in choice.places]

    first = seats(2)
    assert set(first).isdisjoint(seats(2))  # kept off for a moment after the attempt, too
    assert seats(3)  # all are under way, and yet nobody is told that there are none
    assert seats(4, performance_id=2) == [0, 1, 2, 3]
    with pytest.raises(NotEnoughSeats):
        seats(5)
    monkeypatch.setattr(attempts, "CHOICE_MAX_AGE_SECONDS", 0.0)
    seats(4)
    time.sleep(0.3)
    assert at._under_way(1) == set()


def test_scattered_seats_keep_off_the_others_too() -> None:
    drawn = hall(["fhfhf", "hfhfh"])
    choice = seatmap.choose(*drawn, 2, random.Random(0), under_way={0, 2, 4})
    assert {place.seat_no for place in choice.places} == {6, 8}
    with pytest.raises(NotEnoughSeats) as refusal:
        seatmap.choose(*drawn, 3, random.Random(0), under_way={0, 2, 4})
    assert refusal.value.facts == {"free": 2}
