"""People who use the API: each step over HTTP, each answer held to the document."""

import uuid
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import update

from jobs import usher
from tests.builders import Customer, enter, make_accounts, make_sale
from tests.web.contract import Api
from webapp.db import Database, Tx, seconds
from webapp.domain import accounts, leases, waiting_room
from webapp.domain.model import Performance
from webapp.domain.outlook import Room
from webapp.web.challenges import WINDOW_SECONDS
from webapp.web.house import House
from webapp.web.pacing import Pacing
from webapp.web.tokens import Tokens


@dataclass
class Visitor:
    """A customer at one performance, and what the API gave them so far."""

    api: Api
    who: Customer
    performance_id: int
    waiting: str = ""
    access: str | None = None
    hold: dict[str, Any] = field(default_factory=dict)
    booking: dict[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> dict[str, int]:
        return {"performance_id": self.performance_id}

    def join(self) -> "Visitor":
        place = self.api.ok("join_queue", self.who, path=self.path)
        self.waiting, self.access = place["waiting_token"], place.get("access_token")
        return self

    def choose(self, *seats: str) -> "Visitor":
        wish: dict[str, Any] = (
            {"seats": list(seats)} if seats else {"best_available": {"quantity": 2}}
        )
        self.hold = self.api.ok(
            "place_hold", self.who, access=self.access, path=self.path, json=wish
        )
        return self

    def pay(self) -> "Visitor":
        self.booking = self.api.ok(
            "pay",
            self.who,
            access=self.access,
            key=new_key(),
            json={"hold_id": self.hold["id"]},
        )
        return self

    def cancel(self) -> "Visitor":
        self.api.ok("cancel", self.who, key=new_key(), path=self.booked)
        return self

    def scan(self) -> "Visitor":
        self.api.ok("scan", door_steward(self.api.db), json=self.shown)
        return self

    @property
    def holding(self) -> dict[str, str]:
        return {"hold_id": self.hold["id"]}

    @property
    def booked(self) -> dict[str, str]:
        return {"reference": self.booking["reference"]}

    @property
    def ticket(self) -> dict[str, str]:
        return self.booked | {"code": self.booking["tickets"][0]["code"]}

    @property
    def shown(self) -> dict[str, Any]:
        """What the door's scanner sends for the first ticket."""
        return {"performance_id": self.performance_id, "code": self.ticket["code"]}


def visitor(
    api: Api, performance_id: int | None = None, *, balance_minor: int = 1_000_000
) -> Visitor:
    """Somebody new, at a new sale unless one is named."""
    [who] = make_accounts(api.db, balance_minor=balance_minor)
    return Visitor(api, who, make_sale(api.db) if performance_id is None else performance_id)


def door_steward(db: Database) -> Customer:
    return make_accounts(db, role="door")[0]


def new_key() -> str:
    return f"key-{uuid.uuid4().hex}"


def expired_session(db: Database, who: Customer) -> Customer:
    """The same customer with a session that ended a second ago."""
    token = f"session-{uuid.uuid4().hex}"
    lifetime = timedelta(seconds=-1)
    db.transact(accounts.open_session, who.id, accounts.digest(token), lifetime)
    return Customer(who.id, who.email, token)


def expired_token(tokens: Tokens, kind: str, text: str) -> str:
    """The same token, correctly signed, past its end."""
    claims = replace(tokens.read(kind, text), session=None)
    ended = replace(claims, expires_at=claims.issued_at - 1)
    return tokens._issue(kind, ended, {"num": claims.number, "ahd": claims.ahead})


def ush(api: Api) -> int:
    """Let the usher make one round; return how many were admitted."""
    fence = api.db.transact(leases.acquire, "usher")
    assert fence is not None
    try:
        return usher.run(api.db, fence)
    finally:
        api.db.transact(leases.release, "usher", fence)


def end_stay(api: Api, someone: Visitor, reason: str) -> None:
    claims = api.house.tokens.read("waiting", someone.waiting)
    assert api.db.transact(waiting_room.end, claims.entry_id, claims.account_id, reason)


def let_in(someone: Visitor) -> None:
    """Let somebody in past the room, by hand."""
    db, tokens = someone.api.db, someone.api.house.tokens
    admitted = enter(db, someone.who, someone.performance_id)
    someone.access = tokens.issue_access(db.read(waiting_room.get_stay, admitted.entry_id))


def change_performance(
    api: Api,
    performance_id: int,
    *,
    closes_in: float | None = None,
    cancel_in: float | None = None,
    paused: bool = False,
) -> None:
    """Change a sale's rules as its organiser would; times in seconds from now."""

    def work(tx: Tx) -> None:
        values: dict[str, Any] = {}
        if closes_in is not None:
            values["sales_close_at"] = tx.now + seconds(closes_in)
        if cancel_in is not None:
            values["cancel_until_at"] = tx.now + seconds(cancel_in)
        if paused:
            values["paused_at"] = tx.now
        tx.execute(update(Performance).where(Performance.id == performance_id).values(values))

    api.db.transact(work)
    api.house.sales.forget()


def keep_to(house: House, room: Room) -> None:
    """Let a process go by this snapshot of a room, like one that has not looked since."""
    slot = house.rooms._slot(room.performance_id)
    slot.value, slot.read_at = room, float("inf")


def stand_within_a_window(api: Api) -> None:
    """Move the clock to where no challenge becomes another one in the middle of a test."""
    into_it = api.db.clock.now().timestamp() % WINDOW_SECONDS
    api.db.clock.advance(WINDOW_SECONDS * 1.1 - into_it)


def let_time_pass(api: Api) -> None:
    """Let what processes remember grow old: who asked when, and every snapshot but the halls."""
    api.house.pacing = Pacing()
    house = api.house
    for snapshots in (house.sales, house.availability, house.rooms, house.numbers, house.events):
        snapshots.forget()
