"""For every call of the API one request that succeeds, to be spoilt in one thing at a time."""

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from tests.builders import make_sale
from tests.web.contract import Api
from tests.web.visitors import Visitor, door_steward, new_key, visitor
from webapp.domain import catalogue, lottery

Given = dict[str, Any]


def given(api: Api, name: str) -> Given:
    """Return what makes the call `name` succeed once."""
    return GIVEN[name](api)


def held(api: Api) -> Visitor:
    return visitor(api).join().choose()


def paid(api: Api) -> Visitor:
    return held(api).pay()


def _slug(api: Api, performance_id: int) -> str:
    return api.db.read(catalogue.get_sale, performance_id).event_slug


def sign_up() -> Given:
    email = f"{uuid.uuid4().hex}@example.com"
    return {"json": {"email": email, "password": "long enough", "name": "Somebody"}}


def sign_in(api: Api) -> Given:
    new = sign_up()["json"]
    api.ok("create_account", json=new)
    return {"json": {"email": new["email"], "password": new["password"]}}


def poll(v: Visitor) -> Given:
    return {"waiting": v.waiting, "path": v.path}


def hold(v: Visitor) -> Given:
    return {"who": v.who, "access": v.access, "path": v.path, "json": {"seats": ["ST-A-1"]}}


def drawn_lottery(api: Api) -> int:
    """Make a sale whose lottery was drawn."""
    early = api.db.clock.now() - timedelta(seconds=1)
    sale = make_sale(api.db, capacity=5, opens_in=5.0, prequeue_opens_at=early)
    api.db.transact(lottery.seal, sale, b"s" * 32)
    api.db.clock.advance(6)
    api.db.transact(lottery.close, sale)
    api.db.transact(lottery.draw, sale)
    return sale


def pay(v: Visitor) -> Given:
    return {"who": v.who, "access": v.access, "key": new_key(), "json": v.holding}


GIVEN: dict[str, Callable[[Api], Given]] = {
    "create_account": lambda api: sign_up(),
    "create_session": sign_in,
    "end_session": lambda api: {"who": visitor(api).who},
    "list_events": lambda api: {},
    "get_event": lambda api: {"path": {"slug": _slug(api, make_sale(api.db))}},
    "get_performance": lambda api: {"path": visitor(api).path},
    "get_seatmap": lambda api: {"path": visitor(api).path},
    "get_availability": lambda api: {"path": visitor(api).path},
    "list_seats": lambda api: {"path": visitor(api).path},
    "get_lottery": lambda api: {"path": {"performance_id": drawn_lottery(api)}},
    "join_queue": lambda api: {"who": (v := visitor(api)).who, "path": v.path},
    "poll_queue": lambda api: poll(visitor(api).join()),
    "leave_queue": lambda api: {"who": (v := visitor(api).join()).who, "path": v.path},
    "place_hold": lambda api: hold(visitor(api).join()),
    "get_hold": lambda api: {"who": (v := held(api)).who, "path": v.holding},
    "release_hold": lambda api: {"who": (v := held(api)).who, "path": v.holding},
    "get_wallet": lambda api: {"who": visitor(api).who},
    "list_wallet_entries": lambda api: {"who": visitor(api).who},
    "top_up": lambda api: {
        "who": visitor(api).who,
        "key": new_key(),
        "json": {"amount_minor": 500},
    },
    "pay": lambda api: pay(held(api)),
    "list_bookings": lambda api: {"who": paid(api).who},
    "get_booking": lambda api: {"who": (v := paid(api)).who, "path": v.booked},
    "cancel": lambda api: {"who": (v := paid(api)).who, "key": new_key(), "path": v.booked},
    "get_ticket_svg": lambda api: {"who": (v := paid(api)).who, "path": v.ticket},
    "get_ticket_pdf": lambda api: {"who": (v := paid(api)).who, "path": v.ticket},
    "scan": lambda api: {"who": door_steward(api.db), "json": paid(api).shown},
}
