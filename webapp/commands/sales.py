"""Putting something on sale from the command line: a hall that is generated, an event, a performance."""

import re
import secrets
import unicodedata
import uuid
from dataclasses import dataclass
from datetime import timedelta

import click
from flask.cli import with_appcontext

from webapp.commands.speaking import Operation, say
from webapp.db import Database, Tx
from webapp.domain import accounts, halls, sales
from webapp.domain.accounts import NewAccount
from webapp.domain.catalogue import Price
from webapp.domain.errors import Denied, NotFound
from webapp.domain.halls import Plan
from webapp.web.house import house

HOUSE_ORGANISER = "organiser@jari.invalid"  # an address that can never be anybody's (RFC 2606)
DAY_SECONDS = 86_400.0
SECONDS = click.FloatRange(-10_000 * DAY_SECONDS, 10_000 * DAY_SECONDS)
NUMBER_MAX = 2**31 - 1  # what a column holds
TITLE_MAX = 200
SLUG_WORDS_MAX = 80


@dataclass(frozen=True, slots=True)
class Hall:
    """A stored hall, and where it is."""

    venue_id: int
    seatmap_id: int


@dataclass(frozen=True, slots=True)
class Terms:
    """One sale as the operator asked for it; times in seconds from now."""

    title: str
    price_minor: int
    prequeue_opens_in: float | None
    opens_in: float
    closes_in: float
    capacity: int | None
    rate_per_minute: int
    session_seconds: int
    hold_seconds: int
    seats_max: int
    organiser: str | None
    currency: str


def store_hall(db: Database, plan: Plan, venue: str, address: str = "") -> Hall:
    """Store a hall unless it is there; two processes may do so at once.

    A transaction of its own, so that the writers of a running sale wait less long for SQLite's lock.
    """
    plan.version  # noqa: B018 - a hash over every seat, taken before the transaction begins
    return db.transact(
        _store_hall, plan, venue, address, instead={"uq_seatmap_version": _store_hall}
    )


def _store_hall(tx: Tx, plan: Plan, venue: str, address: str) -> Hall:
    venue_id = halls.find_or_create_venue(tx, venue, address)
    return Hall(venue_id, halls.store(tx, plan, venue_id))


def _check_title(_ctx: click.Context, _param: click.Parameter, title: str) -> str:
    if not 1 <= len(title.strip()) <= TITLE_MAX or not title.isprintable():
        raise click.BadParameter(f"a title has 1 to {TITLE_MAX} printable characters")
    return title.strip()


@click.command("new-sale", cls=Operation)
@click.option(
    "--title",
    default="A concert",
    show_default=True,
    callback=_check_title,
    help="What is advertised; the event's address is made of it.",
)
@click.option(
    "--seats",
    type=click.IntRange(1, halls.SEATS_MAX),
    default=2_000,
    show_default=True,
    help="How many seats the generated hall has.",
)
@click.option(
    "--price-minor",
    type=click.IntRange(0, 10**12),
    default=50_000,
    show_default=True,
    help="What a seat costs, in the currency's minor unit (won; cents).",
)
@click.option(
    "--opens-in",
    type=SECONDS,
    default=0.0,
    show_default=True,
    help="Seconds until the sale opens; less than 0: it opened so long ago.",
)
@click.option(
    "--prequeue-opens-in",
    type=SECONDS,
    help="Seconds until people may come and take part in the lottery; without it nobody may, early.",
)
@click.option(
    "--closes-in",
    type=SECONDS,
    show_default="30 days after it opens",
    help="Seconds until the sale closes; the performance starts an hour later.",
)
@click.option(
    "--capacity",
    type=click.IntRange(0, NUMBER_MAX),
    default=500,
    show_default=True,
    help="How many may choose and pay at once. 0 admits nobody.",
)
@click.option(
    "--rate-per-minute",
    type=click.IntRange(0, NUMBER_MAX),
    default=600,
    show_default=True,
    help="How many are admitted within any 60 seconds at most. 0 admits nobody.",
)
@click.option(
    "--no-waiting-room",
    is_flag=True,
    help="Admit everybody at once; capacity and rate are not used.",
)
@click.option(
    "--session-seconds",
    type=click.IntRange(1, NUMBER_MAX),
    default=600,
    show_default=True,
    help="How long one may choose and pay once admitted.",
)
@click.option(
    "--hold-seconds",
    type=click.IntRange(1, NUMBER_MAX),
    default=300,
    show_default=True,
    help="How long chosen seats are held for payment.",
)
@click.option(
    "--seats-max",
    type=click.IntRange(1, NUMBER_MAX),
    default=4,
    show_default=True,
    help="How many seats one customer may have, all bookings together.",
)
@click.option(
    "--organiser",
    metavar="EMAIL",
    help=f"Whose event it is; without it {HOUSE_ORGANISER}, who cannot sign in.",
)
@with_appcontext
def new_sale(
    title: str,
    seats: int,
    price_minor: int,
    opens_in: float,
    prequeue_opens_in: float | None,
    closes_in: float | None,
    capacity: int,
    rate_per_minute: int,
    no_waiting_room: bool,
    session_seconds: int,
    hold_seconds: int,
    seats_max: int,
    organiser: str | None,
) -> None:
    """Put one performance in a generated hall on sale."""
    if closes_in is None:
        closes_in = opens_in + 30 * DAY_SECONDS
    if not opens_in < closes_in:
        raise click.UsageError("the sale must close after it opens")
    if prequeue_opens_in is not None and not prequeue_opens_in < opens_in:
        raise click.UsageError("the pre-queue must open before the sale")
    terms = Terms(
        title,
        price_minor,
        prequeue_opens_in,
        opens_in,
        closes_in,
        None if no_waiting_room else capacity,
        rate_per_minute,
        session_seconds,
        hold_seconds,
        seats_max,
        organiser,
        house().config.currency,
    )
    db = house().db
    hall = store_hall(db, halls.generate(seats, ["standard"]), "Generated halls")
    performance_id, slug = db.transact(_open, terms, hall, instead={"uq_account_email": _open})
    say(
        {"event_slug": slug, "performance_id": performance_id},
        f"Performance {performance_id} of {slug}: {seats:,} seats.",
    )


def _open(tx: Tx, terms: Terms, hall: Hall) -> tuple[int, str]:
    slug = f"{slugify(terms.title)}-{secrets.token_hex(4)}"
    organiser_id = _get_organiser(tx, terms)
    event_id = sales.add_event(tx, slug, terms.title, "", hall.venue_id, organiser_id)
    closes_at = tx.now + timedelta(seconds=terms.closes_in)
    early = terms.prequeue_opens_in
    values = {
        "event_id": event_id,
        "seatmap_id": hall.seatmap_id,
        "currency": terms.currency,
        "starts_at": closes_at + timedelta(hours=1),
        "prequeue_opens_at": None if early is None else tx.now + timedelta(seconds=early),
        "sales_open_at": tx.now + timedelta(seconds=terms.opens_in),
        "sales_close_at": closes_at,
        "capacity": terms.capacity,
        "rate_per_minute": terms.rate_per_minute,
        "session_seconds": terms.session_seconds,
        "hold_seconds": terms.hold_seconds,
        "seats_max": terms.seats_max,
    }
    prices = [Price("standard", "Standard", terms.price_minor)]
    return sales.open_performance(tx, values, prices), slug


def _get_organiser(tx: Tx, terms: Terms) -> uuid.UUID:
    """Return whose event it will be; raise NotFound, or Denied for somebody who sells nothing."""
    found = accounts.find_person(tx, terms.organiser or HOUSE_ORGANISER)
    if found is None and terms.organiser is None:
        new = NewAccount(uuid.uuid4(), HOUSE_ORGANISER, "The house", "organiser")
        accounts.create(tx, [new], terms.currency, timedelta())
        return new.id
    if found is None:
        raise NotFound(organiser=terms.organiser)
    if found.role != "organiser":
        raise Denied(organiser=terms.organiser, role=found.role)
    return found.id


def slugify(title: str) -> str:
    """Make a title's part of an address: lower-case letters of any script, digits and hyphens."""
    words = re.sub(r"[\W_]+", "-", unicodedata.normalize("NFC", title).lower())
    return words[:SLUG_WORDS_MAX].strip("-") or "event"
