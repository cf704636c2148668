"""The seat map in a real browser: seen, tapped, typed at, fought over, cut off."""

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.live import Live
from tests.browser.test_chain import DESKTOP, PHONE, fits, sign_in, visiting
from tests.browser.visitor import ARRIVE_MS
from tests.builders import Customer, enter, make_accounts, make_sale, place
from webapp.db import Tx
from webapp.domain import waiting_room
from webapp.domain.catalogue import Price
from webapp.web.house import House

pytestmark = pytest.mark.browser

LEVELS = [
    Price("vip", "VIP", 165_000),
    Price("r", "R", 143_000),
    Price("s", "S", 121_000),
    Price("a", "A", 99_000),
]
NEWS_MS = 30_000  # a poll of the server's pace, and a loaded machine


@dataclass(frozen=True)
class Looker:
    """Somebody in front of the map, who sees seats where they are drawn."""

    page: Page
    seats: dict[str, dict[str, Any]]

    def where(self, label: str) -> tuple[float, float]:
        """Return where a seat is on the screen."""
        seat = self.seats[label]
        script = """([x, y]) => {
            const svg = document.querySelector("#drawing");
            const point = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM());
            return [point.x, point.y];
        }"""
        x, y = self.page.evaluate(script, [seat["x"], seat["y"]])
        return x, y

    def tap(self, label: str) -> None:
        """Tap where a seat is, on touch screens with a finger."""
        self.settle()
        x, y = self.where(label)
        if self.page.evaluate("navigator.maxTouchPoints > 0"):
            self.page.touchscreen.tap(x, y)
        else:
            self.page.mouse.click(x, y)
        self.settle()

    def settle(self) -> None:
        """Wait until the map stands still."""
        self.page.evaluate("""async () => {
            const svg = document.querySelector("#drawing");
            for (let before = ""; before !== svg.getAttribute("viewBox"); ) {
                before = svg.getAttribute("viewBox");
                await new Promise((done) => setTimeout(done, 120));
            }
        }""")

    @property
    def closeness(self) -> float:
        """Return how many pixels a unit of the hall has."""
        width = "document.querySelector('#drawing').getAttribute('viewBox').split(' ')[2]"
        return float(
            self.page.evaluate(f"document.querySelector('#drawing').clientWidth / Number({width})")
        )

    def chosen(self) -> list[str]:
        """Return the labels of the chosen seats."""
        fields = self.page.locator("#picked input[name=seat]")
        return [field.get_attribute("value") or "" for field in fields.all()]


@contextmanager
def looking(
    live: Live, browser: Browser, sale: int, customer: Customer, **options: Any
) -> Iterator[Looker]:
    """Come to the map as somebody who is inside."""
    with visiting(live, browser, **options) as visitor:
        sign_in(visitor, customer)
        page = visitor.page
        page.goto(f"{live.address}/performances/{sale}/seats")
        page.locator("#map[data-ready]").wait_for()
        page.locator("#hall").scroll_into_view_if_needed()
        answer = page.request.get(f"{live.address}/api/v1/performances/{sale}/seatmap")
        yield Looker(page, {seat["seat"]: seat for seat in json.loads(answer.text())["seats"]})


def on_sale(live: Live, seats: int = 2_000, **more: Any) -> tuple[int, Customer]:
    """Put an auditorium on sale; return it and somebody inside."""
    sale = make_sale(live.db, seats=seats, levels=LEVELS, auditorium=True, **more)
    [customer] = make_accounts(live.db)
    enter(live.db, customer, sale)
    return sale, customer


def number(live: Live, sale: int, label: str) -> int:
    """Return a seat's number in its hall."""
    house: House = live.house
    return house.seatmap_of(house.sales.get(sale)).by_label[label].seat_no


def take(live: Live, sale: int, *labels: str) -> None:
    """Let somebody else hold seats."""
    [other] = make_accounts(live.db)
    place(live.db, enter(live.db, other, sale), [number(live, sale, label) for label in labels])


def test_section_then_seat_on_a_phone(live: Live, browser: Browser) -> None:
    sale, customer = on_sale(live)
    with looking(live, browser, sale, customer, **PHONE) as looker:
        page = looker.page
        expect(page.locator(".section[data-section='1B'] .label")).to_contain_text("334")
        looker.tap("1B-H-6")  # from far: the section
        assert looker.chosen() == []
        looker.tap("1B-H-6")
        card = page.locator("#seatcard")
        expect(card).to_contain_text("Stalls B, row H, seat 6")
        expect(card).to_contain_text("VIP · ₩165,000")
        looker.tap("1B-H-7")
        assert looker.chosen() == ["1B-H-6", "1B-H-7"]
        expect(page.locator("#sum-total")).to_have_text("₩330,000")
        expect(page.locator("#bar")).to_be_in_viewport()
        looker.tap("1B-H-7")  # again: no longer
        assert looker.chosen() == ["1B-H-6"]
        assert fits(page)
        page.get_by_role("button", name="Continue").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Pay for your seats")
        expect(page.locator(".bill")).to_contain_text("Stalls B, row H, seat 6")


def test_notes_of_special_seats_are_shown_and_said(live: Live, browser: Browser) -> None:
    sale, customer = on_sale(live)
    with looking(live, browser, sale, customer, **DESKTOP) as looker:
        wheels = next(label for label, seat in looker.seats.items() if seat["accessible"])
        looker.tap(wheels)
        expect(looker.page.locator("#seatcard")).to_contain_text("wheelchair place")
        hidden = next(label for label, seat in looker.seats.items() if "restricted_view" in seat)
        looker.tap(hidden)
        expect(looker.page.locator("#seatcard")).to_contain_text("restricted view")
        assert looker.chosen() == sorted([wheels, hidden], key=list(looker.seats).index)


def one_of(live: Live, sale: int, kind: str) -> str:
    """Return the label of a seat for a wheelchair, beside one, or neither."""
    house: House = live.house
    hall = house.seatmap_of(house.sales.get(sale))
    kinds = {
        "wheelchair": {place.seat_no for place in hall.places if place.accessible},
        "companion": set(hall.companion),
    }
    kinds["any"] = set(range(len(hall.places))) - kinds["wheelchair"] - kinds["companion"]
    return hall.places[min(kinds[kind])].label


@pytest.mark.parametrize("kind", ["any", "wheelchair", "companion"])
def test_every_kind_of_seat_is_three_taps_away_on_the_map(
    live: Live, browser: Browser, kind: str
) -> None:
    """And a tap is one: the bar with its buttons, which comes up under the finger, is not pressed by it."""
    sale, customer = on_sale(live)
    with looking(live, browser, sale, customer, **PHONE) as looker:
        label = one_of(live, sale, kind)
        looker.tap(label)  # its section
        looker.tap(label)
        assert looker.chosen() == [label]
        looker.page.get_by_role("button", name="Continue").click()
        looker.page.get_by_role("heading", name="Pay for your seats").wait_for()


@pytest.mark.parametrize("kind", ["any", "wheelchair", "companion"])
def test_every_kind_of_seat_is_three_taps_away_in_the_list(
    live: Live, browser: Browser, kind: str
) -> None:
    sale, customer = on_sale(live)
    label = one_of(live, sale, kind)
    with visiting(live, browser, **PHONE, java_script_enabled=False) as visitor:
        sign_in(visitor, customer)
        page = visitor.page
        page.goto(f"{live.address}/performances/{sale}/seats")
        section = label.split("-")[0]
        page.locator(f".choices a[href*='at={section}#']").click()
        page.locator(f"input[name=seat][value='{label}']").check(force=True)
        page.get_by_role("button", name="Hold the chosen seats").click()
        page.get_by_role("heading", name="Pay for your seats").wait_for()


def test_a_seat_that_somebody_takes_says_so_and_offers_the_nearest(
    live: Live, browser: Browser
) -> None:
    sale, customer = on_sale(live)
    with looking(live, browser, sale, customer, **DESKTOP) as looker:
        looker.tap("1B-C-4")
        take(live, sale, "1B-C-4")
        warning = looker.page.locator(".warning")
        expect(warning.first).to_contain_text(
            "Somebody else just took Stalls B, row C, seat 4.", timeout=NEWS_MS
        )
        assert looker.chosen() == []
        looker.page.get_by_role("button", name="Take the nearest free one instead").click()
        [instead] = looker.chosen()
        assert instead in ("1B-C-3", "1B-C-5")


def test_two_browsers_fight_for_one_seat(live: Live, browser: Browser) -> None:
    sale, one = on_sale(live)
    [two] = make_accounts(live.db)
    enter(live.db, two, sale)
    with (
        looking(live, browser, sale, one, **DESKTOP) as first,
        looking(live, browser, sale, two, **PHONE, refused=[409], cut_off=True) as second,
    ):
        stop_news(second.page)
        first.tap("1B-C-4")
        second.tap("1B-C-4")
        second.tap("1B-C-4")
        first.page.get_by_role("button", name="Continue").click()
        first.page.get_by_role("heading", name="Pay for your seats").wait_for()
        second.page.get_by_role("button", name="Continue").click()
        trouble = second.page.locator("#trouble")
        expect(trouble).to_contain_text("Somebody else has one of these seats.")
        expect(trouble).to_contain_text("Stalls B, row C, seat 4")
        assert second.page.url.endswith("/seats")  # the map is where it was


def stop_news(page: Page) -> None:
    """Let no news of availability reach a browser any more; return when one was on its way."""
    with page.expect_console_message(lambda line: "net::ERR_FAILED" in line.text, timeout=NEWS_MS):
        page.route("**/availability*", lambda route: route.abort())


def test_by_keyboard_alone(live: Live, browser: Browser) -> None:
    sale, customer = on_sale(live)
    with looking(live, browser, sale, customer, **PHONE) as looker:
        page = looker.page
        page.locator("#hall").focus()
        page.keyboard.press("ArrowRight")
        expect(page.locator("#said")).to_contain_text("Stalls B: 334 free, from ₩143,000")
        page.keyboard.press("Enter")
        looker.settle()
        page.keyboard.press("ArrowRight")
        expect(page.locator("#said")).to_contain_text(
            "Stalls B, row A, seat 2, VIP, ₩165,000, free"
        )
        page.keyboard.press("Enter")
        page.keyboard.press("ArrowRight")
        page.keyboard.press(" ")
        assert looker.chosen() == ["1B-A-2", "1B-A-3"]
        expect(page.locator("#said")).to_contain_text("2 in all, ₩330,000")
        close = looker.closeness
        page.keyboard.press("+")
        looker.settle()
        assert looker.closeness > close
        page.keyboard.press("Escape")
        looker.settle()
        assert looker.closeness < close


def test_zoom_by_buttons_wheel_and_minimap(live: Live, browser: Browser) -> None:
    sale, customer = on_sale(live)
    with looking(live, browser, sale, customer, **DESKTOP) as looker:
        page = looker.page
        whole = looker.closeness
        expect(page.locator("#minimap")).to_be_hidden()
        page.get_by_role("button", name="Zoom in").click()
        looker.settle()
        nearer = looker.closeness
        assert nearer > whole
        expect(page.locator("#minimap")).to_be_visible()
        before = page.locator("#drawing").get_attribute("viewBox")
        page.locator("#minimap").click(position={"x": 20, "y": 20})
        assert page.locator("#drawing").get_attribute("viewBox") != before
        page.mouse.move(*looker.where("1B-H-6"))
        page.mouse.wheel(0, -300)
        looker.settle()
        assert looker.closeness > nearer
        page.get_by_role("button", name="Show the whole hall").click()
        looker.settle()
        assert looker.closeness == pytest.approx(whole, rel=0.01)


def test_pinch(live: Live, browser: Browser) -> None:
    sale, customer = on_sale(live)
    with looking(live, browser, sale, customer, **PHONE) as looker:
        whole = looker.closeness
        x, y = looker.where("1B-H-6")
        fingers = looker.page.context.new_cdp_session(looker.page)
        for kind, spread in (("touchStart", 20), ("touchMove", 40), ("touchMove", 70)):
            points = [{"x": x - spread, "y": y, "id": 0}, {"x": x + spread, "y": y, "id": 1}]
            fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        fingers.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        looker.settle()
        assert looker.closeness > 2 * whole
        assert looker.chosen() == []  # two fingers are no tap


def test_the_legend_filters(live: Live, browser: Browser) -> None:
    sale, customer = on_sale(live)
    with looking(live, browser, sale, customer, **DESKTOP) as looker:
        page = looker.page
        expect(page.locator("#drawing .free.dim")).to_have_count(0)
        vip = page.get_by_role("button", name="VIP ₩165,000")
        vip.click()
        expect(vip).to_have_attribute("aria-pressed", "true")
        assert page.locator("#drawing .free.dim").count() > 0
        lit = page.locator("#drawing .free:not(.dim)")
        shapes = {path.get_attribute("class") for path in lit.all()}
        assert shapes == {"free level-0"}
        page.get_by_role("button", name="Wheelchair and companion").click()
        vip.click()
        assert page.locator(".hole").count() > 0


@pytest.mark.parametrize("rule", ["off", "lenient", "strict"])
def test_a_seat_left_alone_is_named(live: Live, browser: Browser, rule: str) -> None:
    sale, customer = on_sale(live, single_seat_rule=rule)
    with looking(live, browser, sale, customer, **DESKTOP) as looker:
        page = looker.page
        looker.tap("1B-C-2")
        warning = page.locator(".warning.alone")
        if rule == "off":
            expect(warning).to_have_count(0)
        else:
            expect(warning).to_contain_text("Stalls B, row C, seat 1 would be left alone.")
        page.get_by_role("button", name="Continue").click()
        if rule == "strict":
            expect(page.get_by_role("heading", level=1)).to_have_text("Choose your seats")
            page.get_by_role("button", name="Take it as well").click()
            page.get_by_role("button", name="Continue").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Pay for your seats")


def test_more_than_the_limit_is_refused_in_words(live: Live, browser: Browser) -> None:
    sale, customer = on_sale(live, seats_max=2)
    with looking(live, browser, sale, customer, **DESKTOP) as looker:
        for label in ("1B-C-3", "1B-C-4", "1B-C-5"):
            looker.tap(label)
        assert looker.chosen() == ["1B-C-3", "1B-C-4"]
        expect(looker.page.locator(".warning")).to_contain_text("At most 2 seats")


def test_map_and_list_are_one_choice(live: Live, browser: Browser) -> None:
    sale, customer = on_sale(live)
    with looking(live, browser, sale, customer, **DESKTOP) as looker:
        page = looker.page
        page.goto(f"{page.url}?at=1B")
        page.locator("#map[data-ready]").wait_for()
        page.get_by_role("checkbox", name=re.compile("^Row C, seat 4 free")).check(force=True)
        assert looker.chosen() == ["1B-C-4"]
        page.locator("#hall").scroll_into_view_if_needed()
        looker.tap("1B-C-5")
        expect(page.get_by_role("checkbox", name=re.compile("^Row C, seat 5 "))).to_be_checked()
        take(live, sale, "1B-D-4")
        lost = page.get_by_role("checkbox", name=re.compile("^Row D, seat 4 held"))
        expect(lost).to_be_disabled(timeout=NEWS_MS)


def test_without_a_network_nothing_is_lost(live: Live, browser: Browser) -> None:
    sale, customer = on_sale(live)
    with looking(live, browser, sale, customer, **PHONE, cut_off=True) as looker:
        page = looker.page
        looker.tap("1B-C-4")
        looker.tap("1B-C-4")
        page.context.set_offline(True)
        page.get_by_role("button", name="Continue").click()
        expect(page.locator("#trouble")).to_contain_text("the network is gone")
        assert looker.chosen() == ["1B-C-4"]
        page.context.set_offline(False)
        page.get_by_role("button", name="Continue").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Pay for your seats")


def test_a_turn_that_is_over_says_so_and_what_to_do(live: Live, browser: Browser) -> None:
    sale, customer = on_sale(live)
    with looking(live, browser, sale, customer, **DESKTOP, refused=[403]) as looker:
        looker.tap("1B-C-4")
        admitted = enter(live.db, customer, sale)

        def leave(tx: Tx) -> bool:  # in another tab
            return waiting_room.end(tx, admitted.entry_id, customer.id, "left")

        live.db.transact(leave)
        looker.page.get_by_role("button", name="Continue").click()
        trouble = looker.page.locator("#trouble")
        expect(trouble).to_contain_text("It is not your turn, or your turn has ended.")
        expect(trouble.get_by_role("link", name="To the performance")).to_be_visible()


def test_a_busy_house_says_so_and_keeps_the_choice(live: Live, browser: Browser) -> None:
    sale, customer = on_sale(live)
    with looking(live, browser, sale, customer, **DESKTOP, refused=[503]) as looker:
        page = looker.page
        looker.tap("1B-C-4")
        writer = sqlite3.connect(str(live.db.writer.url.database), isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")  # somebody's long transaction: nobody else can write
        page.get_by_role("button", name="Continue").click()
        expect(page.locator("#trouble")).to_contain_text("very busy", timeout=NEWS_MS)
        writer.execute("ROLLBACK")
        writer.close()
        assert looker.chosen() == ["1B-C-4"]
        page.get_by_role("button", name="Continue").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Pay for your seats")


def hold_back(route: Route, waiting: list[Route]) -> None:
    """Answer a request never."""
    waiting.append(route)


def test_a_slow_network_has_the_list_first(live: Live, browser: Browser) -> None:
    """The hall comes last: whoever cannot wait chooses from the list meanwhile."""
    sale, customer = on_sale(live)
    with visiting(live, browser, **PHONE) as visitor:
        sign_in(visitor, customer)
        page = visitor.page
        waiting: list[Route] = []
        page.route("**/map/*.json", lambda route: hold_back(route, waiting))
        page.goto(f"{live.address}/performances/{sale}/seats?at=1B", wait_until="commit")
        page.get_by_role("checkbox", name=re.compile("^Row C, seat 4 free")).check(force=True)
        page.get_by_role("button", name="Hold the chosen seats").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Pay for your seats")


def test_the_map_comes_after_a_network_that_was_gone(live: Live, browser: Browser) -> None:
    sale, customer = on_sale(live)
    with visiting(live, browser, cut_off=True, **DESKTOP) as visitor:
        sign_in(visitor, customer)
        page = visitor.page
        page.route("**/map/*.json", lambda route: route.abort(), times=1)
        page.goto(f"{live.address}/performances/{sale}/seats")
        expect(page.get_by_text("The map is being loaded.")).to_be_visible()
        page.locator("#map[data-ready]").wait_for(timeout=ARRIVE_MS)
        expect(page.get_by_text("The map is being loaded.")).to_be_hidden()


def test_best_available_says_why_and_tries_elsewhere(live: Live, browser: Browser) -> None:
    sale, customer = on_sale(live)
    with looking(live, browser, sale, customer, **PHONE) as looker:
        page = looker.page
        page.get_by_role("radio", name="3", exact=True).check(force=True)
        page.get_by_role("button", name="Hold the best available").click()
        page.get_by_role("heading", name="Pay for your seats").wait_for()
        expect(page.locator(".praise")).to_contain_text("Side by side")
        first = page.locator(".bill li").first.inner_text()
        page.get_by_role("button", name="Try elsewhere").click()
        expect(page.locator(".bill li").first).not_to_have_text(first)
        row = re.compile(r"row (\w+)")
        assert row.search(first)
        expect(page.locator(".bill li")).to_have_count(5)


def test_an_arena_of_20000_is_usable(live: Live, browser: Browser) -> None:
    sale, customer = on_sale(live, seats=20_000)
    with looking(live, browser, sale, customer, **PHONE) as looker:
        page = looker.page
        expect(page.locator(".section")).to_have_count(38)
        elements = "document.querySelectorAll('#drawing *').length"
        assert page.evaluate(elements) < 400
        label = next(seat for seat in looker.seats if seat.startswith("1G-H-"))
        looker.tap(label)
        looker.tap(label)
        assert looker.chosen() == [label]
        assert page.evaluate(elements) < 1_500


def test_whoever_asks_for_calm_gets_no_gliding(live: Live, browser: Browser) -> None:
    sale, customer = on_sale(live)
    with looking(live, browser, sale, customer, **DESKTOP, reduced_motion="reduce") as looker:
        before = looker.closeness
        looker.page.evaluate("document.querySelector('[data-zoom=in]').click()")
        assert looker.closeness == pytest.approx(before * 1.7, rel=0.01)


def test_the_choice_survives_a_reload_once_it_is_held(live: Live, browser: Browser) -> None:
    sale, customer = on_sale(live)
    with looking(live, browser, sale, customer, **DESKTOP) as looker:
        looker.tap("1B-C-4")
        looker.page.get_by_role("button", name="Continue").click()
        looker.page.get_by_role("heading", name="Pay for your seats").wait_for()
    with looking(live, browser, sale, customer, **PHONE) as again:  # the other phone, tomorrow
        assert again.chosen() == ["1B-C-4"]
        again.page.goto(f"{live.address}/performances/{sale}/checkout")
        expect(again.page.locator(".bill")).to_contain_text("Stalls B, row C, seat 4")
