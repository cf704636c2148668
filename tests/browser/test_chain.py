"""The whole chain in a real browser, on the real service: with scripts, without, by keyboard."""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.live import Live
from tests.browser.visitor import ARRIVE_MS, Visitor
from tests.builders import Customer, enter, make_accounts, make_sale, pay, place
from webapp.db import Tx, new_id
from webapp.domain import waiting_room
from webapp.domain.catalogue import Price
from webapp.domain.waiting_room import Arrival, Pass
from webapp.web.guards import COOKIE

pytestmark = pytest.mark.browser

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
SMALL_PHONE = {"viewport": {"width": 320, "height": 568}}
DESKTOP = {"viewport": {"width": 1280, "height": 900}}
WITHOUT_SCRIPTS = {"java_script_enabled": False}
SAID_NO = "the server responded with a status of {} "


@contextmanager
def visiting(
    live: Live,
    browser: Browser,
    *,
    refused: Collection[int] = (),
    perhaps: Collection[int] = (),
    cut_off: bool = False,
    **options: Any,
) -> Iterator[Visitor]:
    """Open a browser of one's own; fail if a page breaks its own policy or its scripts, or is refused anything.

    Chromium complains about every answer that says no, and about a network that is gone: a test that provokes
    one says so, with the statuses in `refused`, or with `cut_off`. Each must have come; those in `perhaps` may have.
    """
    context = browser.new_context(**options)
    page = context.new_page()
    trouble: list[str] = []
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("console", lambda line: trouble.append(line.text) if line.type == "error" else None)
    yield Visitor(page, live.address)
    context.close()
    expected = [SAID_NO.format(status) for status in refused]
    expected += [r"net::ERR_(INTERNET_DISCONNECTED|FAILED)$"] if cut_off else []
    known = [*expected, *map(SAID_NO.format, perhaps)]
    assert [line for line in trouble if not any(re.search(text, line) for text in known)] == []
    assert [text for text in expected if not re.search(text, "\n".join(trouble), re.M)] == []


def sign_in(visitor: Visitor, customer: Customer) -> None:
    """Come with a session, as after signing in."""
    cookie = {"name": COOKIE, "value": customer.session, "url": visitor.address}
    visitor.page.context.add_cookies([cookie])


def fits(page: Page) -> bool:
    """Whether nothing sticks out to the right."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def one_is_inside(live: Live, **sale: Any) -> tuple[int, Pass]:
    """A sale that lets one person in at a time, and that person."""
    levels = [Price("r", "R", 12_000), Price("s", "S", 9_000), Price("a", "A", 6_000)]
    performance_id = make_sale(live.db, seats=2_000, levels=levels, capacity=1, **sale)
    return performance_id, enter(live.db, make_accounts(live.db)[0], performance_id)


def go_away(live: Live, admitted: Pass) -> None:
    def work(tx: Tx) -> bool:
        return waiting_room.end(tx, admitted.entry_id, admitted.account_id, "left")

    live.db.transact(work)


def join(live: Live, performance_id: int, customer: Customer) -> Pass:
    arrival = Arrival(new_id(), performance_id, customer.id, None)
    stay, _ = live.db.transact(waiting_room.join, arrival)
    return Pass(stay.entry_id, performance_id, customer.id)


def walk(live: Live, visitor: Visitor) -> None:
    """From the event to the tickets, and the money back."""
    performance_id, inside = one_is_inside(live)
    visitor.sign_up(performance_id)
    visitor.join()
    expect(visitor.page.locator("#place").get_by_text("You are next.")).to_be_visible(
        timeout=ARRIVE_MS
    )
    go_away(live, inside)
    visitor.arrive()
    visitor.hold_named("Stalls", ["Row A, seat 1", "Row A, seat 2"])
    visitor.see_checkout(2)
    visitor.top_up_and_pay()
    tickets = visitor.page.locator(".ticket img")
    expect(tickets).to_have_count(2)
    visitor.cancel()
    visitor.page.get_by_role("link", name="Wallet").click()
    expect(visitor.page.get_by_role("row")).to_have_count(4)
    expect(visitor.page.locator("main .big")).to_have_text("₩24,000")


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without"])
@pytest.mark.parametrize("screen", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_the_whole_chain(
    live: Live, browser: Browser, screen: dict[str, Any], scripts: bool
) -> None:
    with visiting(live, browser, **screen, java_script_enabled=scripts) as visitor:
        walk(live, visitor)


def test_qr_codes_are_drawn(live: Live, browser: Browser) -> None:
    performance_id = make_sale(live.db)
    [buyer] = make_accounts(live.db)
    admitted = enter(live.db, buyer, performance_id)
    booked = pay(live.db, admitted, place(live.db, admitted, [0]))
    with visiting(live, browser, **PHONE) as visitor:
        sign_in(visitor, buyer)
        visitor.page.goto(f"{live.address}/bookings/{booked.reference}")
        picture = visitor.page.get_by_role("img", name="QR code")
        assert picture.evaluate("image => image.complete && image.naturalWidth > 0")


@pytest.mark.parametrize("options", [PHONE, WITHOUT_SCRIPTS], ids=["with", "without"])
def test_the_time_runs_out_in_front_of_the_customer(
    live: Live, browser: Browser, options: dict[str, Any]
) -> None:
    performance_id = make_sale(live.db, hold_seconds=8)
    [buyer] = make_accounts(live.db)
    place(live.db, enter(live.db, buyer, performance_id), [0, 1])
    with visiting(live, browser, **options, refused=[410]) as visitor:
        sign_in(visitor, buyer)
        visitor.page.goto(f"{live.address}/performances/{performance_id}/checkout")
        visitor.see_checkout(2)
        expect(visitor.page.locator("#countdown")).to_have_text(re.compile("0:0[1-8] left"))
        heading = visitor.page.get_by_role("heading", level=1)
        expect(heading).to_have_text("You hold no seats here now", timeout=ARRIVE_MS)


def test_the_waiting_page_brings_its_figures_up_to_date(live: Live, browser: Browser) -> None:
    performance_id, _ = one_is_inside(live)
    with visiting(live, browser, **PHONE) as first, visiting(live, browser, **PHONE) as second:
        first.sign_up(performance_id)
        first.join()
        second.sign_up(performance_id)
        second.join()
        ahead = second.page.locator("dt:has-text('People ahead') + dd")
        expect(ahead).to_have_text("1", timeout=ARRIVE_MS)
        second.page.evaluate("window.stayed = true")
        first.page.get_by_role("button", name="Leave the waiting room").click()
        expect(ahead).to_have_text("0", timeout=ARRIVE_MS)
        assert second.page.evaluate("window.stayed")  # without a reload
        expect(second.page).to_have_title("0 ahead of you – Jari")


def test_the_door_says_go_once(live: Live, browser: Browser) -> None:
    performance_id = make_sale(live.db)
    buyer, steward = make_accounts(live.db)[0], make_accounts(live.db, role="door")[0]
    admitted = enter(live.db, buyer, performance_id)
    booked = pay(live.db, admitted, place(live.db, admitted, [0]))
    with visiting(live, browser, **PHONE, refused=[409]) as visitor:
        sign_in(visitor, steward)
        visitor.page.goto(f"{live.address}/door/{performance_id}")
        for answer in ("Go", "Already in"):
            expect(visitor.page.get_by_label("Ticket code")).to_be_focused()
            visitor.page.keyboard.type(booked.tickets[0].code)
            visitor.page.keyboard.press("Enter")
            expect(visitor.page.locator(".answer .big")).to_contain_text(answer)


def test_by_keyboard(live: Live, browser: Browser) -> None:
    performance_id = make_sale(live.db, capacity=5)
    [buyer] = make_accounts(live.db)
    with visiting(live, browser, **DESKTOP) as visitor:
        page = visitor.page
        sign_in(visitor, buyer)
        page.goto(f"{live.address}/performances/{performance_id}")
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        page.keyboard.press("Enter")
        press(page, "button", "Join the waiting room", "Enter")
        visitor.arrive()
        for seat in ("Row A, seat 1 free", "Row A, seat 2 free"):
            press(page, "checkbox", seat, "Space")
        press(page, "button", "Continue", "Enter")
        visitor.see_checkout(2)
        press(page, "button", re.compile("^Pay "), "Enter")
        expect(page.get_by_role("heading", level=1)).to_contain_text("Booking")


def press(page: Page, role: Any, name: str | re.Pattern[str], key: str) -> None:
    """Go to something with Tab alone, see that it has the focus, and press a key."""
    wanted = page.get_by_role(role, name=name)
    wanted.wait_for()
    for _ in range(200):
        if wanted.evaluate("element => element === document.activeElement"):
            break
        page.keyboard.press("Tab")
    expect(wanted).to_be_focused()
    page.keyboard.press(key)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out_on_a_small_phone(live: Live, browser: Browser, scheme: str) -> None:
    long = {"title": "Donaudampfschifffahrtsgesellschaftskonzert", "venue": "세종문화회관"}
    performance_id = make_sale(live.db, seats=2_000, **long)
    [buyer] = make_accounts(live.db)
    early = live.db.clock.now() - timedelta(minutes=1)
    room = {"capacity": 0, "prequeue_opens_at": early, "room": {"message": long["title"] * 3}}
    opening = [make_sale(live.db, opens_in=opens_in, **long, **room) for opens_in in (600, -30)]
    for sale in opening:
        join(live, sale, buyer)
    admitted = enter(live.db, buyer, performance_id)
    booked = pay(live.db, admitted, place(live.db, admitted, [0]))
    place(live.db, enter(live.db, buyer, performance_id), [1, 2])
    paths = [
        "/",
        *(f"/performances/{sale}" for sale in (performance_id, *opening)),
        *(f"/performances/{sale}/queue" for sale in opening),
        f"/performances/{performance_id}/seats?at=ST",
        f"/performances/{performance_id}/checkout",
        "/bookings",
        f"/bookings/{booked.reference}",
        f"/bookings/{booked.reference}/cancellation",
        "/wallet",
        "/nothing",
        "/sign-up",
    ]
    with visiting(live, browser, **SMALL_PHONE, color_scheme=scheme, refused=[404]) as visitor:
        sign_in(visitor, buyer)
        for path in paths:
            visitor.page.goto(live.address + path)
            assert fits(visitor.page), path
