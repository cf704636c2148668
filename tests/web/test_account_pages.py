"""What a customer has: bookings, tickets, a refund, a wallet."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from flask import Flask

from tests.builders import Customer, enter, make_accounts, make_sale, pay, place
from tests.conftest import AdvancingClock
from tests.web.surfer import Surfer
from webapp.db import Database
from webapp.domain import seatmap, tickets, wallet
from webapp.domain.bookings import Booked
from webapp.web import documents


def book(db: Database, seats: int = 2, **sale: float) -> tuple[Customer, Booked]:
    """A customer with a million and a booking of some seats at ₩1,000."""
    [buyer] = make_accounts(db)
    performance_id = make_sale(db, **sale)
    admitted = enter(db, buyer, performance_id)
    return buyer, pay(db, admitted, place(db, admitted, range(seats)))


def balance(db: Database, buyer: Customer) -> int:
    return db.lookup(wallet.get, buyer.id).balance_minor


# -- bookings and tickets -----------------------------------------------------------------------


def test_bookings_are_listed_newest_first(app: Flask, db: Database) -> None:
    [buyer] = make_accounts(db)
    sale = make_sale(db, seats=30, seats_max=30)
    references = []
    for seat in range(21):
        admitted = enter(db, buyer, sale)
        references.append(pay(db, admitted, place(db, admitted, [seat])).reference)
    page = Surfer(app, buyer).get("/bookings")
    shown = [word for word in page.words.split() if word in references]
    assert shown == references[:0:-1]
    [more] = [part for part in page.text.split('"') if part.startswith("/bookings?cursor=")]
    assert references[0] in Surfer(app, buyer).get(more).words


def test_a_ticket_has_its_seat_its_code_and_its_pictures(app: Flask, db: Database) -> None:
    buyer, booked = book(db)
    surfer = Surfer(app, buyer)
    page = surfer.get(f"/bookings/{booked.reference}")
    for ticket in booked.tickets:
        assert f"seat {ticket.seat_no + 1}" in page.words
        assert ticket.code in page.words
        address = f"/bookings/{booked.reference}/tickets/{ticket.code}"
        assert f'src="{documents.data_uri(ticket.code)}"' in page.text  # needs no network
        assert f'href="{address}.pdf"' in page.text
        assert documents.svg(ticket.code).startswith(b"<svg")
        pdf = surfer.client.get(f"{address}.pdf")
        assert pdf.mimetype == "application/pdf"
        assert pdf.data.startswith(b"%PDF")


@pytest.mark.failure("F47")
def test_somebody_elses_booking_is_not_there(app: Flask, db: Database) -> None:
    _, booked = book(db)
    [other] = make_accounts(db)
    surfer = Surfer(app, other)
    here = f"/bookings/{booked.reference}"
    code = booked.tickets[0].code
    for path in ("", "/cancellation", "/calendar.ics", f"/tickets/{code}.pdf"):
        assert surfer.get(here + path, 404).heading == "There is nothing here."
    surfer.post(f"{here}/cancellation", 404, key="a-key")
    assert db.lookup(seatmap.states, booked.performance_id)[:2] == "ss"


def test_a_code_of_another_booking_is_not_there(app: Flask, db: Database) -> None:
    buyer, booked = book(db)
    _, other = book(db)
    surfer = Surfer(app, buyer)
    surfer.get(f"/bookings/{booked.reference}/tickets/{other.tickets[0].code}.svg", 404)


def test_a_used_ticket_says_when(app: Flask, db: Database) -> None:
    buyer, booked = book(db)
    db.transact(tickets.scan, booked.performance_id, booked.tickets[0].code)
    page = Surfer(app, buyer).get(f"/bookings/{booked.reference}")
    assert page.words.count("Used on") == 1


# -- cancelling ---------------------------------------------------------------------------------


def test_cancelling_shows_the_refund_before_and_pays_it_once(app: Flask, db: Database) -> None:
    buyer, booked = book(db)
    surfer = Surfer(app, buyer)
    here = f"/bookings/{booked.reference}"
    assert "Cancel this booking" in surfer.get(here).words
    confirm = surfer.get(f"{here}/cancellation")
    assert "Cancel and get ₩2,000 back" in confirm.words
    assert balance(db, buyer) == 998_000
    for _ in range(2):
        cancelled = surfer.follow(surfer.send(confirm, "/cancellation"))
        assert "Cancelled. ₩2,000 is back in your wallet." in cancelled.words
        assert "this ticket opens no door" in cancelled.words
        assert '.svg"' not in cancelled.text.replace('icon.svg"', "")
    assert balance(db, buyer) == 1_000_000
    assert db.lookup(seatmap.states, booked.performance_id)[:2] == "ff"
    again = surfer.send(surfer.get(here), "/sign-out")
    assert again.status == 303


@pytest.mark.failure("F8")
def test_many_cancellations_refund_once(app: Flask, db: Database) -> None:
    buyer, booked = book(db)
    surfer = Surfer(app, buyer)
    path = f"/bookings/{booked.reference}/cancellation"
    data = dict(surfer.get(path).form("/cancellation").fields)
    cookies = [surfer.client.get_cookie(name) for name in ("jari_session", "session")]

    def press(number: int) -> int:
        client = app.test_client()
        for cookie in cookies:
            assert cookie is not None
            client.set_cookie(cookie.key, cookie.value)
        own = {"key": f"tab-{number}"} if number % 2 else {}
        return client.post(path, data=data | own).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(press, range(16)))
    assert 303 in statuses
    assert set(statuses) <= {303, 409}
    assert balance(db, buyer) == 1_000_000


def refused_cancellation(app: Flask, buyer: Customer, booked: Booked, says: str) -> None:
    surfer = Surfer(app, buyer)
    here = f"/bookings/{booked.reference}"
    assert "Cancel this booking" not in surfer.get(here).words
    assert "cannot be cancelled any more" in surfer.get(f"{here}/cancellation").words
    page = surfer.post(f"{here}/cancellation", 409, key="a-key")
    assert says in page.words
    assert booked.reference in page.heading


def test_a_booking_is_cancelled_once(app: Flask, db: Database) -> None:
    buyer, booked = book(db)
    surfer = Surfer(app, buyer)
    surfer.send(f"/bookings/{booked.reference}/cancellation", "/cancellation")
    refused_cancellation(app, buyer, booked, "This booking is already cancelled.")
    assert balance(db, buyer) == 1_000_000


def test_it_can_be_too_late_to_cancel(app: Flask, db: Database, clock: AdvancingClock) -> None:
    buyer, booked = book(db, starts_in=3_600)
    clock.advance(3_601)
    refused_cancellation(app, buyer, booked, "It is too late to cancel.")


def test_who_is_inside_cannot_cancel(app: Flask, db: Database) -> None:
    buyer, booked = book(db)
    db.transact(tickets.scan, booked.performance_id, booked.tickets[0].code)
    refused_cancellation(app, buyer, booked, "This ticket has already opened the door.")
    assert balance(db, buyer) == 998_000


def test_a_cancellation_needs_its_key(app: Flask, db: Database) -> None:
    buyer, booked = book(db)
    path = f"/bookings/{booked.reference}/cancellation"
    for key in ("", "k" * 256, "ключ", "a\0b"):
        Surfer(app, buyer).post(path, 400, key=key)
    assert balance(db, buyer) == 998_000


# -- the wallet ---------------------------------------------------------------------------------


@pytest.mark.failure("F10")
def test_a_top_up_sent_twice_counts_once(app: Flask, db: Database) -> None:
    [buyer] = make_accounts(db, balance_minor=0)
    surfer = Surfer(app, buyer)
    form = surfer.get("/wallet")
    for _ in range(2):
        page = surfer.follow(surfer.send(form, "/wallet/top-ups", amount="12,000"))
        assert "₩12,000 added." in page.words
    assert balance(db, buyer) == 12_000
    surfer.send(form, "/wallet/top-ups", 422, amount="13,000")
    assert balance(db, buyer) == 12_000


def test_the_wallet_shows_every_movement(app: Flask, db: Database) -> None:
    buyer, booked = book(db)
    surfer = Surfer(app, buyer)
    surfer.send(f"/bookings/{booked.reference}/cancellation", "/cancellation")
    page = surfer.get("/wallet")
    for words in ("Top-up ₩1,000,000", "Paid for a booking −₩2,000", "Refund ₩2,000"):
        assert words in page.words


@pytest.mark.parametrize(
    "amount", ["", "0", "-5", "1.5", "1e9", "many", "10000001", "9" * 400, "١٢"]
)
def test_odd_amounts_come_back_with_a_sentence(app: Flask, db: Database, amount: str) -> None:
    [buyer] = make_accounts(db, balance_minor=0)
    page = Surfer(app, buyer).send("/wallet", "/wallet/top-ups", 422, amount=amount)
    assert "Please enter an amount above zero and within the limit." in page.words
    assert balance(db, buyer) == 0


def test_top_ups_may_be_closed(app: Flask, db: Database) -> None:
    house = app.extensions["jari"]
    house.config = replace(house.config, self_top_ups=False)
    surfer = Surfer(app, make_accounts(db)[0])
    page = surfer.get("/wallet")
    assert "The box office credits wallets here." in page.words
    refused = surfer.post("/wallet/top-ups", 403, amount="5", key="a-key")
    assert "Wallets are credited by the operator here. Please ask the box office" in refused.words


def test_a_top_up_leads_back_but_never_to_another_site(app: Flask, db: Database) -> None:
    surfer = Surfer(app, make_accounts(db)[0])
    asked_and_led = [("/bookings", "/bookings")]
    asked_and_led += [(text, "/wallet") for text in ("", "///evil.kr", "/\\evil.kr", "/\t/evil.kr")]
    for asked, led in asked_and_led:
        sent = surfer.send("/wallet", "/wallet/top-ups", amount="1", next=asked)
        assert sent.location == led
