"""Tickets to show and to print."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from tests.web.contract import Api
from tests.web.visitors import Visitor, visitor
from webapp.web import documents
from webapp.web.documents import PrintedTicket

NAMES = ("A concert", "겨울 이야기", "Žižek & Ørsted", "🎫 ticket", "x" * 200, "", "line\nbreak")


@pytest.fixture
def buyer(api: Api) -> Visitor:
    return visitor(api).join().choose("ST-A-1").pay()


@pytest.fixture
def printed(buyer: Visitor) -> PrintedTicket:
    own = (*buyer.ticket.values(), buyer.who.id)
    return documents.get_own(buyer.api.house, *own)


def test_the_qr_code_scales_and_needs_no_style(buyer: Visitor) -> None:
    response = buyer.api.call("get_ticket_svg", buyer.who, path=buyer.ticket)
    root = ElementTree.fromstring(response.data)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert set(root.attrib) == {"viewBox"}
    assert "style" not in response.text
    assert response.headers["Cache-Control"] == "no-store"


def test_a_ticket_is_one_page_whatever_the_event_is_called(printed: PrintedTicket) -> None:
    for name in NAMES:
        sale = replace(printed.sale, event_title=name, venue=name)
        page = documents.pdf(replace(printed, sale=sale))
        assert len(re.findall(rb"/Type /Page\b", page)) == 1, name


def test_korean_letters_are_in_the_ticket_itself(printed: PrintedTicket) -> None:
    sale = replace(printed.sale, event_title="겨울 이야기, 1막", venue="세종문화회관")
    page = documents.pdf(replace(printed, sale=sale))
    fonts = set(re.findall(rb"/BaseFont /([\w+-]+)", page))
    embedded = {name for name in fonts if re.fullmatch(rb"[A-Z]{6}\+NanumSquare\w*", name)}
    assert embedded
    assert fonts - embedded == {b"Helvetica"}  # which every reader has
    assert page.count(b"/FontFile2 ") >= 1
    assert len(page) < 60_000


def test_a_ticket_says_where_when_and_that_it_was_cancelled(printed: PrintedTicket) -> None:
    text = " ".join(line for line, _, _ in documents._lines(printed))
    for fact in ("A concert", "Test hall", "row A, seat 1", printed.booked.reference, "₩1,000"):
        assert fact in text
    assert "CANCELLED" not in text
    voided = replace(printed.ticket, voided_at=printed.booked.paid_at)
    last = documents._lines(replace(printed, ticket=voided))[-1]
    assert last[0].startswith("CANCELLED")


def test_the_pdf_is_named_by_its_booking(buyer: Visitor) -> None:
    response = buyer.api.call("get_ticket_pdf", buyer.who, path=buyer.ticket)
    assert buyer.booking["reference"] in response.headers["Content-Disposition"]
