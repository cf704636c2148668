"""The house's pace: it slows and stops by what the processes say, and comes back slowly."""

import uuid

import pytest
from sqlalchemy import func, select

from tests.conftest import AdvancingClock
from webapp.db import Database
from webapp.domain import pace
from webapp.domain.model import ProcessHealth
from webapp.domain.pace import Health

WELL = Health(100, 0, 0, 50)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([], (100, None)),
        ([WELL], (100, None)),
        ([Health(100, 6, 0, 50)], (80, "errors")),
        ([Health(100, 26, 0, 50)], (0, "errors")),
        ([Health(100, 0, 0, 1_501)], (80, "slow")),
        ([Health(100, 0, 0, 4_001)], (0, "slow")),
        ([Health(100, 0, 51, 50)], (80, "pool_full")),
        ([Health(100, 0, 96, 50)], (0, "pool_full")),
        ([Health(9, 9, 9, 9_000)], (100, None)),  # too few to tell
        ([WELL, Health(100, 0, 0, 2_000)], (80, "slow")),  # one process is enough
        ([Health(900, 0, 0, 50), Health(100, 40, 0, 50)], (100, None)),  # 4 % of all
        ([Health(100, 6, 0, 5_000)], (0, "slow")),  # the worst sign decides
    ],
)
def test_trouble_is_told_by_bounds(told: list[Health], expected: tuple[int, str | None]) -> None:
    assert pace.next_pace(100, told) == expected


def test_it_slows_until_it_stops_and_comes_back_in_steps() -> None:
    percent, down = 100, []
    while percent:
        percent, _ = pace.next_pace(percent, [Health(100, 10, 0, 50)])
        down.append(percent)
    up = []
    while percent < 100:
        percent, why = pace.next_pace(percent, [WELL])
        up.append((percent, why))
    assert down == [80, 64, 51, 40, 32, 25, 20, 16, 12, 0]
    assert up == [*((step, "recovering") for step in range(10, 100, 10)), (100, None)]


def test_it_is_changed_with_pauses_and_old_reports_say_nothing(
    db: Database, clock: AdvancingClock
) -> None:
    clock.advance(10)
    db.transact(pace.report, uuid.uuid4(), Health(100, 90, 0, 50))
    assert db.transact(pace.adjust) == 1
    assert db.read(pace.get).percent == 0
    assert db.transact(pace.adjust) == 0  # the change must show first
    for percent in range(10, 101, 10):
        clock.advance(pace.FRESH_SECONDS + 1)
        assert db.transact(pace.adjust) == 1
        assert db.read(pace.get).percent == percent
    clock.advance(60)
    assert db.transact(pace.adjust) == 0


def test_a_process_has_one_row_and_dead_ones_are_forgotten(
    db: Database, clock: AdvancingClock
) -> None:
    process = uuid.uuid4()
    for _ in range(3):
        db.transact(pace.report, process, WELL)
    db.transact(pace.report, uuid.uuid4(), WELL)
    rows = select(func.count(ProcessHealth.process_id))
    assert db.read(lambda tx: tx.execute(rows).scalar()) == 2
    clock.advance(pace.KEPT_SECONDS + 1)
    db.transact(pace.report, process, Health(100, 90, 0, 50))
    db.transact(pace.adjust)
    assert db.read(lambda tx: tx.execute(rows).scalar()) == 1
