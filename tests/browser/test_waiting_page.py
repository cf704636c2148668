"""The waiting page in a real browser: what it announces, and when it looks again."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, Page, Request, Response, expect

from tests.browser.live import Live
from tests.browser.test_chain import (
    DESKTOP,
    PHONE,
    go_away,
    join,
    one_is_inside,
    press,
    sign_in,
    visiting,
)
from tests.browser.visitor import ARRIVE_MS, Visitor
from tests.builders import make_accounts
from webapp.domain.waiting_room import Pass

pytestmark = pytest.mark.browser

NOT_TOO_SOON_SECONDS = 1.0  # so near the front; where a page's time is set, the server's is not
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
# Both tabs keep one pace, so one may come too soon after the other; then it comes again.
TWO_TABS = DESKTOP | {"refused": (401,), "perhaps": (429,)}
NOT_HERE = "You are not in this waiting room (any more)."
BELOW_THE_SOUND = """() => {
    const [line, next] = ["#sound", ".actions"].map((where) => document.querySelector(where));
    return next.getBoundingClientRect().top - line.getBoundingClientRect().top;
}"""
NOTE_RESUMED = """
    window.AudioContext = class extends AudioContext {
        constructor() { super(); window.sound = this; }
        resume() { sessionStorage.resumed = this.state; return super.resume(); }
    };
"""


def line_up(live: Live, performance_id: int, count: int = 1) -> list[Pass]:
    """Let so many customers join, in this order."""
    people = make_accounts(live.db, count)
    return [join(live, performance_id, one) for one in people]


def wait_in_line(live: Live, visitor: Visitor, performance_id: int, ahead: int = 0) -> None:
    """Come to the waiting page as somebody with so many people ahead."""
    [customer] = make_accounts(live.db)
    join(live, performance_id, customer)
    sign_in(visitor, customer)
    visitor.page.goto(f"{live.address}/performances/{performance_id}/queue")
    see_ahead(visitor.page, ahead)


def see_ahead(page: Page, ahead: int) -> None:
    figure = page.locator("dt:has-text('People ahead') + dd")
    expect(figure).to_have_text(str(ahead), timeout=ARRIVE_MS)


def keep_last_title(page: Page) -> None:
    """Let the page leave behind which title it had at last; `last_title` reads it on the next one."""
    page.evaluate("addEventListener('pagehide', () => (sessionStorage.title = document.title))")


def last_title(page: Page) -> str:
    return str(page.evaluate("sessionStorage.title"))


def is_looking(asked: Request | Response) -> bool:
    return asked.url.endswith("/queue/place")


def figures(page: Page) -> list[str]:
    """The number and how many are ahead."""
    return page.locator("#place dd.big").all_inner_texts()


def test_ones_turn_is_announced_and_leads_to_the_seats(live: Live, browser: Browser) -> None:
    performance_id, inside = one_is_inside(live)
    with visiting(live, browser, **PHONE) as visitor:
        wait_in_line(live, visitor, performance_id)
        keep_last_title(visitor.page)
        go_away(live, inside)
        visitor.arrive()
        assert last_title(visitor.page) == "It is your turn!"
        expect(visitor.page.get_by_text("It is your turn. It lasts until")).to_have_count(1)


def test_a_sound_that_was_asked_for_is_heard(live: Live, browser: Browser) -> None:
    performance_id, inside = one_is_inside(live)
    with visiting(live, browser, **PHONE) as visitor:
        page = visitor.page
        page.add_init_script(NOTE_RESUMED)
        wait_in_line(live, visitor, performance_id)
        before = page.evaluate(BELOW_THE_SOUND)
        press(page, "button", "Tell me with a sound", "Enter")
        expect(page.get_by_role("button", name="The sound is on")).to_be_focused()
        assert page.evaluate(BELOW_THE_SOUND) == before
        page.evaluate("sound.suspend()")  # as a phone does while it is in a pocket
        go_away(live, inside)
        visitor.arrive()
        assert page.evaluate("sessionStorage.resumed") == "suspended"


def test_who_leaves_in_another_tab_is_not_told_of_a_turn(live: Live, browser: Browser) -> None:
    performance_id, _ = one_is_inside(live)
    with visiting(live, browser, **TWO_TABS) as visitor:
        page = visitor.page
        wait_in_line(live, visitor, performance_id)
        keep_last_title(page)
        elsewhere = page.context.new_page()
        elsewhere.goto(page.url)
        elsewhere.get_by_role("button", name="Leave the waiting room").click()
        expect(page.get_by_text(NOT_HERE)).to_have_count(1, timeout=ARRIVE_MS)
        assert last_title(page) == "0 ahead of you – Jari"


def test_who_signs_out_in_another_tab_is_not_told_of_a_turn(live: Live, browser: Browser) -> None:
    performance_id, _ = one_is_inside(live)
    with visiting(live, browser, **TWO_TABS) as visitor:
        page = visitor.page
        wait_in_line(live, visitor, performance_id)
        keep_last_title(page)
        elsewhere = page.context.new_page()
        elsewhere.goto(page.url)
        elsewhere.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Password")).to_be_visible(timeout=ARRIVE_MS)
        assert last_title(page) == "0 ahead of you – Jari"


def test_news_are_told_once(live: Live, browser: Browser) -> None:
    performance_id, _ = one_is_inside(live)
    first, second = line_up(live, performance_id, 2)
    with visiting(live, browser, **PHONE) as visitor:
        page = visitor.page
        wait_in_line(live, visitor, performance_id, ahead=2)
        page.evaluate("""() => {
            window.told = [];
            const news = document.querySelector("#news");
            new MutationObserver(() => told.push(news.textContent)).observe(news, { childList: true });
        }""")
        go_away(live, first)
        see_ahead(page, 1)
        assert page.evaluate("told") == []
        go_away(live, second)
        see_ahead(page, 0)
        assert page.evaluate("told") == ["You are next."]


def test_back_online_it_looks_at_once(live: Live, browser: Browser) -> None:
    performance_id, _ = one_is_inside(live)
    with visiting(live, browser, **PHONE, cut_off=True) as visitor:
        page = visitor.page
        page.clock.install(time=NOON)
        wait_in_line(live, visitor, performance_id)
        page.context.set_offline(True)
        with page.expect_event("requestfailed"):
            page.clock.pause_at(NOON + timedelta(hours=1))  # the last timer that goes off
        page.clock.set_system_time(NOON + timedelta(hours=2))
        time.sleep(NOT_TOO_SOON_SECONDS)
        with page.expect_request(is_looking):
            page.context.set_offline(False)


def test_after_a_reload_the_place_is_the_same(live: Live, browser: Browser) -> None:
    performance_id, _ = one_is_inside(live)
    line_up(live, performance_id)
    with visiting(live, browser, **PHONE) as visitor:
        wait_in_line(live, visitor, performance_id, ahead=1)
        line_up(live, performance_id)  # later
        visitor.page.reload()
        assert figures(visitor.page) == ["2", "1"]


def test_after_a_sleep_it_looks_at_once_and_the_place_is_the_same(
    live: Live, browser: Browser
) -> None:
    performance_id, _ = one_is_inside(live)
    line_up(live, performance_id)
    with visiting(live, browser, **PHONE, cut_off=True) as visitor:
        page = visitor.page
        page.clock.install(time=NOON)
        wait_in_line(live, visitor, performance_id, ahead=1)
        page.context.set_offline(True)
        with page.expect_event("requestfailed"):
            page.clock.pause_at(NOON + timedelta(hours=1))  # no timer goes off from here on
        page.context.set_offline(False)
        time.sleep(NOT_TOO_SOON_SECONDS)
        page.clock.set_system_time(NOON + timedelta(hours=2))
        with page.expect_response(is_looking) as looked:
            page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        assert looked.value.status == 200
        assert figures(page) == ["2", "1"]
