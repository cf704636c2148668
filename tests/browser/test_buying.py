"""Paying in a real browser: pressed twice, gone back, reloaded, cut off; and the tickets afterwards."""

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.live import Live
from tests.browser.test_chain import DESKTOP, PHONE, sign_in, visiting
from tests.browser.test_seat_map import on_sale
from tests.browser.visitor import Visitor
from tests.builders import Customer, enter, make_accounts, make_sale, pay, place
from webapp.domain import bookings, wallet
from webapp.domain.bookings import Booked

pytestmark = pytest.mark.browser


def about_to_pay(live: Live, visitor: Visitor, **sale: Any) -> tuple[int, Customer]:
    """Come to the checkout with two seats held."""
    performance_id, customer = on_sale(live, **sale)
    place(live.db, enter(live.db, customer, performance_id), [0, 1])
    sign_in(visitor, customer)
    visitor.page.goto(f"{live.address}/performances/{performance_id}/checkout")
    return performance_id, customer


def booked(live: Live, customer: Customer) -> list[Booked]:
    return list(live.db.read(bookings.list_own, customer.id, None, 10))


def spent(live: Live, customer: Customer) -> int:
    return 1_000_000 - live.db.lookup(wallet.get, customer.id).balance_minor


@pytest.mark.parametrize("scripts", [True, False], ids=["with", "without"])
@pytest.mark.failure("F8")
def test_a_double_tap_pays_once(live: Live, browser: Browser, scripts: bool) -> None:
    with visiting(live, browser, **PHONE, java_script_enabled=scripts) as visitor:
        _, customer = about_to_pay(live, visitor)
        button = visitor.page.get_by_role("button", name=re.compile("^Pay "))
        button.dblclick(no_wait_after=True)
        expect(visitor.page.get_by_role("heading", level=1)).to_contain_text("Booking")
        assert len(booked(live, customer)) == 1
        assert spent(live, customer) == 2_000


def test_back_and_reload_pay_nothing_again(live: Live, browser: Browser) -> None:
    with visiting(live, browser, **PHONE, refused=[410]) as visitor:
        _, customer = about_to_pay(live, visitor)
        page = visitor.page
        page.get_by_role("button", name=re.compile("^Pay ")).click()
        page.get_by_role("heading", name="Booking").wait_for()
        page.reload()
        page.go_back()
        expect(page.get_by_role("heading", level=1)).to_have_text("You hold no seats here now")
        page.get_by_role("main").get_by_role("link", name="Your bookings").click()
        expect(page.locator(".bookingcard")).to_have_count(1)
        assert spent(live, customer) == 2_000


@pytest.mark.failure("F44")
def test_a_lost_answer_is_found_again_by_the_same_button(live: Live, browser: Browser) -> None:
    with visiting(live, browser, **PHONE, cut_off=True) as visitor:
        _, customer = about_to_pay(live, visitor)
        page = visitor.page

        def lose(route: Route) -> None:
            route.fetch(max_redirects=0)  # the house hears it, the answer is lost on its way
            route.abort()

        page.route("**/pay", lose, times=1)
        button = page.get_by_role("button", name=re.compile("^Pay "))
        button.click()
        expect(page.locator("#trouble")).to_contain_text("sent twice, it still counts once")
        assert len(booked(live, customer)) == 1
        button.click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("Booking")
        assert len(booked(live, customer)) == 1
        assert spent(live, customer) == 2_000


def test_too_little_money_is_topped_up_in_place(live: Live, browser: Browser) -> None:
    performance_id = make_sale(live.db, price_minor=30_000)
    [customer] = make_accounts(live.db, balance_minor=10_000)
    place(live.db, enter(live.db, customer, performance_id), [0], 30_000)
    with visiting(live, browser, **PHONE) as visitor:
        sign_in(visitor, customer)
        page = visitor.page
        page.goto(f"{live.address}/performances/{performance_id}/checkout")
        expect(page.get_by_text("₩20,000 is missing")).to_be_visible()
        visitor.top_up_and_pay()


def test_nothing_moves_when_ten_minutes_become_nine(live: Live, browser: Browser) -> None:
    performance_id = make_sale(live.db, price_minor=1_000, hold_seconds=900)
    [customer] = make_accounts(live.db, balance_minor=10_000)
    place(live.db, enter(live.db, customer, performance_id), [0])
    with visiting(live, browser, **PHONE) as visitor:
        sign_in(visitor, customer)
        page = visitor.page
        page.clock.install()
        page.goto(f"{live.address}/performances/{performance_id}/checkout")
        timer, behind = page.locator("#countdown b"), page.locator("#countdown span").first
        expect(timer).to_have_text(re.compile("^1[45]:"))
        before = behind.bounding_box()
        page.clock.fast_forward("06:00")
        expect(timer).to_have_text(re.compile("^\u2007?[89]:"))
        assert behind.bounding_box() == before


def test_two_minutes_and_thirty_seconds_are_announced(live: Live, browser: Browser) -> None:
    with visiting(live, browser, **DESKTOP) as visitor:
        page = visitor.page
        page.clock.install()
        about_to_pay(live, visitor)
        voice = page.locator("#countdown [role=alert]")
        expect(voice).to_have_text("")
        page.clock.fast_forward("03:01")
        expect(voice).to_have_text("Two minutes left to pay.")
        page.clock.fast_forward("01:30")
        expect(voice).to_have_text("Thirty seconds left to pay.")


def test_leaving_gives_the_seats_back_at_once(live: Live, browser: Browser) -> None:
    with visiting(live, browser, **PHONE) as visitor:
        performance_id, _ = about_to_pay(live, visitor)
        visitor.page.get_by_role("button", name="Give these seats back").click()
        expect(visitor.page.get_by_text("You gave the seats back.")).to_be_visible()
    [other] = make_accounts(live.db)
    place(live.db, enter(live.db, other, performance_id), [0, 1])


def with_two_tickets(live: Live, visitor: Visitor) -> tuple[str, Customer]:
    """Come as somebody who has paid for two seats; return the booking's address, and who it is."""
    performance_id, customer = on_sale(live)
    admitted = enter(live.db, customer, performance_id)
    paid = pay(live.db, admitted, place(live.db, admitted, [0, 1]))
    sign_in(visitor, customer)
    return f"{live.address}/bookings/{paid.reference}", customer


def sign_out(page: Page) -> None:
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("link", name="Sign in").wait_for()


WHAT_IS_KEPT = """
async () => {
    const caught = await Promise.all((await caches.keys()).map((name) => caches.open(name)));
    return (await Promise.all(caught.map((cache) => cache.keys()))).flat().map((request) => request.url);
}
"""


def test_tickets_open_without_a_network(live: Live, browser: Browser) -> None:
    with visiting(live, browser, **PHONE) as visitor:
        page = visitor.page
        page.goto(with_two_tickets(live, visitor)[0])
        expect(page.get_by_text("Kept on this device:")).to_be_visible()
        page.context.set_offline(True)
        page.reload()
        codes = page.get_by_role("img", name="QR code")
        expect(codes).to_have_count(2)
        for code in codes.all():
            assert code.evaluate("image => image.complete && image.naturalWidth > 0")
        assert (
            page.evaluate("getComputedStyle(document.querySelector('.card')).borderRadius") != "0px"
        )
        page.context.set_offline(False)
        page.reload()
        sign_out(page)
        assert page.evaluate(WHAT_IS_KEPT) == []


def test_nothing_is_kept_of_one_who_signs_out_meanwhile(live: Live, browser: Browser) -> None:
    with visiting(live, browser, cut_off=True, **PHONE) as visitor:
        page = visitor.page
        page.add_init_script("""
            const open = caches.open.bind(caches);
            const signedOut = new Promise((resolve) => { window.goOn = resolve; });
            caches.open = async (name) => { await signedOut; return open(name); };
        """)
        address, _ = with_two_tickets(live, visitor)
        page.goto(address)
        elsewhere = page.context.new_page()
        elsewhere.goto(address)
        sign_out(elsewhere)
        page.evaluate("goOn()")
        expect(page.get_by_text("Not kept on this device:")).to_be_visible()
        assert elsewhere.evaluate(WHAT_IS_KEPT) == []


def test_tickets_that_cannot_be_kept_say_so(live: Live, browser: Browser) -> None:
    with visiting(live, browser, **PHONE) as visitor:
        page = visitor.page
        page.add_init_script("Cache.prototype.addAll = async () => { throw new Error('full'); }")
        page.goto(with_two_tickets(live, visitor)[0])
        expect(page.get_by_text("Not kept on this device:")).to_be_visible()


def test_the_refund_is_shown_before(live: Live, browser: Browser) -> None:
    with visiting(live, browser, **PHONE) as visitor:
        page = visitor.page
        address, customer = with_two_tickets(live, visitor)
        page.goto(address)
        page.get_by_role("link", name="Cancel this booking").click()
        expect(page.locator("dd.big")).to_have_text("₩2,000")
        assert spent(live, customer) == 2_000
        page.get_by_role("button", name="Cancel and get ₩2,000 back").click()
        expect(page.get_by_text("is back in your wallet")).to_be_visible()
        assert spent(live, customer) == 0
