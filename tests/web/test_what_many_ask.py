"""What a crowd asks for all at once is few bytes, and before a sold-out house no statement."""

import gzip
import json
import random
from datetime import UTC, datetime

import pytest

from tests.builders import make_sale
from tests.web.contract import Api, refused
from tests.web.visitors import let_time_pass, ush, visitor
from tests.web.watching import Watch
from webapp.web import seat_shapes
from webapp.web.bodies import Body

SEATS = 20_000
BYTES_A_SEAT_MAX = 0.3


def test_availability_is_a_third_of_a_byte_for_a_seat_when_packed() -> None:
    """The worst sale: each seat free, held or sold, whatever its neighbours are. (Blocked ones are blocks.)"""
    rng = random.Random(1)
    states = "".join(rng.choice("fhs") for _ in range(SEATS))
    now = datetime.now(UTC)
    body = Body(seat_shapes.availability("1", "0123456789abcdef", now, states, None))
    packed = body.finish("poll_after_ms", 15_000, packed=True)
    assert json.loads(gzip.decompress(packed))["states"] == states
    assert len(packed) <= BYTES_A_SEAT_MAX * SEATS


@pytest.mark.failure("F30")
def test_who_waits_before_a_sold_out_house_costs_no_statement(api: Api) -> None:
    """Joining, polling and looking: refused, or answered, from what the process knows."""
    sale = make_sale(api.db, seats=2, capacity=1)
    buyer = visitor(api, sale)
    waiting = visitor(api, sale)
    for one in (buyer, waiting):
        one.join()
        ush(api)
    buyer.join().choose("ST-A-1", "ST-A-2")
    let_time_pass(api)
    # Who has asked once since the numbers were given carries their own.
    place = api.ok("poll_queue", waiting.who, waiting=waiting.waiting, path=waiting.path)
    waiting.waiting = place["waiting_token"]
    buyer.pay()
    let_time_pass(api)
    late = visitor(api, sale)
    poll = {"waiting": waiting.waiting, "path": waiting.path}
    # The first ones bring the process up to date.
    refused(api.call("join_queue", late.who, path=late.path), 409, "sold_out")
    refused(api.call("poll_queue", waiting.who, **poll), 409, "sold_out")
    api.house.pacing = type(api.house.pacing)()
    with Watch(api.db) as watch:
        refused(api.call("join_queue", late.who, path=late.path), 409, "sold_out")
        refused(api.call("poll_queue", waiting.who, **poll), 409, "sold_out")
        seen = api.ok("get_availability", path=late.path)
        api.ok("list_seats", path=late.path, query={"status": "free"})
    assert seen["sold"] == 2
    assert watch.idle, watch.statements
