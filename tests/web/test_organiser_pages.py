"""The organiser's and the door's pages."""

import pytest
from flask import Flask

from tests.builders import enter, make_accounts, make_sale, pay, place
from tests.conftest import AdvancingClock
from tests.web.surfer import Surfer
from webapp.db import Database
from webapp.domain import bookings, catalogue, sales
from webapp.domain.bookings import Booked


def test_the_organiser_sees_seats_and_people(app: Flask, db: Database) -> None:
    [organiser] = make_accounts(db, role="organiser")
    sale = make_sale(db, organiser=organiser, capacity=2, blocked=[9])
    first, second, third = make_accounts(db, 3)
    inside = enter(db, first, sale)
    pay(db, inside, place(db, inside, [0, 1]))
    place(db, enter(db, second, sale), [2])
    Surfer(app, third).send(f"/performances/{sale}", "/queue")
    page = Surfer(app, organiser).get("/organiser")
    assert "Sold 2 Held 1 Free 96 Closed 1 Waiting 1 Choosing 1" in page.words


def test_pausing_and_resuming(app: Flask, db: Database) -> None:
    [organiser] = make_accounts(db, role="organiser")
    sale = make_sale(db, organiser=organiser)
    surfer = Surfer(app, organiser)
    paused = surfer.follow(surfer.send("/organiser", "/pause"))
    assert "Paused." in paused.words
    assert db.read(catalogue.get_rules, sale).paused_at is not None
    resumed = surfer.follow(surfer.send(paused, "/resume"))
    assert "Resumed." in resumed.words
    assert db.read(catalogue.get_rules, sale).paused_at is None


@pytest.mark.parametrize("rule", sales.SINGLE_SEAT_RULES)
def test_the_rule_for_single_seats_is_the_organisers(app: Flask, db: Database, rule: str) -> None:
    [organiser] = make_accounts(db, role="organiser")
    sale = make_sale(db, organiser=organiser)
    surfer = Surfer(app, organiser)
    surfer.follow(surfer.send("/organiser", "/single-seat-rule", rule=rule))
    assert db.read(catalogue.get_rules, sale).single_seat_rule == rule
    surfer.send("/organiser", "/single-seat-rule", 422, rule="whatever")


@pytest.mark.failure("F47")
def test_nobody_steers_anothers_sale(app: Flask, db: Database) -> None:
    sale = make_sale(db)
    surfer = Surfer(app, make_accounts(db, role="organiser")[0])
    assert "You sell nothing yet." in surfer.get("/organiser").words
    for step in ("pause", "resume", "single-seat-rule"):
        surfer.post(f"/organiser/performances/{sale}/{step}", 404, rule="off")
    assert db.read(catalogue.get_rules, sale).paused_at is None


@pytest.mark.parametrize(
    ("role", "paths"),
    [
        ("customer", ["/organiser", "/door", "/door/1"]),
        ("organiser", ["/door", "/door/1"]),
        ("door", ["/organiser"]),
    ],
)
def test_other_roles_are_refused(app: Flask, db: Database, role: str, paths: list[str]) -> None:
    surfer = Surfer(app, make_accounts(db, role=role)[0])
    for path in paths:
        assert surfer.get(path, 403).heading == "Your account may not do this."


# -- the door -----------------------------------------------------------------------------------


def booked(db: Database) -> Booked:
    inside = enter(db, make_accounts(db)[0], make_sale(db))
    return pay(db, inside, place(db, inside, [0, 1]))


def test_a_ticket_opens_the_door_once(app: Flask, db: Database) -> None:
    booking = booked(db)
    door = Surfer(app, make_accounts(db, role="door")[0])
    here = f"/door/{booking.performance_id}"
    assert f'href="{here}"' in door.get("/door").text
    code = booking.tickets[0].code
    typed = f" {code[:13].lower()}-{code[13:]} "
    go = door.follow(door.send(here, "", code=typed))
    assert "Go Stalls, row A, seat 1 — Customer" in go.words
    assert "Go Stalls" not in door.get(here).words
    already = door.send(here, "", 409, code=code)
    assert "Already in This ticket opened the door at" in already.words
    assert "Go Stalls" not in already.words


def test_a_performance_that_is_over_has_no_door(
    app: Flask, db: Database, clock: AdvancingClock
) -> None:
    sale = make_sale(db, starts_in=60)
    door = Surfer(app, make_accounts(db, role="door")[0])
    clock.advance(11 * 3_600)
    assert f'href="/door/{sale}"' in door.get("/door").text
    clock.advance(2 * 3_600)
    other = Surfer(app, make_accounts(db, role="door")[0])
    assert "Nothing is coming up." in other.get("/door").words


def test_the_door_stops_what_is_no_ticket_for_it(app: Flask, db: Database) -> None:
    booking, other = booked(db), booked(db)
    cancelled = booked(db)
    db.transact(bookings.cancel, cancelled, cancelled.id)
    door = Surfer(app, make_accounts(db, role="door")[0])
    cases = [
        (booking, other.tickets[0].code, 409, "This ticket is for another performance."),
        (cancelled, cancelled.tickets[0].code, 409, "This ticket was cancelled."),
        (booking, "2" * 26, 404, "There is no such ticket."),
        (booking, "", 404, "There is no such ticket."),
        (booking, "\0", 404, "There is no such ticket."),
        (booking, "x" * 5_000, 404, "There is no such ticket."),
    ]
    for at, code, status, says in cases:
        page = door.send(f"/door/{at.performance_id}", "", status, code=code)
        assert f"Stop {says}" in page.words
    door.get("/door/999", 404)
