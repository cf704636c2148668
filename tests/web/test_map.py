"""What the seat map loads, and the pages' own part in choosing: notes, praise, elsewhere."""

import gzip
import json
import random
from itertools import accumulate
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.builders import enter, make_accounts, make_sale
from tests.web.surfer import Page, Surfer
from webapp.db import Database
from webapp.domain import auditoriums, seatmap
from webapp.domain.catalogue import Price
from webapp.domain.seatmap import Place, Seatmap
from webapp.web import map_shapes
from webapp.web.praise import praise

LEVELS = [Price("vip", "VIP", 3_000), Price("r", "R", 2_000), Price("a", "A", 1_000)]


@pytest.fixture(scope="module")
def hall() -> Seatmap:
    plan = auditoriums.plan(2_000, [price.code for price in LEVELS])
    return Seatmap(1, plan.version, plan.name, plan.geometry, plan.places)


def unpack(drawing: bytes) -> dict[int, tuple[Any, ...]]:
    """Read a drawing as `static/seatmap/hall.js` does."""
    shape = json.loads(gzip.decompress(drawing))
    seats = {}
    for section in shape["sections"]:
        for row in section["rows"]:
            columns = (list(accumulate(row[name])) for name in ("seat", "number", "x", "y"))
            for at, (seat, number, x, y) in enumerate(zip(*columns, strict=True)):
                level = row["level"] if isinstance(row["level"], int) else row["level"][at]
                label = (
                    row["labels"][at]
                    if "labels" in row
                    else f"{section['code']}-{row['row']}-{number}"
                )
                seats[seat] = (label, section["code"], row["row"], number, x, y, level)
    return seats


def test_the_drawing_is_the_hall(hall: Seatmap) -> None:
    seats = unpack(map_shapes.drawing(hall))
    levels = list(dict.fromkeys(place.price_level for place in hall.places))
    for place in hall.places:
        level = levels.index(place.price_level)
        facts = (place.label, place.section, place.row, place.number, place.x, place.y, level)
        assert seats[place.seat_no] == facts


def test_seats_with_names_of_their_own_keep_them(hall: Seatmap) -> None:
    odd = [Place(n, f"Chair {n}", "A", "1", n * 2, n * 9, 5, "r", False) for n in range(3)]
    named = Seatmap(2, "v", "Odd", hall.geometry, tuple(odd))
    assert [facts[0] for facts in unpack(map_shapes.drawing(named)).values()] == [
        "Chair 0",
        "Chair 1",
        "Chair 2",
    ]


def test_a_hall_of_20000_is_small() -> None:
    plan = auditoriums.plan(20_000, ["one"])
    hall = Seatmap(1, plan.version, plan.name, plan.geometry, plan.places)
    assert len(map_shapes.drawing(hall)) < 60_000


def test_the_drawing_is_kept_for_ever_under_its_version(client: FlaskClient, db: Database) -> None:
    sale = make_sale(db, seats=400, levels=LEVELS, auditorium=True)
    version = client.get(f"/api/v1/performances/{sale}/seatmap").json["seatmap_version"]
    path = f"/performances/{sale}/map/{version}.json"
    packed = client.get(path, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "immutable" in packed.headers["Cache-Control"]
    plain = client.get(path)
    assert plain.json == json.loads(gzip.decompress(packed.data))
    assert client.get(f"/performances/{sale}/map/old.json").status_code == 404


def test_availability_says_when_to_ask_again(client: FlaskClient, db: Database) -> None:
    on_sale, over = make_sale(db), make_sale(db, opens_in=-120, closes_in=-60)
    soon = client.get(f"/api/v1/performances/{on_sale}/availability").json["poll_after_ms"]
    late = client.get(f"/api/v1/performances/{over}/availability").json["poll_after_ms"]
    assert 1_000 <= soon <= 2_000
    assert late > 10_000


def test_praise_says_what_is_so(hall: Seatmap) -> None:
    best = [hall.by_label[f"1B-A-{number}"].seat_no for number in (4, 5)]
    assert praise(hall, best) == [
        "Side by side",
        "In the middle",
        "Nearer to the stage than 99% of the hall",
    ]
    last = hall.places[-1].seat_no
    assert praise(hall, [last]) == []
    hidden = min(hall.restricted)
    assert "Restricted view" in praise(hall, [hidden])
    apart = [hall.by_label["1A-A-1"].seat_no, hall.by_label["1B-A-1"].seat_no]
    assert praise(hall, apart)[0] == "As near to each other as could be"


def test_elsewhere_is_another_row(hall: Seatmap) -> None:
    states, rng = "f" * len(hall.places), random.Random(1)
    tried: set[int] = set()
    rows = set()
    for _ in range(20):
        choice = seatmap.choose(hall, states, 2, rng, avoid=tried)
        tried |= {place.seat_no for place in choice.places}
        rows.add((choice.places[0].section, choice.places[0].row))
    assert len(rows) == 20


def test_elsewhere_comes_back_when_there_is_nothing_else(hall: Seatmap) -> None:
    row = hall.rows[0]
    states = "".join("f" if place in row else "s" for place in hall.places)
    avoid = {place.seat_no for place in row}
    choice = seatmap.choose(hall, states, 2, random.Random(1), avoid=avoid)
    assert choice.together == "row"


# -- the pages ----------------------------------------------------------------------------------


def inside(app: Flask, db: Database, **more: Any) -> tuple[Surfer, int]:
    sale = make_sale(db, seats=400, levels=LEVELS, auditorium=True, **more)
    [customer] = make_accounts(db)
    enter(db, customer, sale)
    return Surfer(app, customer), sale


def hold(surfer: Surfer, sale: int, *seats: str) -> Page:
    page = surfer.get(f"/performances/{sale}/seats?at=1B")
    return surfer.send(page, "/hold", seat=list(seats))


@pytest.mark.parametrize(("rule", "told"), [("lenient", True), ("off", False)])
def test_a_lenient_rule_names_the_seat_left_alone(
    app: Flask, db: Database, rule: str, told: bool
) -> None:
    surfer, sale = inside(app, db, single_seat_rule=rule)
    checkout = surfer.follow(hold(surfer, sale, "1B-C-2", "1B-C-3"))
    assert ("Stalls B, row C, seat 1 is left alone beside yours" in checkout.words) is told


def test_trying_elsewhere_replaces_the_hold(app: Flask, db: Database) -> None:
    surfer, sale = inside(app, db)
    page = surfer.get(f"/performances/{sale}/seats")
    checkout = surfer.follow(surfer.send(page, "/hold", which=0, quantity="2", price_level="vip"))
    assert "Side by side" in checkout.words
    again = surfer.send(checkout, "/hold")
    elsewhere = surfer.follow(again)
    assert "tried=" in (again.location or "")
    assert elsewhere.words.count(" VIP ") == 2
    assert checkout.form("/pay").fields != elsewhere.form("/pay").fields


@pytest.mark.parametrize("tried", ["x", "1..2", "1." * 400, "9" * 50])
def test_what_was_tried_is_not_trusted(app: Flask, db: Database, tried: str) -> None:
    surfer, sale = inside(app, db)
    surfer.follow(hold(surfer, sale, "1B-C-1", "1B-C-2"))
    checkout = surfer.get(f"/performances/{sale}/checkout?tried={tried}")
    surfer.follow(surfer.send(checkout, "/hold"))


def test_special_seats_are_told_in_words(app: Flask, db: Database) -> None:
    surfer, sale = inside(app, db)
    page = surfer.get(f"/performances/{sale}/seats?at=1B")
    assert ", wheelchair place" in page.words
    assert ", companion seat" in page.words
