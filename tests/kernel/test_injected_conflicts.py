"""Every transaction of a sale loses a race at every one of its statements, and at COMMIT.

However it is interrupted, the customer gets the same answer, the database holds the same, and the
journal tells it once.
"""

import pytest

from tests.faults import CONFLICTS, LOST, Faults
from tests.kernel.counted import Rise
from tests.kernel.operations import OPERATIONS, Stage
from webapp.db import ATTEMPTS_MAX, Busy, Database
from webapp.troubles import RETRIES


def codes_for(db: Database, number: int) -> list[str]:
    """Take the conflicts by turns; a connection, where there is one to lose, is lost everywhere."""
    conflicts = CONFLICTS[db.writer.dialect.name]
    return [conflicts[number % len(conflicts)]] + ([] if db.is_sqlite else [LOST])


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_conflict_at_any_statement_or_at_commit_changes_nothing(
    db: Database, stage: Stage, faults: Faults, operation: str
) -> None:
    clean = stage.set(operation)
    faults.forget()
    answer, statements = clean.play(), len(faults.statements)
    picture = clean.picture()
    assert statements >= 1
    assert picture["journal"]

    for number in range(1, statements + 1):
        for code in codes_for(db, number):
            scene = stage.set(operation)
            faults.at_statement(number, code)
            with Rise(RETRIES) as retries:
                assert scene.play() == answer, (number, code)
            assert faults.fired == 1
            assert scene.picture() == picture, (number, code)
            assert {(sqlstate, tries) for sqlstate, _, tries in retries.by} == {(code, "1")}

    for code in CONFLICTS[db.writer.dialect.name]:
        scene = stage.set(operation)
        faults.conflict_at_commit(code)
        with Rise(RETRIES) as retries:
            assert scene.play() == answer, code
        assert {(sqlstate, tries) for sqlstate, _, tries in retries.by} == {(code, "1")}
        assert faults.fired == 1
        assert scene.picture() == picture, code


def test_a_commit_lost_on_either_side_takes_effect_once(stage: Stage, faults: Faults) -> None:
    for operation in OPERATIONS:
        clean = stage.set(operation)
        answer, picture = clean.play(), clean.picture()
        for lose in (faults.commit_lost_before, faults.commit_lost_after):
            scene = stage.set(operation)
            lose()
            assert scene.play() == answer, (operation, lose.__name__)
            assert faults.fired == 1
            assert scene.picture() == picture, (operation, lose.__name__)


def test_giving_up_stores_nothing_and_the_next_try_works(
    db: Database, stage: Stage, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.db.JITTER_MAX_SECONDS", 0.001)
    for operation in OPERATIONS:
        clean = stage.set(operation)
        answer, picture = clean.play(), clean.picture()
        scene = stage.set(operation)
        before = scene.picture()
        faults.at_statement(1, CONFLICTS[db.writer.dialect.name][0], times=ATTEMPTS_MAX)
        with pytest.raises(Busy):
            scene.play()
        assert faults.fired == ATTEMPTS_MAX
        assert scene.picture() == before, operation
        assert scene.play() == answer, operation
        assert scene.picture() == picture, operation
