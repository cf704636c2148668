"""Tickets to show, to print and to remember: a QR code as SVG, a page as PDF, a day in the calendar.

The QR code holds the ticket's short code and nothing else, so that any scanner reads it at arm's length.
A printed ticket brings the letters that it needs, Korean ones too: it looks the same wherever it is opened.
"""

import base64
import io
import itertools
import uuid
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import icalendar
import segno
from flask import Response
from reportlab.lib.pagesizes import A6
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from webapp.domain import bookings
from webapp.domain.bookings import Booked, TicketFacts
from webapp.domain.catalogue import Sale
from webapp.domain.errors import NotFound
from webapp.domain.seatmap import Place, Seatmap
from webapp.web import phrases
from webapp.web.house import House
from webapp.web.languages import gettext

_QR_MM = 50.0
_USUAL_HOURS = 2  # nobody says how long a performance lasts; a calendar wants to know
# Every viewer has the first. Of the second the letters that a ticket uses are put into it: some KB.
_LATIN, _KOREAN = "Helvetica", "NanumSquare"
_FONT: Final = Path(__file__).resolve().parents[1] / "vendor/nanum-square-20200506/NanumSquareR.ttf"
pdfmetrics.registerFont(TTFont(_KOREAN, str(_FONT)))


@dataclass(frozen=True, slots=True)
class PrintedTicket:
    """Everything that a ticket says."""

    sale: Sale
    booked: Booked
    ticket: TicketFacts
    hall: Seatmap

    @property
    def place(self) -> Place:
        """Where the seat is."""
        return self.hall.places[self.ticket.seat_no]


def get_own(house: House, reference: str, code: str, account_id: uuid.UUID) -> PrintedTicket:
    """Return a customer's own ticket; raise NotFound."""
    booked = house.db.read(bookings.get_own, reference, account_id)
    found = [ticket for ticket in booked.tickets if ticket.code == code]
    if not found:
        raise NotFound()
    sale = house.sales.get(booked.performance_id)
    return PrintedTicket(sale, booked, found[0], house.seatmap_of(sale))


def svg(code: str) -> bytes:
    """Draw a ticket's code as a QR code that scales, without styles that a strict policy would block."""
    out = io.BytesIO()
    segno.make_qr(code, error="m").save(
        out,
        kind="svg",
        omitsize=True,
        xmldecl=False,
        light="#fff",
        svgclass=None,
        lineclass=None,
        title="Ticket",
    )
    return out.getvalue()


def data_uri(code: str) -> str:
    """Return a code's QR code as an address that holds the picture itself: it shows without a network."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg(code)).decode()}"


def calendar(sale: Sale, booked: Booked, hall: Seatmap) -> bytes:
    """Write a booking as a calendar file: the same booking again changes the entry, and adds none."""
    names = phrases.section_names(hall)
    live = [ticket for ticket in booked.tickets if ticket.voided_at is None]
    event = icalendar.Event()
    event.add("uid", f"{booked.id}@jari")
    event.add("dtstamp", booked.cancelled_at or booked.paid_at)
    event.add("summary", sale.event_title)
    event.add("location", sale.venue)
    event.add("dtstart", sale.rules.starts_at)
    event.add("dtend", sale.rules.starts_at + timedelta(hours=_USUAL_HOURS))
    seats = [phrases.seat(hall.places[ticket.seat_no], names) for ticket in live]
    reference = gettext("Booking %(reference)s", reference=booked.reference)
    event.add("description", "\n".join([reference, *seats]))
    event.add("status", "CANCELLED" if booked.cancelled_at else "CONFIRMED")
    file = icalendar.Calendar()
    file.add("prodid", "-//Jari//Jari//EN")
    file.add("version", "2.0")
    file.add_component(event)
    return bytes(file.to_ical())


def pdf(printed: PrintedTicket) -> bytes:
    """Print a ticket on one page of A6."""
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=A6)
    canvas.setTitle(gettext("Ticket %(reference)s", reference=printed.booked.reference))
    width, height = A6
    for text, size, top in _lines(printed):
        _write(canvas, text, size, 10 * mm, height - top * mm, width - 20 * mm)
    _draw_qr(canvas, printed.ticket.code, (width - _QR_MM * mm) / 2, 16 * mm)
    _write(canvas, printed.ticket.code, 8, 10 * mm, 10 * mm, width - 20 * mm)
    canvas.showPage()
    canvas.save()
    return out.getvalue()


def _lines(printed: PrintedTicket) -> list[tuple[str, int, int]]:
    """Return the text, its size in points and its distance from the top in millimetres."""
    sale, place = printed.sale, printed.place
    price = phrases.money(printed.ticket.price_minor, printed.booked.currency)
    lines = [
        (sale.event_title, 16, 16),
        (phrases.day_and_time(sale.rules.starts_at), 11, 24),
        (sale.venue, 11, 30),
        (phrases.seat(place, phrases.section_names(printed.hall)), 14, 41),
        (
            gettext(
                "Booking %(reference)s, %(price)s", reference=printed.booked.reference, price=price
            ),
            8,
            48,
        ),
    ]
    if printed.ticket.voided_at is not None:
        lines.append((gettext("CANCELLED: this ticket opens no door"), 11, 56))
    return lines


def _write(canvas: Canvas, text: str, size: int, x: float, y: float, width: float) -> None:
    """Write one line, smaller where it would not fit, each letter in a font that has it."""
    runs = [(font, "".join(letters)) for font, letters in itertools.groupby(text, key=_font_for)]
    room = width / max(1.0, sum(pdfmetrics.stringWidth(run, font, 1) for font, run in runs))
    line = canvas.beginText(x, y)
    for font, run in runs:
        line.setFont(font, min(size, room))
        line.textOut(run)
    canvas.drawText(line)


def _font_for(letter: str) -> str:
    return _LATIN if ord(letter) < 256 else _KOREAN


def _draw_qr(canvas: Canvas, code: str, x: float, y: float) -> None:
    modules = tuple(segno.make_qr(code, error="m").matrix_iter(border=4))
    side = _QR_MM * mm / len(modules)
    for row, line in enumerate(reversed(modules)):
        for column, dark in enumerate(line):
            if dark:
                canvas.rect(x + column * side, y + row * side, side, side, stroke=0, fill=1)


def answer_svg(printed: PrintedTicket) -> Response:
    """Answer with the QR code."""
    return _answer(svg(printed.ticket.code), "image/svg+xml")


def answer_pdf(printed: PrintedTicket) -> Response:
    """Answer with the printed page, named by the booking."""
    response = _answer(pdf(printed), "application/pdf")
    response.headers["Content-Disposition"] = (
        f'inline; filename="ticket-{printed.booked.reference}-{printed.place.seat_no}.pdf"'
    )
    return response


def answer_calendar(sale: Sale, booked: Booked, hall: Seatmap) -> Response:
    """Answer with the calendar file, named by the booking."""
    response = _answer(calendar(sale, booked, hall), "text/calendar")
    name = f"{booked.reference}.ics"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _answer(content: bytes, mimetype: str) -> Response:
    # A ticket is worth money: no cache on the way keeps it.
    return Response(content, mimetype=mimetype, headers={"Cache-Control": "no-store"})
