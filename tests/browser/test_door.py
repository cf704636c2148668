"""The door in a real browser, with a camera that sees a real ticket."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import segno
from PIL import Image
from playwright.sync_api import Browser, expect

from tests.browser.live import Live
from tests.browser.test_chain import PHONE, sign_in, visiting
from tests.browser.visitor import ARGUMENTS
from tests.builders import enter, make_accounts, make_sale, pay, place
from tests.chromium import find_chromium

pytestmark = pytest.mark.browser

SIDE = 480
SEEN_MS = 20_000


def film(path: Path, text: str) -> None:
    """Write what a camera before a phone's screen sees: a QR code on grey, as a film of one picture."""
    drawn = io.BytesIO()
    segno.make_qr(text, error="m").save(drawn, kind="png", scale=8, border=4)
    code = Image.open(drawn).convert("L")
    frame = Image.new("L", (640, SIDE), 120)
    frame.paste(code, ((640 - code.width) // 2, (SIDE - code.height) // 2))
    gray = bytes([128]) * (640 * SIDE // 2)
    path.write_bytes(
        b"YUV4MPEG2 W640 H480 F10:1 Ip C420jpeg\n" + b"FRAME\n" + frame.tobytes() + gray
    )


def seen(
    live: Live,
    browser: Browser,
    tmp_path: Path,
    text: str,
    performance_id: int,
    refused: Sequence[Sequence[int]],
) -> Iterator[tuple[str, str]]:
    """Yield what the door says to a code, each time the camera is opened before it.

    `refused` has, for each time, the statuses with which the door says no.
    """
    film(tmp_path / "camera.y4m", text)
    [steward] = make_accounts(live.db, role="door")
    camera = [
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={tmp_path / 'camera.y4m'}",
    ]
    with_camera = browser.browser_type.launch(
        executable_path=find_chromium(), args=[*ARGUMENTS, *camera]
    )
    for statuses in refused:
        with visiting(
            live, with_camera, **PHONE, permissions=["camera"], refused=statuses
        ) as visitor:
            sign_in(visitor, steward)
            visitor.page.goto(f"{live.address}/door/{performance_id}")
            visitor.page.get_by_role("button", name="Scan with the camera").click()
            answer = visitor.page.locator(".answer")
            answer.wait_for(timeout=SEEN_MS)
            kind = (answer.get_attribute("class") or "").split()[-1]
            yield kind, answer.inner_text()
    with_camera.close()


def test_the_camera_reads_a_ticket(live: Live, browser: Browser, tmp_path: Path) -> None:
    performance_id = make_sale(live.db)
    [buyer] = make_accounts(live.db)
    admitted = enter(live.db, buyer, performance_id)
    paid = pay(live.db, admitted, place(live.db, admitted, [0]))
    first, second = seen(live, browser, tmp_path, paid.tickets[0].code, performance_id, [[], [409]])
    assert first[0] == "go"
    assert "Stalls, row A, seat 1" in first[1]
    assert second[0] == "already"


def test_the_camera_reads_a_poster(live: Live, browser: Browser, tmp_path: Path) -> None:
    performance_id = make_sale(live.db)
    answers = list(
        seen(live, browser, tmp_path, "https://example.com/advert", performance_id, [[404], [404]])
    )
    assert [kind for kind, _ in answers] == ["stop", "stop"]


def test_an_answer_can_be_seen_across_a_hall(live: Live, browser: Browser) -> None:
    performance_id = make_sale(live.db)
    [steward] = make_accounts(live.db, role="door")
    with visiting(live, browser, **PHONE, refused=[404]) as visitor:
        sign_in(visitor, steward)
        page = visitor.page
        page.goto(f"{live.address}/door/{performance_id}")
        page.get_by_label("Ticket code").fill("NOTATICKET")
        page.get_by_role("button", name="Check").click()
        box = page.locator(".answer").bounding_box()
        assert box
        assert box["height"] > 844 / 3
        expect(page.locator(".answer .big")).to_have_css("font-size", "62.4px")
