"""Ids: nobody makes one twice, whoever makes how many at once."""

import os
from concurrent.futures import ThreadPoolExecutor

from webapp import ids

MANY = 20_000


def test_nobody_makes_one_twice() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: (ids.new_id(), ids.random_id()), range(MANY)))
    assert len({one for pair in made for one in pair}) == 2 * MANY
    assert {one.version for one, _ in made} == {7}
    assert {one.version for _, one in made} == {4}


def test_the_later_one_is_the_greater_one() -> None:
    before = ids.new_id()
    while (after := ids.new_id()).int >> 80 == before.int >> 80:
        pass
    assert after > before


def test_random_bytes_are_as_many_as_wanted() -> None:
    for count in (1, 16, ids.FETCHED - 1, ids.FETCHED, ids.FETCHED + 1):
        assert len(ids.random_bytes(count)) == count


def test_a_forked_process_draws_its_own() -> None:
    ids.random_bytes(1)  # there is something left that both could take
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, ids.random_bytes(16))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 16) != ids.random_bytes(16)
    os.close(reading)
    os.close(writing)
