"""Events: found by words and days, with a picture, and described to search engines."""

import gzip
import json
import re
from datetime import timedelta
from xml.etree import ElementTree

import icalendar
import pytest
from flask import Flask, url_for
from flask.testing import FlaskClient

from tests.builders import enter, make_accounts, make_sale, pay, place
from tests.web.surfer import Surfer
from webapp.db import Database
from webapp.web import posters
from webapp.web.phrases import ZONE


def found(client: FlaskClient, query: str) -> list[str]:
    page = client.get(f"/?{query}")
    assert page.status_code == 200
    return re.findall(r'<h2><a href="/events/[^"]+">([^<]+)</a></h2>', page.text)


def test_search_by_words(client: FlaskClient, db: Database) -> None:
    make_sale(db, title="Winter Light", venue="세종문화회관")
    make_sale(db, title="Songs by the River", description="One voice, 100% live")
    assert found(client, "") == ["Winter Light", "Songs by the River"]
    assert found(client, "q=winter") == ["Winter Light"]
    assert found(client, "q=세종") == ["Winter Light"]
    assert found(client, "q=river+voice") == ["Songs by the River"]
    assert found(client, "q=100%25") == ["Songs by the River"]
    assert found(client, "q=winter+voice") == []
    assert "Nothing was found." in client.get("/?q=nothing").text


def test_search_by_days_of_the_house(client: FlaskClient, db: Database) -> None:
    make_sale(db, title="Soon", starts_in=3 * 86_400)
    make_sale(db, title="Late", starts_in=9 * 86_400)
    day = (db.clock.now() + timedelta(days=3)).astimezone(ZONE).date()
    assert found(client, f"since={day}&until={day}") == ["Soon"]
    assert found(client, f"since={day + timedelta(days=1)}") == ["Late"]
    assert found(client, f"until={day - timedelta(days=1)}") == []


@pytest.mark.parametrize("query", ["since=tomorrow", "until=2026-13-01", f"q={'x' * 101}"])
def test_a_search_that_cannot_be_read_says_so(client: FlaskClient, query: str) -> None:
    page = client.get(f"/?{query}")
    assert page.status_code == 422
    assert 'class="notice bad"' in page.text


def test_every_event_has_a_picture_of_its_own(client: FlaskClient, db: Database) -> None:
    make_sale(db, slug="one")
    picture = client.get("/events/one/poster.svg")
    assert picture.mimetype == "image/svg+xml"
    assert "max-age" in picture.headers["Cache-Control"]
    assert ElementTree.fromstring(picture.text).tag.endswith("svg")
    assert posters.draw("one") == picture.text
    assert posters.draw("two") != picture.text
    assert client.get("/events/none/poster.svg").status_code == 404


def test_an_event_is_described_to_search_engines(client: FlaskClient, db: Database) -> None:
    make_sale(db, slug="one", title="A </script> concert", price_minor=12_000)
    page = client.get("/events/one").text
    match = re.search(r'<script type="application/ld\+json">(.*?)</script>', page, re.DOTALL)
    assert match
    [described] = json.loads(match[1])
    assert described["@type"] == "Event"
    assert described["name"] == "A </script> concert"
    assert described["image"].endswith("/events/one/poster.svg")
    [offer] = described["offers"]
    assert (offer["price"], offer["priceCurrency"]) == ("12000", "KRW")
    assert offer["availability"] == "https://schema.org/InStock"


def test_a_sold_out_event_says_so(app: Flask, client: FlaskClient, db: Database) -> None:
    sale = make_sale(db, slug="full", seats=2)
    [buyer] = make_accounts(db)
    admitted = enter(db, buyer, sale)
    pay(db, admitted, place(db, admitted, [0, 1]))
    page = client.get("/events/full").text
    assert "Sold out" in page
    assert "https://schema.org/SoldOut" in page
    assert "Buy tickets" not in page


def test_a_booking_goes_into_the_calendar(app: Flask, db: Database) -> None:
    sale = make_sale(db, title="Winter; Light", auditorium=True)
    buyer, stranger = make_accounts(db, 2)
    admitted = enter(db, buyer, sale)
    booked = pay(db, admitted, place(db, admitted, [0, 1]))
    path = f"/bookings/{booked.reference}/calendar.ics"
    file = Surfer(app, buyer).get(path).response
    assert file.mimetype == "text/calendar"
    [event] = icalendar.Calendar.from_ical(file.data).events
    assert event["summary"] == "Winter; Light"
    assert event["status"] == "CONFIRMED"
    starts_at = app.extensions["jari"].sales.get(sale).rules.starts_at
    assert abs(event["dtstart"].dt - starts_at) < timedelta(seconds=1)
    assert "Stalls A, row A, seat 2" in event["description"]
    Surfer(app, stranger).get(path, 404)


def test_signing_out_forgets_the_tickets_that_were_kept(app: Flask, db: Database) -> None:
    [buyer] = make_accounts(db)
    surfer = Surfer(app, buyer)
    out = surfer.send("/wallet", "/sign-out")
    assert out.response.headers["Clear-Site-Data"] == '"storage"'


def test_files_have_names_that_change_with_their_content(client: FlaskClient) -> None:
    page = client.get("/").text
    match = re.search(r'href="(/static/([0-9a-f]{12})/jari\.css)"', page)
    assert match
    kept = client.get(match[1])
    assert kept.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    other = client.get(match[1].replace(match[2], "0" * 12))  # the other version's, in a deployment
    assert other.status_code == 200
    assert other.headers["Cache-Control"] == "no-store"
    assert client.get("/static/x/../../config.py").status_code == 404
    assert client.get("/offline.js").mimetype == "text/javascript"


@pytest.mark.parametrize("name", ["jari.css", "seatmap/main.js", "icon.svg"])
def test_files_travel_packed_to_whoever_can_read_that(client: FlaskClient, name: str) -> None:
    path = url_of(client, name)
    plain = client.get(path)
    assert "Content-Encoding" not in plain.headers
    packed = client.get(path, headers={"Accept-Encoding": "br, gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    for response in (plain, packed):
        assert response.headers["Vary"] == "Accept-Encoding"
        assert response.mimetype == packed.mimetype
        assert "immutable" in response.headers["Cache-Control"]


def url_of(client: FlaskClient, name: str) -> str:
    with client.application.test_request_context():
        return url_for("static", filename=name)
