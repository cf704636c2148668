"""Every page of the service, with somebody to whom it has something to show.

`screenshots`, the check for accessibility and the budgets all walk these, so a page that is added here is looked
at, measured and checked.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from playwright.sync_api import Browser, Page

from tests.browser.live import Live
from tests.builders import Customer, enter, make_accounts, make_sale, pay, place
from webapp.db import new_id
from webapp.domain import bookings, lottery, rooms, waiting_room
from webapp.domain.catalogue import Price
from webapp.domain.errors import HoldExpired
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
MESSAGE = "공연장 문은 공연 45분 전에 열립니다. Doors open 45 minutes before the concert."
BEACON = "drand quicknet, round 14000000"
OPENS_IN = 3.0  # after the pre-queue: time enough to join it
DRAWN_SECONDS = 60.0


@dataclass(frozen=True)
class Station:
    """A page: where it is, who looks at it (nobody: a stranger), what it shows when it is ready, and its status."""

    name: str
    path: str
    who: Customer | None = None
    ready: str = "main h1"
    status: int = 200


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
    now = live.db.clock.now()
    early_sale = make_sale(
        live.db,
        title="Songs by the River",
        prequeue_opens_at=now - timedelta(minutes=10),
        opens_in=3_600,
        capacity=100,
        starts_in=evening(live, 20),
        **house,
    )
    crowded = make_sale(
        live.db,
        title="Winter Light",
        prequeue_opens_at=now - timedelta(minutes=10),
        opens_in=OPENS_IN,
        capacity=0,
        starts_in=evening(live, 30),
        room={"message": MESSAGE, "beacon_source": BEACON},
        **house,
    )
    early, waiting, *others = make_accounts(live.db, 5, balance_minor=1_000_000)
    _join(live, crowded, *others, waiting)
    _join(live, early_sale, *others, early)
    _sell_out(live, title="The last evening", organiser=organiser, starts_in=evening(live, 3))
    _let_others_buy(live, sale)
    choosing, paying, late, owner, hindered = make_accounts(live.db, 5, balance_minor=1_000_000)
    enter(live.db, choosing, sale)
    enter(live.db, late, sale)
    place(live.db, enter(live.db, paying, sale), [430, 431], 165_000)
    admitted = enter(live.db, owner, sale)
    booked = pay(live.db, admitted, place(live.db, admitted, [440, 441], 165_000))
    again = enter(live.db, hindered, sale)
    given_back = pay(live.db, again, place(live.db, again, [450, 451], 165_000))
    live.db.transact(bookings.cancel, given_back, new_id())
    for guest in make_accounts(live.db, 2):
        live.db.transact(rooms.invite, crowded, organiser.id, guest.email)
    _draw(live, crowded, organiser)
    here, booking = f"/performances/{sale}", f"/bookings/{booked.reference}"
    return [
        Station("events", "/"),
        Station("search", "/?q=winter"),
        Station("event", "/events/autumn-concert"),
        Station("performance", here),
        Station("sign-in", "/sign-in"),
        Station("sign-up", "/sign-up"),
        Station("early", f"/performances/{early_sale}/queue", early, "p.big"),
        Station("waiting", f"/performances/{crowded}/queue", waiting, "dd.big"),
        Station("seats", f"{here}/seats", choosing, "#map[data-ready]"),
        Station("rows", f"{here}/seats?at=1B#pick", choosing, "#map[data-ready]"),
        Station("checkout", f"{here}/checkout", paying),
        Station("no-hold", f"{here}/checkout", late, status=HoldExpired.status),
        Station("tickets", booking, owner, "#kept:not(.later)"),
        Station("bookings", "/bookings", owner),
        Station("cancelled", f"/bookings/{given_back.reference}", hindered),
        Station("cancellation", f"{booking}/cancellation", owner),
        Station("wallet", "/wallet", owner),
        Station("door", "/door", steward),
        Station("door-check", f"/door/{sale}", steward),
        Station("organiser", "/organiser", organiser),
        Station("room", f"/organiser/performances/{crowded}/room", organiser),
        Station("lottery", f"/performances/{crowded}/lottery", ready="main dl"),
        Station("nothing", "/nothing/here", owner, status=404),
        Station("api", "/api/v1/docs"),
    ]


def evening(live: Live, days: int) -> float:
    """Return in how many seconds it is half past seven in the evening, `days` from now."""
    now = live.db.clock.now().astimezone(ZONE)
    then = (now + timedelta(days=days)).replace(hour=19, minute=30, second=0, microsecond=0)
    return (then - now).total_seconds()


def _join(live: Live, sale: int, *customers: Customer) -> None:
    for customer in customers:
        live.db.transact(waiting_room.join, Arrival(new_id(), sale, customer.id, None))


def _draw(live: Live, sale: int, organiser: Customer) -> None:
    """Enter the beacon once the usher has closed the lottery; wait until the usher has drawn it."""
    entered = False
    for _ in range(int(DRAWN_SECONDS * 10)):
        published = live.db.read(lottery.find_publication, sale)
        if published and published.drawn_at:
            return
        if published and published.closed_at and not entered:
            live.db.transact(lottery.set_beacon, sale, organiser.id, "c0ffee" * 8)
            entered = True
        time.sleep(0.1)
    raise RuntimeError("the lottery was not drawn")


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
    live: Live,
    browser: Browser,
    station: Station,
    prepare: Callable[[Page], None] = lambda _: None,
    **options: Any,
) -> Iterator[tuple[Page, list[Any]]]:
    """Open a page and wait until it is ready; yield it and the answers that it took. `prepare` is called before it opens."""
    context = browser.new_context(**options)
    if station.who is not None:
        cookie = {"name": COOKIE, "value": station.who.session, "url": live.address}
        context.add_cookies([cookie])
    page = context.new_page()
    answers: list[Any] = []

    def keep(answer: Any) -> None:
        answers.append(answer)

    trouble: list[str] = []
    # Chromium complains about an address that is not there, and one is meant not to be.
    expected = f"the server responded with a status of {station.status} "

    def complain(line: Any) -> None:
        if line.type == "error" and expected not in line.text:
            trouble.append(line.text)

    page.on("response", keep)
    page.on("console", complain)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    prepare(page)
    answer = page.goto(live.address + station.path)
    assert answer
    assert answer.status == station.status
    page.locator(station.ready).first.wait_for(state="attached")
    yield page, answers
    context.close()
    assert trouble == [], "a page breaks its own policy, or its scripts"
