"""The work before joining in a real browser, at a house that asks for it."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.live import Live, serve
from tests.browser.test_chain import PHONE, one_is_inside, sign_in, visiting
from tests.browser.visitor import Visitor
from tests.builders import make_accounts

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with serve(tmp_path_factory.mktemp("work"), JOIN_WORK_BITS="4") as running:
        yield running


def come(live: Live, visitor: Visitor) -> None:
    """Come to the page of a sale with a waiting room."""
    performance_id, _ = one_is_inside(live)
    sign_in(visitor, make_accounts(live.db)[0])
    visitor.page.goto(f"{live.address}/performances/{performance_id}")


def test_the_work_is_done_when_the_button_is_pressed(live: Live, browser: Browser) -> None:
    with visiting(live, browser, **PHONE) as visitor:
        come(live, visitor)
        visitor.join()


def test_who_comes_back_finds_a_new_page(live: Live, browser: Browser) -> None:
    with visiting(live, browser, **PHONE) as visitor:
        come(live, visitor)
        page = visitor.page
        page.evaluate("window.stayed = true")
        with page.expect_navigation():
            page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
        assert not page.evaluate("window.stayed")
        visitor.join()


def test_where_a_browser_cannot_do_the_work_the_page_says_so(live: Live, browser: Browser) -> None:
    with visiting(live, browser, **PHONE) as visitor:
        page = visitor.page
        page.add_init_script(
            "Object.defineProperty(Crypto.prototype, 'subtle', { get: () => undefined })"
        )
        come(live, visitor)
        page.get_by_role("button", name="Join the waiting room").click()
        expect(page.get_by_role("alert")).to_contain_text("open this page with https://")
