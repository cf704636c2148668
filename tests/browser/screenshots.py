"""Pictures of the main pages: `python -m tests.browser.screenshots [FOLDER] [--dark]`.

Of the real service with a real browser, on a phone's screen; FOLDER is docs/screenshots by default.
"""

import argparse
import re
import tempfile
from pathlib import Path

from playwright.sync_api import Browser

from tests.browser.live import Live, serve
from tests.browser.visitor import Visitor, launched
from tests.builders import enter, make_accounts, make_sale, place
from webapp.db import Tx
from webapp.domain import waiting_room
from webapp.domain.catalogue import Price
from webapp.domain.waiting_room import Pass

PHONE = {"width": 390, "height": 844}
LEVELS = (
    Price("r", "R", 132_000),
    Price("s", "S", 110_000),
    Price("a", "A", 88_000),
    Price("b", "B", 66_000),
)
DESCRIPTION = (
    "The orchestra opens its season with Yun Isang and Brahms. "
    "Doors open 45 minutes before the concert; there is one interval."
)


def prepare(live: Live) -> tuple[int, list[Pass]]:
    """Put a concert on sale in a hall of 2,000, with others inside already; return it and them."""
    performance_id = make_sale(
        live.db,
        title="Autumn concert: Seoul Chamber Orchestra",
        description=DESCRIPTION,
        venue="Hangang Concert Hall",
        slug="autumn-concert",
        seats=2_000,
        levels=LEVELS,
        capacity=3,
        seats_max=6,
    )
    others = [
        enter(live.db, customer, performance_id)
        for customer in make_accounts(live.db, 3, balance_minor=10_000_000)
    ]
    for admitted, first in zip(others, (4, 60, 110), strict=True):
        place(live.db, admitted, range(first, first + 6), 132_000)
    return performance_id, others


def leave(live: Live, admitted: Pass) -> None:
    """Let one of the others go, so that the usher lets the next one in."""

    def work(tx: Tx) -> bool:
        return waiting_room.end(tx, admitted.entry_id, admitted.account_id, "left")

    live.db.transact(work)


def take(live: Live, browser: Browser, folder: Path, scheme: str) -> None:
    """Walk the whole chain and take a picture at each station."""
    performance_id, others = prepare(live)
    context = browser.new_context(
        viewport=PHONE, device_scale_factor=2, color_scheme="dark" if scheme else "light"
    )
    visitor = Visitor(context.new_page(), live.address)
    page = visitor.page

    def picture(name: str) -> None:
        page.screenshot(path=folder / f"{name}{scheme}.png")

    page.goto(f"{live.address}/events/autumn-concert")
    picture("event")
    visitor.sign_up(performance_id)
    picture("performance")
    visitor.join()
    page.get_by_text("You are next").wait_for()
    picture("waiting")
    leave(live, others[0])
    visitor.arrive()
    picture("seats")
    page.get_by_role("link", name="Stalls").click()
    page.get_by_role("heading", name=re.compile("^Stalls")).scroll_into_view_if_needed()
    page.get_by_role("checkbox", name=re.compile("^Row A, seat 15 free")).check()
    picture("rows")
    visitor.hold_best(2)
    picture("checkout")
    visitor.top_up_and_pay()
    picture("tickets")
    page.goto(f"{live.address}/wallet")
    picture("wallet")


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("docs/screenshots"))
    parser.add_argument("--dark", action="store_const", const="-dark", default="", dest="scheme")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder)) as live:
        with launched() as browser:
            take(live, browser, options.folder, options.scheme)


if __name__ == "__main__":
    main()
