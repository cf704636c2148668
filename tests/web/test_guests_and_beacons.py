"""What those who wait are told when others are let past them, and while there are no numbers yet; who seals."""

from datetime import timedelta
from typing import Any

import pytest

from tests.builders import make_sale
from tests.conftest import AdvancingClock
from tests.web.contract import Api
from tests.web.visitors import Visitor, let_time_pass, ush, visitor
from tests.web.watching import Watch
from webapp import nowait
from webapp.domain import catalogue, lottery, outlook, rooms
from webapp.web import actions, queue


def poll(person: Visitor) -> dict[str, Any]:
    """Ask in good time where somebody stands."""
    let_time_pass(person.api)
    place: dict[str, Any] = person.api.ok("poll_queue", waiting=person.waiting, path=person.path)
    person.waiting = place["waiting_token"]
    return place


def invite(api: Api, guest: Visitor) -> None:
    api.db.transact(rooms.invite, guest.performance_id, None, guest.who.email)


@pytest.fixture
def early(api: Api, clock: AdvancingClock) -> list[Visitor]:
    """Two who came before the opening of a sale whose lottery awaits a beacon since."""
    sale = make_sale(
        api.db,
        capacity=1,
        opens_in=60.0,
        prequeue_opens_at=clock.now() - timedelta(seconds=1),
        room={"beacon_source": "the weather"},
    )
    ush(api)
    people = [visitor(api, sale).join() for _ in range(2)]
    clock.advance(61)
    ush(api)
    let_time_pass(api)
    return people


@pytest.fixture
def unsealed(api: Api, clock: AdvancingClock) -> int:
    """A sale whose pre-queue has opened, and no usher has come."""
    early = clock.now() - timedelta(seconds=1)
    return make_sale(api.db, capacity=1, opens_in=60.0, prequeue_opens_at=early)


def test_who_comes_before_the_usher_seals_the_lottery(
    api: Api, clock: AdvancingClock, unsealed: int
) -> None:
    first, second = (visitor(api, unsealed) for _ in range(2))
    first.join()
    kept = api.ok("get_lottery", path=first.path)["seed_hash"]
    second.join()
    clock.advance(61)
    ush(api)
    drawn = api.ok("get_lottery", path=first.path)
    assert (drawn["seed_hash"], drawn["participants"]) == (kept, 2)


def test_joining_a_sealed_lottery_writes_an_entry_and_nothing_else(api: Api, unsealed: int) -> None:
    visitor(api, unsealed).join()
    second = visitor(api, unsealed)
    with Watch(api.db) as watch:
        second.join()
    written = [text.split()[2] for text in watch.statements if text.startswith("INSERT")]
    assert written == ["queue_entry", "journal_entry"]


def test_nobody_seals_who_may_not_wait(api: Api, unsealed: int) -> None:
    one = visitor(api, unsealed)
    house = api.house
    for snapshots in (house.sales, house.availability, house.rooms):
        snapshots.get(unsealed)
    with pytest.raises(nowait.MustWait):
        nowait.work(lambda: actions.join(house, one.who.id, unsealed))
    assert api.db.read(lottery.find_publication, unsealed) is None


def test_a_guest_hears_of_being_let_in_though_others_are_ahead(api: Api) -> None:
    """And those behind are told of one less."""
    sale = make_sale(api.db, capacity=0)
    first, guest, last = (visitor(api, sale).join() for _ in range(3))
    ush(api)
    assert [poll(person)["ahead"] for person in (first, guest, last)] == [0, 1, 2]
    invite(api, guest)
    api.db.transact(rooms.change, sale, None, {"capacity": 1})
    assert ush(api) == 1
    assert poll(guest)["status"] == "admitted"
    assert poll(last)["ahead"] == 1
    rules = api.db.read(catalogue.get_rules, sale)
    assert api.db.read(outlook.measure, rules).waiting == 2


def test_a_guest_who_missed_the_turn_is_told_so(api: Api, clock: AdvancingClock) -> None:
    sale = make_sale(api.db, capacity=0)
    _, guest = (visitor(api, sale).join() for _ in range(2))
    ush(api)
    poll(guest)
    invite(api, guest)
    api.db.transact(rooms.change, sale, None, {"capacity": 1})
    ush(api)
    api.db.transact(rooms.change, sale, None, {"capacity": 0})  # nobody else: the line stays ahead
    clock.advance(catalogue.ARRIVAL_SECONDS + 1)
    ush(api)
    let_time_pass(api)
    over = api.call("poll_queue", waiting=guest.waiting, path=guest.path)
    assert (over.status_code, over.json["reason"]) == (410, "no_show")


def test_a_guest_comes_in_before_the_beacon_is_known(api: Api, early: list[Visitor]) -> None:
    guest, other = early
    invite(api, guest)
    assert ush(api) == 1
    assert poll(guest)["status"] == "admitted"
    assert poll(other)["status"] == "waiting"


def test_while_a_beacon_is_awaited_nobody_is_looked_up(api: Api, early: list[Visitor]) -> None:
    """It may take hours: people ask seldom, and cost no statement."""
    poll(early[0])
    with Watch(api.db) as watch:
        place = api.ok("poll_queue", waiting=early[1].waiting, path=early[1].path)
    assert watch.idle, watch.statements
    assert (place["status"], place["number"]) == ("waiting", None)
    assert place["poll_after_ms"] >= queue.POLL_STANDING_MS * 0.8


def test_who_gets_no_number_asks_ever_more_seldom(api: Api, clock: AdvancingClock) -> None:
    """Nobody gives numbers, the scheduler is gone: each time one's row has to be asked."""
    person = visitor(api, make_sale(api.db, capacity=0)).join()
    assert poll(person)["poll_after_ms"] < 1.3 * queue.POLL_UNNUMBERED_MS
    clock.advance(60)
    assert poll(person)["poll_after_ms"] > 5 * queue.POLL_UNNUMBERED_MS
    clock.advance(6_000)
    assert poll(person)["poll_after_ms"] <= 1.2 * queue.POLL_STANDING_MS
