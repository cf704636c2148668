"""A small hall: PostgreSQL would read its tables whole, and everybody would conflict with everybody."""

import random
from itertools import chain, combinations

import pytest

from tests.builders import make_accounts, make_sale
from tests.conftest import config_for, dispose
from tests.races import errands
from tests.races.crowd import Crowd
from tests.races.soundness import assert_sound
from webapp import create_app
from webapp.db import Database

pytestmark = [pytest.mark.race, pytest.mark.postgres]


@pytest.mark.failure("F50")
def test_pairs_in_a_hall_of_a_hundred_conflict_only_where_they_collide(
    postgres_url: str, crowd: Crowd
) -> None:
    """Eight connections buy random pairs and return them; each retry has somebody to blame for it.

    A transaction is run again at most once for each other one that wanted one of its seats while it ran.
    With the planner free to scan there are many times more retries than such meetings.
    """
    app = create_app(config_for(postgres_url))
    db: Database = app.extensions["jari"].db
    sale = make_sale(db, seats=100)
    rng = random.Random(50)
    customers = [customer.id for customer in make_accounts(db, 8 * 60)]
    choices = [sorted(rng.sample(range(100), 2)) for _ in customers]
    calls = [(customers[n::8], sale, choices[n::8]) for n in range(8)]
    race = crowd.run(postgres_url, errands.buy_and_return, calls, threads=2)
    assert race.refused == {}
    touches = list(chain.from_iterable(race.values))
    assert len(touches) > 8 * 60
    meetings = 2 * sum(one.met(other) for one, other in combinations(touches, 2))
    assert race.conflicts <= meetings
    assert_sound(db)
    dispose(app)
