"""Pictures of every page in every language: `make screenshots`, or `python -m tests.browser.screenshots [FOLDER]`.

Of the real service with a real browser, on a phone; the pages that a desk sees differently on a desk too, and the
map and the checkout in the dark. FOLDER is docs/screenshots by default; each language has a folder in it.
"""

import argparse
import io
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page

from tests.browser.live import Live, serve
from tests.browser.stations import Station, build, visit
from tests.browser.test_seat_map import Looker
from tests.browser.visitor import launched
from webapp.web.languages import LANGUAGES

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
DESK = {"viewport": {"width": 1280, "height": 800}}
ON_A_DESK = ("events", "event", "seats", "map", "checkout", "tickets")
IN_THE_DARK = ("map", "checkout")
COLOURS = 256  # of a picture: a quarter of the bytes, and nobody sees the difference
SETTLED_MS = 500


def choose_on_the_map(page: Page, seats: dict[str, Any]) -> None:
    """Go into the middle of the stalls and choose three seats."""
    page.locator("#map").evaluate("map => map.scrollIntoView()")
    looker = Looker(page, seats)
    if not page.locator("#drawing.near").count():  # from far, the first tap is for the section
        looker.tap("1B-M-7")
    for label in ("1B-M-6", "1B-M-7", "1B-M-8"):
        looker.tap(label)


def take(live: Live, browser: Browser, folder: Path, station: Station, **options: Any) -> None:
    """Take one picture."""
    with visit(live, browser, station, **options, reduced_motion="reduce") as (page, _):
        if station.name == "map":
            answer = page.request.get(
                page.url.replace("/performances", "/api/v1/performances").replace(
                    "/seats", "/seatmap"
                )
            )
            choose_on_the_map(page, {seat["seat"]: seat for seat in answer.json()["seats"]})
        page.wait_for_timeout(SETTLED_MS)
        picture = Image.open(io.BytesIO(page.screenshot()))
    desk = "-desktop" if options["viewport"] == DESK["viewport"] else ""
    dark = "-dark" if options.get("color_scheme") == "dark" else ""
    target = folder / options["locale"] / f"{station.name}{desk}{dark}.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    # The widest choice of colours: a small sign's is worth as much as a large picture's.
    fewer = picture.convert("RGB").quantize(
        COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
    )
    fewer.save(target, optimize=True)


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("docs/screenshots"))
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as place, serve(Path(place)) as live:
        stations = build(live)
        seats = next(station for station in stations if station.name == "seats")
        stations.append(Station("map", seats.path, seats.who, seats.ready))
        with launched() as browser:
            for language in LANGUAGES:
                for station in stations:
                    take(live, browser, folder, station, **PHONE, locale=language)
                    if station.name in ON_A_DESK:
                        take(live, browser, folder, station, **DESK, locale=language)
                    if station.name in IN_THE_DARK:
                        dark = {**PHONE, "color_scheme": "dark"}
                        take(live, browser, folder, station, **dark, locale=language)


if __name__ == "__main__":
    main()
