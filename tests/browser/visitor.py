"""A buyer with a browser: each step is what a person does, found by what a person reads."""

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.chromium import find_chromium

ARRIVE_MS = 30_000
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@contextmanager
def launched() -> Iterator[Browser]:
    """Run a Chromium until the block ends; fail where there is none."""
    path = find_chromium()
    expect.set_options(
        timeout=ARRIVE_MS
    )  # as long as a click has; 5 s are little on a busy machine
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass(frozen=True)
class Visitor:
    """Somebody at a page of the running service."""

    page: Page
    address: str

    def sign_up(self, performance_id: int) -> None:
        """Come to a performance, open an account, and be back there."""
        self.page.goto(f"{self.address}/performances/{performance_id}")
        self.page.get_by_role("link", name="Create an account").click()
        self.page.get_by_label("Your name").fill("Kim Min-seo")
        self.page.get_by_label("E-mail").fill(f"min-{uuid.uuid4().hex[:8]}@example.com")
        self.page.get_by_label("Password").fill("a long enough password")
        self.page.get_by_role("button", name="Create the account").click()
        expect(self.page).to_have_url(re.compile(rf"/performances/{performance_id}$"))

    def join(self) -> None:
        """Join the waiting room."""
        self.page.get_by_role("button", name="Join the waiting room").click()
        expect(self.page.get_by_role("heading", level=1)).to_have_text(
            "You are in the waiting room"
        )

    def arrive(self) -> None:
        """Wait, without touching anything, until the seats are there."""
        heading = self.page.get_by_role("heading", level=1)
        expect(heading).to_have_text("Choose your seats", timeout=ARRIVE_MS)

    def hold_best(self, quantity: int) -> None:
        """Take the best available."""
        self.page.get_by_role("radio", name=str(quantity), exact=True).check(force=True)
        self.page.get_by_role("button", name="Hold the best available").click()
        self.see_checkout(quantity)

    def hold_named(self, section: str, seats: list[str]) -> None:
        """Choose seats one by one in a section."""
        self.page.get_by_role("link", name=section).click()
        for seat in seats:
            self.page.get_by_role("checkbox", name=re.compile(rf"^{seat} free")).check()
        # With scripts the bar that stays in sight has the button, without them the list.
        self.page.get_by_role("button", name=re.compile("Continue|Hold the chosen seats")).click()

    def see_checkout(self, quantity: int) -> None:
        """Be asked to pay for so many seats."""
        expect(self.page.get_by_role("heading", level=1)).to_have_text("Pay for your seats")
        expect(self.page.locator(".bill li")).to_have_count(quantity + 2)

    def top_up_and_pay(self) -> None:
        """Add what is missing, then pay."""
        self.page.get_by_role("button", name="Top up the wallet").click()
        self.page.get_by_role("button", name=re.compile("^Pay ")).click()
        expect(self.page.get_by_role("heading", level=1)).to_contain_text("Booking")

    def cancel(self) -> None:
        """Cancel the booking that is shown."""
        self.page.get_by_role("link", name="Cancel this booking").click()
        self.page.get_by_role("button", name=re.compile("^Cancel and get")).click()
        expect(self.page.get_by_text("is back in your wallet")).to_be_visible()
