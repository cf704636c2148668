"""What processes remember is never the only place where something stands."""

import pytest

from tests.builders import make_sale
from tests.web.contract import Api
from tests.web.visitors import let_time_pass, ush, visitor
from webapp.web.pacing import Pacing
from webapp.web.snapshots import Snapshots
from webapp.web.throttle import Throttle


@pytest.mark.failure("F15")
def test_strangers_fill_every_cache_and_nothing_is_lost(api: Api) -> None:
    """A place in the line, a hold on its way to payment, a session: all are there afterwards."""
    house = api.house
    sale = make_sale(api.db, capacity=1)
    buyer, second, third = (visitor(api, sale).join() for _ in range(3))
    ush(api)
    let_time_pass(api)
    place = api.ok("poll_queue", buyer.who, waiting=buyer.waiting, path=buyer.path)
    buyer.access = place["access_token"]
    buyer.choose()
    before = api.ok("poll_queue", third.who, waiting=third.waiting, path=third.path)

    for number in range(1_100):  # more than any of them keeps
        stranger = api.client.get(f"/api/v1/performances/{10**6 + number}")
        assert stranger.status_code == 404
    for kept in vars(house).values():
        if isinstance(kept, Snapshots):
            kept.forget()
    house.pacing = Pacing()
    house.throttle = Throttle(api.db, house.config.secret_key)

    after = api.ok("poll_queue", third.who, waiting=before["waiting_token"], path=third.path)
    assert (after["number"], after["ahead"]) == (before["number"], before["ahead"])
    buyer.pay()
    assert api.ok("get_wallet", buyer.who)["balance_minor"] < 1_000_000
    assert second.waiting
