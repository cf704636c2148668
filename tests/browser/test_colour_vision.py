"""The seat map as people see it who see colours otherwise, or none: read off the pixels that Chromium paints.

What is free, taken, marked or mine is told apart by how light it is and by its form, and each price by its form,
in the hall as in its legend. So nothing here looks at a hue.
"""

import io
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, expect

from tests.browser.live import Live
from tests.browser.test_chain import PHONE
from tests.browser.test_seat_map import Looker, looking
from tests.builders import Customer, enter, make_accounts, make_sale, pay, place
from webapp.domain.catalogue import Price

pytestmark = pytest.mark.browser

EYES = ["none", "protanopia", "deuteranopia", "tritanopia", "achromatopsia"]
LEVELS = [Price(f"p{rank}", f"Price {rank}", 160_000 - 20_000 * rank) for rank in range(6)]
SEATS = 100  # in one section whose rows have each of these prices
HELD, SOLD, CLOSED, MINE = 17, 18, 19, 20
PIXELS = 3  # of the screen for each of the page, as phones have
CELL = 33  # a seat, in so many points across
HALF = 5.5  # of a cell, in units of the hall: half of what is between two seats
MARK = 3.0  # WCAG 2.2, 1.4.11: what must be seen to tell things apart
TEXT = 4.5  # WCAG 2.2, 1.4.3
CHOSEN = 2.4  # what is chosen to what is free: besides, it is larger and has a tick
PIXELS_MAX = 10_000_000
IN_SIGHT = "([x, y]) => Boolean(document.elementFromPoint(x, y)?.closest('#drawing'))"
OTHER_FORM = 0.15  # of what two forms cover together, covered by one aloneIN_SIGHT = "([x, y]) => document.elementFromPoint(x, y)?.closest('#drawing') !== null"


@dataclass(frozen=True)
class Cell:
    """What is painted where a seat is: how light each point is, relative to white."""

    points: list[float]

    def at(self, x: float, y: float) -> float:
        """How light it is at a place, in units of the hall from the seat's middle."""
        column, row = (round((value + HALF) / (2 * HALF) * (CELL - 1)) for value in (x, y))
        return self.points[row * CELL + column]

    @property
    def ground(self) -> float:
        """What it is painted on: a seat's cell has it in its corners."""
        return self.at(HALF - 0.5, 0.5 - HALF)

    @property
    def body(self) -> float:
        """The seat itself, below its number or its tick."""
        return self.at(0, 3.2)

    @property
    def form(self) -> set[tuple[int, int]]:
        """The points that stand out from the ground, from the leftmost and from the topmost one."""
        ground = self.ground
        found = [
            divmod(at, CELL)
            for at, light in enumerate(self.points)
            if contrast(light, ground) >= MARK / 2
        ]
        top, left = min(row for row, _ in found), min(column for _, column in found)
        return {(row - top, column - left) for row, column in found}

    def most(self, against: float) -> float:
        """The strongest contrast to something in the middle of the cell."""
        middle = (self.at(x / 4, y / 4) for x in range(-12, 13) for y in range(-12, 13))
        return max(contrast(light, against) for light in middle)


def contrast(one: float, other: float) -> float:
    """WCAG's contrast of two relative luminances, from 1 to 21."""
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def differ(one: set[tuple[int, int]], other: set[tuple[int, int]]) -> float:
    """How much of two forms is in one of them alone: 0 for the same, 1 for nothing in common."""
    return len(one ^ other) / len(one | other)


def luminance(pixel: tuple[int, int, int]) -> float:
    red, green, blue = (
        value / 3294.6 if value <= 10 else ((value / 255 + 0.055) / 1.055) ** 2.4 for value in pixel
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@dataclass(frozen=True)
class Sight:
    """A picture of the page, and how to find things in it."""

    looker: Looker
    picture: Image.Image

    def seat(self, seat_no: int) -> Cell:
        """What is painted for a seat."""
        label = list(self.looker.seats)[seat_no]
        x, y = self.looker.where(label)
        return self.cell(x, y, HALF * self.looker.closeness)

    def key(self, rank: int) -> Cell:
        """What is painted for a price in the legend."""
        box = self.looker.page.locator(f".key[data-shape='{rank}'] .shape").bounding_box()
        assert box
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        return self.cell(*middle, box["width"] / 12 * HALF)

    def cell(self, x: float, y: float, half: float) -> Cell:
        box = [round(value * PIXELS) for value in (x - half, y - half, x + half, y + half)]
        part = self.picture.crop((box[0], box[1], box[2], box[3]))
        pixels = part.resize((CELL, CELL), Image.Resampling.BILINEAR).get_flattened_data()
        return Cell([luminance(pixel) for pixel in pixels])


@contextmanager
def seeing(
    live: Live, browser: Browser, eyes: str, scheme: str, sale: int, customer: Customer
) -> Iterator[Callable[[], Sight]]:
    """Come to the map with such eyes; what is yielded takes pictures."""
    options: dict[str, Any] = {**PHONE, "device_scale_factor": PIXELS, "color_scheme": scheme}
    with looking(live, browser, sale, customer, **options, reduced_motion="reduce") as looker:
        page = looker.page
        chromium = page.context.new_cdp_session(page)
        chromium.send("Emulation.setEmulatedVisionDeficiency", {"type": eyes})

        def look() -> Sight:
            looker.settle()
            picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            return Sight(looker, picture)

        yield look


@pytest.fixture(scope="module")
def sale(live: Live) -> tuple[int, Customer]:
    """A hall with six prices, where some seats are held, sold and closed."""
    performance_id = make_sale(live.db, seats=SEATS, levels=LEVELS, blocked=[CLOSED])
    holding, buying, customer = make_accounts(live.db, 3)
    place(live.db, enter(live.db, holding, performance_id), [HELD])
    admitted = enter(live.db, buying, performance_id)
    pay(live.db, admitted, place(live.db, admitted, [SOLD]))
    enter(live.db, customer, performance_id)
    return performance_id, customer


def come_near(looker: Looker) -> None:
    """Go into the section, so that its seats are shown, with the legend still in sight."""
    page = looker.page
    page.locator(".legend").evaluate("legend => legend.scrollIntoView()")
    if not page.locator("#drawing.near").count():
        looker.tap(next(iter(looker.seats)))
    expect(page.locator("#drawing.near")).to_be_attached()


def free_ones(looker: Looker) -> list[int]:
    """One free seat without a sign on it for each price, in the order of the legend."""
    return [
        next(
            seat_no
            for seat_no, seat in enumerate(looker.seats.values())
            if seat["price_level"] == level.code and not seat["accessible"]
        )
        for level in LEVELS
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("eyes", EYES)
def test_states_are_told_apart_by_light_and_by_form(
    live: Live, browser: Browser, sale: tuple[int, Customer], eyes: str, scheme: str
) -> None:
    with seeing(live, browser, eyes, scheme, *sale) as look:
        looker = look().looker
        come_near(looker)
        looker.tap(list(looker.seats)[MINE])
        sight = look()
        free = [sight.seat(seat_no) for seat_no in free_ones(looker)]
        taken = [sight.seat(seat_no) for seat_no in (HELD, SOLD, CLOSED)]
        mine = sight.seat(MINE)
        for cell in (*free, mine):
            assert contrast(cell.body, cell.ground) >= MARK
        for cell in taken:
            assert cell.most(cell.ground) >= MARK
            assert len(cell.form) < min(len(other.form) for other in free) / 2
        assert min(contrast(mine.body, cell.body) for cell in free) >= CHOSEN
        assert mine.most(mine.body) >= TEXT  # its tick
        for one, other in itertools.combinations([*free, *taken, mine], 2):
            assert differ(one.form, other.form) >= OTHER_FORM


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("eyes", EYES)
def test_prices_are_told_apart_by_form_as_the_legend_says(
    live: Live, browser: Browser, sale: tuple[int, Customer], eyes: str, scheme: str
) -> None:
    with seeing(live, browser, eyes, scheme, *sale) as look:
        looker = look().looker
        come_near(looker)
        sight = look()
        seats = [sight.seat(seat_no).form for seat_no in free_ones(looker)]
        keys = [sight.key(rank) for rank in range(len(LEVELS))]
        for one, other in itertools.combinations([key.form for key in keys], 2):
            assert differ(one, other) >= OTHER_FORM
        for rank, key in enumerate(keys):
            assert contrast(key.body, key.ground) >= MARK
            alike = [differ(key.form, seat) for seat in seats]
            assert alike.index(min(alike)) == rank


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("eyes", EYES)
def test_what_is_written_on_the_map_can_be_read(
    live: Live, browser: Browser, sale: tuple[int, Customer], eyes: str, scheme: str
) -> None:
    with seeing(live, browser, eyes, scheme, *sale) as look:
        looker = look().looker
        come_near(looker)
        for _ in range(2):
            looker.page.evaluate("document.querySelector('[data-zoom=in]').click()")
        assert looker.page.locator(".seatnumber").count() > 0
        sight = look()
        for seat_no in free_ones(looker):
            x, y = looker.where(list(looker.seats)[seat_no])
            if looker.page.evaluate(IN_SIGHT, [x, y]):
                cell = sight.seat(seat_no)
                assert cell.most(cell.body) >= TEXT  # its number


def test_whoever_sees_no_colours_is_shown_none(
    live: Live, browser: Browser, sale: tuple[int, Customer]
) -> None:
    """The other tests' eyes are really other eyes."""
    colours = {}
    for eyes in ("none", "achromatopsia"):
        with seeing(live, browser, eyes, "light", *sale) as look:
            found = look().picture.getcolors(PIXELS_MAX)
            assert found
            colours[eyes] = {colour for _, colour in found if max(colour) - min(colour) > 2}
    assert colours["none"]
    assert not colours["achromatopsia"]
