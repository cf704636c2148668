"""The demo: a house that a newcomer can use at once, made again as often as it is asked for.

Promises:

1. Running it again adds only what is missing: a sale that closed or sold out, money that was spent.
2. Afterwards at least two performances can be bought at once, and a sale that opens ten minutes after it
   was made is there or was bought into today.
3. Two runs at once make one demo.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import click
from flask.cli import with_appcontext

from webapp.commands.sales import Hall, store_hall
from webapp.commands.speaking import Operation, say
from webapp.db import Tx, new_id
from webapp.domain import accounts, auditoriums, catalogue, sales, seatmap, wallet
from webapp.domain.accounts import NewAccount
from webapp.domain.catalogue import Price
from webapp.domain.errors import NotFound
from webapp.web.house import House, house
from webapp.web.sessions import HASHER

PASSWORD = "jari-demo"
PEOPLE = (
    ("buyer@example.com", "Buyer Kim", "customer"),
    ("organiser@example.com", "Organiser Lee", "organiser"),
    ("door@example.com", "Door Steward Park", "door"),
)
BUYER, ORGANISER = PEOPLE[0][0], PEOPLE[1][0]
BALANCE_MINOR = 1_000_000
BALANCE_LOW_MINOR = 400_000
SEATS = 2_000
PRICES = (
    Price("VIP", "VIP", 165_000),
    Price("R", "R", 143_000),
    Price("S", "S", 121_000),
    Price("A", "A", 99_000),
)
# 19:30 in Seoul, in UTC.
EVENING = {"hour": 10, "minute": 30, "second": 0, "microsecond": 0}


@dataclass(frozen=True, slots=True)
class Show:
    """An event of the demo, and how many of its performances must be on sale or about to be.

    `closes_after` is how long a sale lasts; without it, until an hour before the performance.
    """

    slug: str
    title: str
    description: str
    performances: int
    days_ahead: int
    opens_in: timedelta = timedelta()
    closes_after: timedelta | None = None


SHOWS = (
    Show(
        "winter-light",
        "Winter Light",
        "A symphony orchestra, a choir of ninety, and the longest night of the year.",
        performances=2,
        days_ahead=14,
    ),
    # A sale of one day, so that the demo of another day has one to wait for again.
    Show(
        "songs-by-the-river",
        "Songs by the River",
        "One voice, one guitar, one evening. The sale opens for everybody at the same moment.",
        performances=1,
        days_ahead=30,
        opens_in=timedelta(minutes=10),
        closes_after=timedelta(days=1),
    ),
)


@click.command(cls=Operation)
@with_appcontext
def demo() -> None:
    """Make the demo, or mend it: events on sale, accounts to sign in with, money to spend.

    The accounts have a password that everybody knows: never in a house that sells real tickets.
    """
    facts = make_demo(house())
    say(facts, f"The demo is ready.\n\n{logins()}")


def logins() -> str:
    """Say who can sign in, for people."""
    lines = [f"  {email:<24}{role:<12}{PASSWORD}" for email, _, role in PEOPLE]
    return "\n".join(["Sign in as", *lines])


def make_demo(house: House) -> dict[str, Any]:
    """Add what is missing; return the demo's events and accounts."""
    db, currency = house.db, house.config.currency
    _make_people(house)
    db.transact(_refill, new_id())
    plan = auditoriums.plan(SEATS, [price.code for price in PRICES], "Main hall")
    hall = store_hall(db, plan, "Jari Concert Hall", "1 Music Street, Seoul")
    for show in SHOWS:
        while db.transact(
            _add_performance, show, hall, currency, instead={"uq_event_slug": _add_performance}
        ):
            pass
    return {
        "events": [
            {"slug": listing.slug, "performance_ids": list(listing.performance_ids)}
            for listing in (db.read(catalogue.get_event, show.slug) for show in SHOWS)
        ],
        "accounts": [
            {"email": email, "role": role, "password": PASSWORD} for email, _, role in PEOPLE
        ],
    }


def _make_people(house: House) -> None:
    new = [
        NewAccount(
            uuid.uuid4(),
            email,
            name,
            role,
            password_hash=HASHER.hash(PASSWORD),
            balance_minor=BALANCE_MINOR if email == BUYER else 0,
            ledger_id=new_id(),
        )
        for email, name, role in PEOPLE
        if house.db.lookup(accounts.find_person, email) is None
    ]
    if new:
        lifetime = timedelta(hours=house.config.session_hours)
        house.db.transact(
            _add_people,
            new,
            house.config.currency,
            lifetime,
            instead={"uq_account_email": _add_people},
        )


def _add_people(
    tx: Tx, new: Sequence[NewAccount], currency: str, session_lifetime: timedelta
) -> None:
    missing = [person for person in new if accounts.find_person(tx, person.email) is None]
    if missing:
        accounts.create(tx, missing, currency, session_lifetime)


def _refill(tx: Tx, ledger_id: uuid.UUID) -> None:
    buyer = accounts.find_person(tx, BUYER)
    assert buyer is not None
    balance = wallet.get(tx, buyer.id).balance_minor
    if balance < BALANCE_LOW_MINOR:
        wallet.top_up(tx, buyer.id, ledger_id, BALANCE_MINOR - balance)


def _add_performance(tx: Tx, show: Show, hall: Hall, currency: str) -> bool:
    """Add one performance to a show that has too few; return whether it did.

    One at a time, each in a transaction that counts again: so two runs at once make one demo.
    """
    event_id, performance_ids = _get_or_add_event(tx, show, hall)
    all_rules = [catalogue.get_rules(tx, performance_id) for performance_id in performance_ids]
    usable = [rules for rules in all_rules if _is_usable(tx, rules)]
    if len(usable) >= show.performances:
        return False
    starts_at = _next_evening(tx.now, show.days_ahead, [rules.starts_at for rules in all_rules])
    opens_at = tx.now + show.opens_in
    values = {
        "event_id": event_id,
        "seatmap_id": hall.seatmap_id,
        "currency": currency,
        "starts_at": starts_at,
        "prequeue_opens_at": tx.now + show.opens_in / 2 if show.opens_in else None,
        "sales_open_at": opens_at,
        "sales_close_at": opens_at + show.closes_after
        if show.closes_after
        else starts_at - timedelta(hours=1),
        "capacity": 300,
        "rate_per_minute": 600,
        "session_seconds": 600,
        "hold_seconds": 300,
        "seats_max": 4,
    }
    sales.open_performance(tx, values, PRICES)
    return True


def _get_or_add_event(tx: Tx, show: Show, hall: Hall) -> tuple[int, Sequence[int]]:
    try:
        listing = catalogue.get_event(tx, show.slug)
    except NotFound:
        organiser = accounts.find_person(tx, ORGANISER)
        assert organiser is not None
        added = sales.add_event(
            tx, show.slug, show.title, show.description, hall.venue_id, organiser.id
        )
        return added, ()
    return listing.id, listing.performance_ids


def _is_usable(tx: Tx, rules: catalogue.Rules) -> bool:
    sold_out = seatmap.has_sold_out(tx, rules.id)
    return rules.status(tx.now, sold_out=sold_out) in ("scheduled", "prequeue", "open")


def _next_evening(now: datetime, days_ahead: int, taken: Sequence[datetime]) -> datetime:
    evening = (now + timedelta(days=days_ahead)).replace(**EVENING)  # type: ignore[arg-type]
    while evening in taken:
        evening += timedelta(days=1)
    return evening
