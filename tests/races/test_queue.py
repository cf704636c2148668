"""One place per customer, from however many tabs."""

import pytest

from tests.builders import make_accounts, make_sale
from tests.races import errands
from tests.races.crowd import Crowd
from tests.races.soundness import assert_sound
from webapp.db import Database
from webapp.domain import admission

pytestmark = pytest.mark.race


@pytest.mark.failure("F18")
@pytest.mark.parametrize("capacity", [None, 100])
def test_a_hundred_tabs_find_one_place(
    db: Database, database_url: str, crowd: Crowd, capacity: int | None
) -> None:
    [customer] = make_accounts(db)
    sale = make_sale(db, capacity=capacity)
    race = crowd.run(database_url, errands.join, [(customer.id, sale)] * 100, threads=20)
    assert race.refused == {}
    assert len({admitted.entry_id for admitted in race.values}) == 1
    expected = 0 if capacity is None else 1  # without a waiting room nobody gets a number
    assert db.transact(admission.number_newcomers, sale) == expected
    assert_sound(db)
