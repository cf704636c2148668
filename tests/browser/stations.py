"""Every page of the service, with somebody to whom it has something to show.

`screenshots`, the check for accessibility and the budgets all walk these, so a page that is added here is looked
at, measured and checked.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from playwright.sync_api import Browser, Page

from tests.browser.live import Live
from tests.builders import Customer, enter, make_accounts, make_sale, pay, place
from webapp.db import new_id
from webapp.domain import waiting_room
from webapp.domain.catalogue import Price
from webapp.domain.waiting_room import Arrival
from webapp.web.guards import COOKIE
from webapp.web.phrases import ZONE

LEVELS = (
    Price("vip", "VIP", 165_000),
    Price("r", "R", 132_000),
    Price("s", "S", 110_000),
    Price("a", "A", 88_000),
)
DESCRIPTION = (
    "The orchestra opens its season with Yun Isang and Brahms. "
    "Doors open 45 minutes before the concert; there is one interval."
)


@dataclass(frozen=True)
class Station:
    """A page: where it is, who looks at it (nobody: a stranger), and what it shows when it is ready."""

    name: str
    path: str
    who: Customer | None = None
    ready: str = "main h1"


def build(live: Live) -> list[Station]:
    """Make a house with something on every page; return the pages."""
    [organiser] = make_accounts(live.db, role="organiser")
    [steward] = make_accounts(live.db, role="door")
    house = {
        "levels": LEVELS,
        "auditorium": True,
        "seats": 2_000,
        "seats_max": 4,
        "hold_seconds": 900,
        "venue": "Hangang Concert Hall",
        "organiser": organiser,
    }
    title = "Autumn concert: Seoul Chamber Orchestra"
    sale = make_sale(
        live.db,
        starts_in=evening(live, 7),
        title=title,
        description=DESCRIPTION,
        slug="autumn-concert",
        **house,
    )
    make_sale(
        live.db, title="Songs by the River", opens_in=3_600, starts_in=evening(live, 20), **house
    )
    crowded = make_sale(
        live.db, title="Winter Light", starts_in=evening(live, 30), capacity=0, **house
    )
    _sell_out(live, title="The last evening", organiser=organiser, starts_in=evening(live, 3))
    _let_others_buy(live, sale)
    choosing, paying, late, owner, waiting = make_accounts(live.db, 5, balance_minor=1_000_000)
    enter(live.db, choosing, sale)
    enter(live.db, late, sale)
    place(live.db, enter(live.db, paying, sale), [430, 431], 165_000)
    admitted = enter(live.db, owner, sale)
    booked = pay(live.db, admitted, place(live.db, admitted, [440, 441], 165_000))
    for customer in (*make_accounts(live.db, 3), waiting):
        live.db.transact(waiting_room.join, Arrival(new_id(), crowded, customer.id, None))
    here, booking = f"/performances/{sale}", f"/bookings/{booked.reference}"
    return [
        Station("events", "/"),
        Station("search", "/?q=winter"),
        Station("event", "/events/autumn-concert"),
        Station("performance", here),
        Station("sign-in", "/sign-in"),
        Station("sign-up", "/sign-up"),
        Station("waiting", f"/performances/{crowded}/queue", waiting, "dd.big"),
        Station("seats", f"{here}/seats", choosing, "#map[data-ready]"),
        Station("rows", f"{here}/seats?at=1B#pick", choosing, "#map[data-ready]"),
        Station("checkout", f"{here}/checkout", paying),
        Station("no-hold", f"{here}/checkout", late),
        Station("tickets", booking, owner, "#kept:not([hidden])"),
        Station("bookings", "/bookings", owner),
        Station("cancellation", f"{booking}/cancellation", owner),
        Station("wallet", "/wallet", owner),
        Station("door", "/door", steward),
        Station("door-check", f"/door/{sale}", steward),
        Station("organiser", "/organiser", organiser),
        Station("nothing", "/nothing/here", owner),
    ]


def evening(live: Live, days: int) -> float:
    """Return in how many seconds it is half past seven in the evening, `days` from now."""
    now = live.db.clock.now().astimezone(ZONE)
    then = (now + timedelta(days=days)).replace(hour=19, minute=30, second=0, microsecond=0)
    return (then - now).total_seconds()


def _sell_out(live: Live, **more: Any) -> None:
    sale = make_sale(live.db, seats=2, levels=[Price("a", "A", 88_000)], **more)
    [buyer] = make_accounts(live.db)
    admitted = enter(live.db, buyer, sale)
    pay(live.db, admitted, place(live.db, admitted, [0, 1], 88_000))


def _let_others_buy(live: Live, sale: int) -> None:
    """Sell some seats and hold some, so that the map has something to tell apart."""
    for first in (0, 7, 40, 90, 345, 372, 380, 410, 500, 700, 1_000, 1_210, 1_400, 1_700):
        [other] = make_accounts(live.db)
        admitted = enter(live.db, other, sale)
        held = place(live.db, admitted, range(first, first + 4), 88_000)
        if first % 3:
            pay(live.db, admitted, held)


@contextmanager
def visit(
    live: Live, browser: Browser, station: Station, **options: Any
) -> Iterator[tuple[Page, list[Any]]]:
    """Open a page and wait until it is ready; yield it and the answers that it took."""
    context = browser.new_context(**options)
    if station.who is not None:
        cookie = {"name": COOKIE, "value": station.who.session, "url": live.address}
        context.add_cookies([cookie])
    page = context.new_page()
    answers: list[Any] = []

    def keep(answer: Any) -> None:
        answers.append(answer)

    trouble: list[str] = []

    def complain(line: Any) -> None:
        if line.type == "error" and "the server responded with a status of 4" not in line.text:
            trouble.append(line.text)

    page.on("response", keep)
    page.on("console", complain)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.goto(live.address + station.path)
    page.locator(station.ready).first.wait_for(state="attached")
    yield page, answers
    context.close()
    assert trouble == [], "a page breaks its own policy, or its scripts"
