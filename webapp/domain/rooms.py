"""How the organiser wants a room to be: its limits and manners, its guests, and who must leave.

Promises:

1. Only the performance's organiser changes it (an operator may, from the command line), and every change
   is in the journal with what was set, and by whom.
2. What the lottery promised in public when it was sealed is not changed afterwards.
3. A sale that has opened stays open: when it did, decided who drew lots. It can be paused.
4. Raising and lowering limits counts from the usher's next round; nobody inside loses a turn by it.
"""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, select, update

from webapp.db import Tx, make
from webapp.domain import catalogue, holds, journal, waiting_room
from webapp.domain.catalogue import OF_ROOM, OF_SALE, Rules
from webapp.domain.errors import Invalid, NotFound
from webapp.domain.model import Account, Event, Guest, Lottery, Performance, Room, table_of

MESSAGE_MAX, BEACON_MAX, EMAIL_MAX = 500, 200, 254
_NO_TEXT = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")  # a database refuses it

_PERFORMANCE, _ROOM = table_of(Performance), table_of(Room)


@dataclass(frozen=True, slots=True)
class Settings:
    """How a room treats people; times in seconds, `idle_seconds` None for no limit."""

    arrival_seconds: int
    idle_seconds: int | None
    message: str
    beacon_source: str


def get_settings(tx: Tx, performance_id: int) -> Settings:
    """Read a room's manners; raise NotFound."""
    columns = [_ROOM.c[name] for name in Settings.__slots__]
    row = tx.execute(select(*columns).where(Room.performance_id == performance_id)).one_or_none()
    if row is None:
        raise NotFound()
    return make(Settings, row)


def change(
    tx: Tx, performance_id: int, organiser_id: uuid.UUID | None, changes: Mapping[str, Any]
) -> None:
    """Set what `changes` names of OF_SALE and OF_ROOM; raise NotFound, or Invalid naming the field.

    `organiser_id` None: an operator, who may change every room.
    """
    get_own(tx, performance_id, organiser_id)
    rules = catalogue.get_rules(tx, performance_id)
    changes = _keep_opening(tx, rules, changes)
    planned = {name: changes.get(name, getattr(rules, name)) for name in OF_SALE}
    if planned["sales_open_at"] >= rules.sales_close_at:
        raise _unfit("sales_open_at", "must be before the sale closes")
    early = planned["prequeue_opens_at"]
    if early is not None and early >= planned["sales_open_at"]:
        raise _unfit("prequeue_opens_at", "must be before the sale opens")
    for name, most in (("message", MESSAGE_MAX), ("beacon_source", BEACON_MAX)):
        if name in changes:
            check_text(name, changes[name], most)
    if "beacon_source" in changes:
        _refuse_after_sealing(tx, performance_id, changes["beacon_source"])
    for table, names, key in (
        (_PERFORMANCE, OF_SALE, _PERFORMANCE.c.id),
        (_ROOM, OF_ROOM, _ROOM.c.performance_id),
    ):
        mine = {name: changes[name] for name in names if name in changes}
        if mine:
            tx.execute(update(table).where(key == performance_id).values(mine))
    tx.record(
        "room_changed",
        performance_id=performance_id,
        changes=journal.as_facts(changes),
        by=journal.told_by(organiser_id),
    )


def _keep_opening(tx: Tx, rules: Rules, changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Refuse another opening for a sale that has opened; return the changes without it.

    Put off, it would look like a sale that is to come, and whoever joined it were next in a line that is drawn.
    """
    if "sales_open_at" not in changes or not _has_opened(tx, rules):
        return changes
    # A form brings back what it was given: seconds.
    if changes["sales_open_at"].replace(microsecond=0) != rules.sales_open_at.replace(
        microsecond=0
    ):
        raise _unfit("sales_open_at", "has passed: a sale that has opened can only be paused")
    return {name: value for name, value in changes.items() if name != "sales_open_at"}


def _has_opened(tx: Tx, rules: Rules) -> bool:
    """Whether the sale has opened, or its lottery was closed by one whose `now` was a little later than ours."""
    closed = select(Lottery.closed_at).where(Lottery.performance_id == rules.id)
    return tx.now >= rules.sales_open_at or tx.execute(closed).scalar_one_or_none() is not None


def get_own(tx: Tx, performance_id: int, organiser_id: uuid.UUID | None) -> None:
    """Raise NotFound unless the performance is there and its organiser's, or an operator (None) asks."""
    query = (
        select(Event.organiser_id)
        .join(Performance, Performance.event_id == Event.id)
        .where(Performance.id == performance_id)
    )
    owner = tx.execute(query).scalar_one_or_none()
    if owner is None or organiser_id not in (None, owner):
        raise NotFound()


def _refuse_after_sealing(tx: Tx, performance_id: int, source: str) -> None:
    sealed = tx.execute(
        select(Lottery.beacon_source).where(Lottery.performance_id == performance_id)
    ).scalar_one_or_none()
    if sealed is not None and sealed != source:
        raise _unfit("beacon_source", "was published when the pre-queue opened")


def check_text(name: str, text: str, most: int, least: int = 0) -> None:
    """Raise Invalid unless `text` has from `least` to `most` characters that any database stores."""
    if not least <= len(text) <= most or _NO_TEXT.search(text):
        raise _unfit(name, f"must have {least} to {most} characters and no control characters")


def _unfit(name: str, detail: str) -> Invalid:
    return Invalid(errors=[{"pointer": f"/{name}", "detail": detail}])


# -- guests, and who must leave -------------------------------------------------------------------


def invite(tx: Tx, performance_id: int, organiser_id: uuid.UUID | None, email: str) -> None:
    """Let somebody past the line: at the usher's next round if they wait, else when they join.

    They count as active and wait for a free place like everybody; the rate does not bind them.
    """
    get_own(tx, performance_id, organiser_id)
    account_id = _get_account(tx, email)
    if not _is_invited(tx, performance_id, account_id):
        guest = {"performance_id": performance_id, "account_id": account_id, "added_at": tx.now}
        tx.execute(insert(table_of(Guest)), guest)
        tx.record(
            "guest_invited",
            performance_id=performance_id,
            account_id=str(account_id),
            by=journal.told_by(organiser_id),
        )


def disinvite(tx: Tx, performance_id: int, organiser_id: uuid.UUID | None, email: str) -> None:
    """Take somebody off the guest list; raise NotFound if they are not on it."""
    get_own(tx, performance_id, organiser_id)
    account_id = _get_account(tx, email)
    if not _is_invited(tx, performance_id, account_id):
        raise NotFound(guest=email)
    tx.execute(
        delete(Guest).where(Guest.performance_id == performance_id, Guest.account_id == account_id)
    )
    tx.record(
        "guest_disinvited",
        performance_id=performance_id,
        account_id=str(account_id),
        by=journal.told_by(organiser_id),
    )


def _is_invited(tx: Tx, performance_id: int, account_id: uuid.UUID) -> bool:
    query = select(Guest.added_at).where(
        Guest.performance_id == performance_id, Guest.account_id == account_id
    )
    return tx.execute(query).one_or_none() is not None


def revoke(tx: Tx, performance_id: int, organiser_id: uuid.UUID | None, email: str) -> None:
    """End somebody's stay at once, waiting or inside, and any hold; raise NotFound without a stay."""
    get_own(tx, performance_id, organiser_id)
    stay = waiting_room.find_stay(tx, performance_id, _get_account(tx, email))
    if stay is None or not waiting_room.end(tx, stay.entry_id, stay.account_id, "revoked"):
        raise NotFound(stay=email)
    holds.leave(tx, performance_id, stay.account_id, stay.entry_id)
    tx.record(
        "queue_retired",
        performance_id=performance_id,
        entries=[str(stay.entry_id)],
        reason="revoked",
        by=journal.told_by(organiser_id),
    )


def list_guests(tx: Tx, performance_id: int) -> list[str]:
    """Read the addresses of the guests who have not come yet."""
    return list(
        tx.execute(
            select(Account.email)
            .join(Guest, Guest.account_id == Account.id)
            .where(Guest.performance_id == performance_id)
            .order_by(Guest.added_at)
        ).scalars()
    )


def _get_account(tx: Tx, email: str) -> uuid.UUID:
    check_text("email", email, EMAIL_MAX, least=1)
    found: uuid.UUID | None = tx.execute(
        select(Account.id).where(Account.email == email.strip().lower())
    ).scalar_one_or_none()
    if found is None:
        raise NotFound(account=email)
    return found
