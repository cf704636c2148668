"""One place per customer, from however many tabs."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from tests.builders import make_accounts, make_sale
from tests.races import errands
from tests.races.crowd import Crowd
from tests.races.soundness import assert_sound
from webapp.db import Database
from webapp.domain import admission, lottery, waiting_room
from webapp.domain.model import JournalEntry

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


def test_of_all_who_come_first_one_seals_the_lottery_before_anybody_takes_part(
    db: Database, database_url: str, crowd: Crowd
) -> None:
    early = db.clock.now() - timedelta(seconds=1)
    sale = make_sale(db, capacity=5, opens_in=600.0, prequeue_opens_at=early)
    people = [(person.id, sale) for person in make_accounts(db, 40)]
    race = crowd.run(database_url, errands.join, people, threads=10)
    assert race.refused == {}
    published = db.read(lottery.find_publication, sale)
    assert published is not None
    stays = [db.read(waiting_room.get_stay, one.entry_id) for one in race.values]
    assert all(stay.joined_at >= published.sealed_at for stay in stays)
    told = select(JournalEntry.facts).where(JournalEntry.kind == "lottery_sealed")
    [sealed] = db.read(lambda tx: tx.execute(told).scalars().all())
    assert sealed["seed_hash"] == published.seed_hash
    assert_sound(db)
