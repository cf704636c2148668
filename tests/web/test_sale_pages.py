"""From the performance's page to the tickets, without a script: every station and every refusal."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event

from jobs import usher
from tests.builders import Customer, enter, make_accounts, make_sale, pay, place
from tests.conftest import AdvancingClock
from tests.web.surfer import Page, Surfer
from tests.web.visitors import keep_to
from tests.web.watching import Watch
from webapp.db import Database
from webapp.domain import bookings, holds, leases, outlook, rooms, sales, seatmap, wallet
from webapp.domain.catalogue import Price
from webapp.domain.errors import AlreadyBooked
from webapp.web import phrases
from webapp.web.guards import COOKIE
from webapp.web.pacing import EARLY_LOOKS
from webapp.web.place_part import WAITING_COOKIE

TOKENS_BEGIN = "eyJhbGciOi"  # shorter, and a form's signature has it by chance


def usher_round(db: Database) -> None:
    """Let the usher do one round, as another process would."""
    fence = db.transact(leases.acquire, "usher")
    assert fence is not None
    usher.run(db, fence)
    db.transact(leases.release, "usher", fence)


def customer(db: Database, balance_minor: int = 1_000_000) -> Customer:
    return make_accounts(db, balance_minor=balance_minor)[0]


def go_inside(surfer: Surfer, sale: int) -> Page:
    """Join a sale without a waiting room; come to the seats."""
    joined = surfer.send(f"/performances/{sale}", "/queue")
    return surfer.follow(surfer.follow(joined, 303))


def hold(surfer: Surfer, sale: int, *seats: str) -> Page:
    """Choose seats by name; come to the checkout."""
    page = surfer.get(f"/performances/{sale}/seats")
    return surfer.follow(surfer.send(page, "/hold", seat=list(seats)))


def states(db: Database, sale: int) -> str:
    return db.lookup(seatmap.states, sale)


# -- the chain ----------------------------------------------------------------------------------


def test_the_whole_chain(app: Flask, db: Database) -> None:
    levels = [Price("r", "R", 12_000), Price("s", "S", 9_000)]
    sale = make_sale(db, levels=levels, capacity=1, seats_max=4)
    other = customer(db)
    inside = enter(db, other, sale)
    buyer = customer(db, balance_minor=10_000)
    surfer = Surfer(app, buyer)

    joined = surfer.send(f"/performances/{sale}", "/queue")
    assert joined.location == f"/performances/{sale}/queue"
    assert "Your number is on its way" in surfer.follow(joined).words
    usher_round(db)
    waiting = surfer.follow(joined)
    assert "Your number 1 People ahead of you 0" in waiting.words
    assert re.search(
        rf'<noscript><meta http-equiv="refresh" content="\d+; url=/performances/{sale}/queue">',
        waiting.text,
    )
    pay(db, inside, place(db, inside, [50]))
    usher_round(db)
    assert surfer.get(f"/performances/{sale}/queue", 303).location == f"/performances/{sale}/seats"

    seats = surfer.get(f"/performances/{sale}/seats")
    checkout = surfer.follow(surfer.send(seats, "/hold", seat=["ST-A-1", "ST-A-2"]))
    assert checkout.heading == "Pay for your seats"
    assert "Stalls, row A, seat 1" in checkout.words
    assert "everything included ₩24,000" in checkout.words
    assert "₩14,000 is missing in your wallet" in checkout.words
    back = surfer.follow(surfer.send(checkout, "/wallet/top-ups"))
    assert "₩14,000 added." in back.words

    booking = surfer.follow(surfer.send(back, "/pay"))
    assert booking.heading.startswith("Booking ")
    assert booking.text.count("QR code of the ticket") == 2
    assert db.lookup(wallet.get, buyer.id).balance_minor == 0
    assert states(db, sale)[:3] == "ssf"


# -- where the performance's page leads ---------------------------------------------------------


def test_the_performance_page_knows_the_next_step(
    app: Flask, db: Database, clock: AdvancingClock
) -> None:
    sale = make_sale(db, opens_in=100, closes_in=1_000, capacity=1)
    here = f"/performances/{sale}"
    stranger, surfer = Surfer(app), Surfer(app, customer(db))
    assert "The sale opens on" in stranger.get(here).words
    clock.advance(101)
    assert f'href="/sign-in?next={here}"' in stranger.get(here).text
    assert "Join the waiting room" in surfer.get(here).words
    surfer.send(here, "/queue")
    assert "See your place" in surfer.get(here).words
    usher_round(db)
    assert "Choose seats" in surfer.get(here).words
    hold(surfer, sale, "ST-A-1")
    assert "Go on to pay" in surfer.get(here).words
    clock.advance(900)
    assert "The sale closed on" in surfer.get(here).words


def test_without_a_waiting_room_nobody_is_told_to_wait_before_the_sale(
    app: Flask, db: Database, clock: AdvancingClock
) -> None:
    early = clock.now() - timedelta(seconds=60)
    sale = make_sale(db, opens_in=60, prequeue_opens_at=early, capacity=1)
    surfer, other = Surfer(app, customer(db)), Surfer(app, customer(db))
    here = f"/performances/{sale}"
    surfer.send(here, "/queue")
    db.transact(rooms.change, sale, None, {"capacity": None})
    page = other.get(here)
    assert "Not on sale yet The sale opens on" in page.words
    assert not [form for form in page.forms if form.action.endswith("/queue")]
    assert "See your place" in surfer.get(here).words


@pytest.mark.parametrize(
    ("early", "rules", "says"),
    [
        (None, {"opens_in": 600}, "Not on sale yet The sale opens on .+ It saves time"),
        (60, {"opens_in": 600}, "From .+ on you can come and take part in the lottery."),
        (
            -60,
            {"opens_in": 600},
            "Waiting room open The sale opens on .+ You may wait here already.",
        ),
        (None, {}, "On sale You join a waiting room, get a number, and choose your seats"),
        (None, {"capacity": None}, "On sale You can choose your seats at once."),
        (None, {"paused": True}, "Paused for a moment .+ You may join; nobody is let in until"),
        (None, {"seats": 1, "blocked": [0]}, "Sold out Every seat is sold. Seats come back when"),
        (None, {"closes_in": -1}, "Sale closed The sale closed on"),
    ],
)
def test_the_performance_page_says_how_the_sale_stands(
    app: Flask,
    db: Database,
    clock: AdvancingClock,
    early: float | None,
    rules: dict[str, Any],
    says: str,
) -> None:
    times = {} if early is None else {"prequeue_opens_at": clock.now() + timedelta(seconds=early)}
    given = {"capacity": 1, **rules, **times}
    paused = {"paused_at": clock.now()} if given.pop("paused", False) else {}
    sale = make_sale(db, **given, **paused)
    assert re.search(says, Surfer(app).get(f"/performances/{sale}").words)


@pytest.mark.parametrize(
    ("early", "opens_in", "linked", "hint"),
    [
        (60, 600, False, False),  # nothing is sealed yet
        (-60, 600, True, True),
        (-600, -60, True, False),  # too late to keep the hash
        (None, -60, False, False),
    ],
)
def test_the_lottery_is_found_as_soon_as_there_is_something_to_keep(
    app: Flask,
    db: Database,
    clock: AdvancingClock,
    early: float | None,
    opens_in: float,
    linked: bool,
    hint: bool,
) -> None:
    times = {} if early is None else {"prequeue_opens_at": clock.now() + timedelta(seconds=early)}
    sale = make_sale(db, opens_in=opens_in, capacity=1, **times)
    page = Surfer(app).get(f"/performances/{sale}")
    assert (f'href="/performances/{sale}/lottery"' in page.text) is linked
    assert ("Keep the seed's hash" in page.words) is hint


def test_who_comes_too_early_hears_from_when_on_they_may(
    app: Flask, db: Database, clock: AdvancingClock
) -> None:
    """On the event's page, and when they try to join."""
    early = clock.now() + timedelta(seconds=60)
    sale = make_sale(db, opens_in=600, prequeue_opens_at=early, capacity=1, slug="early")
    surfer = Surfer(app, customer(db))
    says = f"From {phrases.day_and_time(early)} on you can come and take part in the lottery."
    for page in (surfer.get("/events/early"), surfer.post(f"/performances/{sale}/queue", 409)):
        assert says in page.words
    clock.advance(61)
    assert "take part in the lottery" not in surfer.get("/events/early").words


# -- the waiting room ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("opens_in", "closes_in", "says"),
    [(600, 6_000, "The sale has not opened yet."), (-600, -60, "The sale has closed.")],
)
def test_joining_outside_of_the_sale_is_refused(
    app: Flask, db: Database, opens_in: float, closes_in: float, says: str
) -> None:
    sale = make_sale(db, opens_in=opens_in, closes_in=closes_in)
    surfer = Surfer(app, customer(db))
    page = surfer.post(f"/performances/{sale}/queue", 409)
    assert page.heading == says
    assert f'href="/performances/{sale}"' in page.text


def test_joining_what_is_sold_out_is_refused(app: Flask, db: Database) -> None:
    sale = make_sale(db, seats=1)
    inside = enter(db, customer(db), sale)
    pay(db, inside, place(db, inside, [0]))
    surfer = Surfer(app, customer(db))
    assert surfer.post(f"/performances/{sale}/queue", 409).heading == "Every seat is sold."


def test_tokens_are_in_no_page_and_no_address(app: Flask, db: Database) -> None:
    sale = make_sale(db, capacity=1)
    surfer = Surfer(app, customer(db))
    joined = surfer.send(f"/performances/{sale}", "/queue")
    waiting = surfer.follow(joined)
    cookie = surfer.client.get_cookie(WAITING_COOKIE, path=f"/performances/{sale}/queue")
    assert cookie is not None
    assert cookie.http_only
    assert cookie.same_site == "Lax"
    usher_round(db)
    moved_on = surfer.get(f"/performances/{sale}/queue", 303)
    seats = surfer.follow(moved_on)
    for page in (joined, waiting, moved_on, seats):
        assert TOKENS_BEGIN not in page.text
        assert TOKENS_BEGIN not in (page.location or "")


@pytest.mark.failure("F18")
def test_a_second_tab_finds_the_same_place(app: Flask, db: Database) -> None:
    sale = make_sale(db, capacity=1)
    enter(db, customer(db), sale)
    me = customer(db)
    first, second = Surfer(app, me), Surfer(app, me)
    for surfer in (first, Surfer(app, customer(db)), second):
        surfer.post(f"/performances/{sale}/queue")
    usher_round(db)
    for surfer in (first, second):
        assert (
            "Your number 1 People ahead of you 0" in surfer.get(f"/performances/{sale}/queue").words
        )


@pytest.mark.failure("F17")
def test_people_ahead_never_grow_whatever_a_snapshot_says(app: Flask, db: Database) -> None:
    sale = make_sale(db, capacity=1)
    enter(db, customer(db), sale)
    ahead = [Surfer(app, customer(db)) for _ in range(3)]
    me = Surfer(app, customer(db))
    for surfer in (*ahead, me):
        surfer.send(f"/performances/{sale}", "/queue")
    usher_round(db)
    house = app.extensions["jari"]
    old = db.read(outlook.look, sale)
    ahead[0].post(f"/performances/{sale}/queue/leave")
    here = f"/performances/{sale}/queue"
    assert "Your number 4 People ahead of you 2" in me.get(here).words
    token = dict(me.get("/wallet").form("/sign-out").fields)["csrf_token"]
    keep_to(house, old)  # another process, which has not looked since
    assert "Your number 4 People ahead of you 2" in me.look(here).words
    assert me.client.post(here, data={"csrf_token": token}).status_code == 303  # joins again
    assert "Your number 4 People ahead of you 2" in me.look(here).words


def test_leaving_gives_up_place_and_seats(app: Flask, db: Database) -> None:
    sale = make_sale(db)
    surfer = Surfer(app, customer(db))
    go_inside(surfer, sale)
    hold(surfer, sale, "ST-A-1")
    left = surfer.follow(surfer.send(f"/performances/{sale}/seats", "/queue/leave"))
    assert "You have left." in left.words
    assert states(db, sale)[0] == "f"
    assert surfer.get(f"/performances/{sale}/queue", 303).location == f"/performances/{sale}"


def test_the_script_that_looks_hears_only_of_ones_turn_that_it_is_one(
    app: Flask, db: Database
) -> None:
    sale = make_sale(db, capacity=1)
    surfer = Surfer(app, customer(db))
    here = f"/performances/{sale}/queue"
    surfer.send(f"/performances/{sale}", "/queue")
    usher_round(db)
    admitted = surfer.client.get(f"{here}/place")
    assert (admitted.status_code, admitted.data) == (204, b"")
    surfer.post(f"{here}/leave")
    assert surfer.client.get(f"{here}/place").status_code == 401  # without its cookie
    assert surfer.follow(surfer.get(here, 303)).text.count("You are not in this waiting room") == 1


def test_the_script_costs_no_query_while_one_waits(app: Flask, db: Database) -> None:
    """By the token of who joined here; who asks too soon is told so, and who signed out is nobody."""
    sale = make_sale(db, capacity=0)
    surfer = Surfer(app, customer(db))
    here = f"/performances/{sale}/queue"
    surfer.send(f"/performances/{sale}", "/queue")
    usher_round(db)
    pacing = app.extensions["jari"].pacing
    for _ in range(2):  # once to hear the number, and once with the token that has it
        surfer.get(f"{here}/place")
        pacing._not_before.clear()
    with Watch(db) as watch:
        shown = surfer.look(f"{here}/place")
    assert watch.idle, watch.statements
    assert "Your number 1 People ahead of you 0" in shown.words
    assert "<html" not in shown.text
    hasty = surfer.client.get(f"{here}/place")
    assert (hasty.status_code, "Retry-After" in hasty.headers) == (429, True)
    surfer.client.delete_cookie(COOKIE)
    assert surfer.client.get(f"{here}/place").status_code == 401


@pytest.mark.failure("F25")
def test_who_reloads_the_waiting_page_again_and_again_costs_no_query(
    app: Flask, db: Database, clock: AdvancingClock
) -> None:
    """A few times are let through; then a page says that the place is kept, and comes back by itself."""
    early = clock.now() - timedelta(seconds=60)
    sale = make_sale(db, capacity=1, opens_in=600, prequeue_opens_at=early)
    surfer = Surfer(app, customer(db))
    here = f"/performances/{sale}/queue"
    surfer.send(f"/performances/{sale}", "/queue")
    surfer.get(here)
    for _ in range(EARLY_LOOKS):
        surfer.look(here)
    with Watch(db) as watch:
        refused = surfer.look(here, 429)
    assert watch.idle, watch.statements
    assert refused.heading == "You asked again too soon; your place is safe."
    assert "Looking more often brings nobody forward" in refused.words
    assert "Then this page tries again by itself." in refused.words
    assert "Sign in" not in refused.words  # they are; nobody has looked
    headers = refused.response.headers
    assert headers["Refresh"] == headers["Retry-After"]
    surfer.get(here)  # after a while


def test_a_turn_that_is_over_says_why(app: Flask, db: Database, clock: AdvancingClock) -> None:
    sale = make_sale(db, capacity=1, session_seconds=60)
    surfer = Surfer(app, customer(db))
    surfer.send(f"/performances/{sale}", "/queue")
    usher_round(db)
    here = f"/performances/{sale}/queue"
    surfer.get(here, 303)
    clock.advance(61)
    over = surfer.get(here, 410)
    assert "Your time to choose is over. You may join again" in over.words
    surfer.send(f"/performances/{sale}", "/queue")
    assert surfer.get(here).heading == "You are in the waiting room"


def test_waiting_ends_when_everything_is_sold(app: Flask, db: Database) -> None:
    sale = make_sale(db, seats=1, capacity=1)
    inside = enter(db, customer(db), sale)
    surfer = Surfer(app, customer(db))
    surfer.send(f"/performances/{sale}", "/queue")
    pay(db, inside, place(db, inside, [0]))
    assert surfer.get(f"/performances/{sale}/queue", 409).heading == "Every seat is sold."


@pytest.mark.failure("F12")
def test_a_spoilt_waiting_cookie_costs_nothing(app: Flask, db: Database) -> None:
    sale = make_sale(db, capacity=1)
    enter(db, customer(db), sale)
    surfer, other = Surfer(app, customer(db)), Surfer(app, customer(db))
    here = f"/performances/{sale}/queue"
    for one in (other, surfer):
        one.send(f"/performances/{sale}", "/queue")
    usher_round(db)
    theirs = other.client.get_cookie(WAITING_COOKIE, path=here)
    assert theirs is not None
    for value in ("", "undefined", "a.b.c", "x" * 4_000, theirs.value):
        surfer.client.set_cookie(WAITING_COOKIE, value, path=here)
        assert "Your number 2 People ahead of you 1" in surfer.get(here).words


# -- choosing seats -----------------------------------------------------------------------------


def test_only_who_is_inside_sees_the_seats(app: Flask, db: Database) -> None:
    sale = make_sale(db, capacity=1)
    enter(db, customer(db), sale)
    surfer = Surfer(app, customer(db))
    here = f"/performances/{sale}/seats"
    assert surfer.get(here, 303).location == f"/performances/{sale}"
    refused = surfer.post(f"/performances/{sale}/hold", 403, seat="ST-A-1")
    assert refused.heading == "It is not your turn, or your turn has ended."
    surfer.send(f"/performances/{sale}", "/queue")
    assert surfer.get(here, 303).location == f"/performances/{sale}/queue"
    surfer.post(f"/performances/{sale}/hold", 403, seat="ST-A-1")
    assert "h" not in states(db, sale)


def test_seats_are_told_in_words(app: Flask, db: Database) -> None:
    sale = make_sale(db, seats=20, blocked=[3])
    other = enter(db, customer(db), sale)
    pay(db, other, place(db, other, [0]))
    other = enter(db, customer(db), sale)
    place(db, other, [1])
    surfer = Surfer(app, customer(db))
    go_inside(surfer, sale)
    hold(surfer, sale, "ST-A-3")
    page = surfer.get(f"/performances/{sale}/seats")
    for seat, state in ((1, "sold"), (2, "held"), (3, "yours"), (4, "closed"), (5, "free")):
        assert f"Row A, seat {seat} {state}" in page.words
    form = page.form("/hold")
    assert "ST-A-3" in form.choices["seat"]
    assert not {"ST-A-1", "ST-A-2", "ST-A-4"} & set(form.choices["seat"])
    assert "seat" not in dict(form.fields)


def test_a_large_hall_comes_in_bounded_pages(app: Flask, db: Database) -> None:
    sale = make_sale(db, seats=2_000, price_minor=5_000)
    surfer = Surfer(app, customer(db))
    first = go_inside(surfer, sale)
    assert "Stalls 1,000 free seats" in first.words
    assert "checkbox" not in first.text
    seen: list[str] = []
    for section, seats in (("ST", 1_000), ("CI", 600), ("BA", 400)):
        page = surfer.get(f"/performances/{sale}/seats?at={section}")
        parts = re.findall(rf"at={section}&amp;part=(\d+)", page.text) or ["1"]
        shown = [
            surfer.get(f"/performances/{sale}/seats?at={section}&part={part}").form("/hold")
            for part in parts
        ]
        assert all(len(form.choices["seat"]) <= 400 for form in shown)
        assert sum(len(form.choices["seat"]) for form in shown) == seats
        seen += [seat for form in shown for seat in form.choices["seat"]]
    assert len(set(seen)) == 2_000


def test_the_best_available_are_held_together(app: Flask, db: Database) -> None:
    sale = make_sale(db, levels=[Price("r", "R", 9_000), Price("s", "S", 5_000)])
    surfer = Surfer(app, customer(db))
    seats = go_inside(surfer, sale)
    best = {"quantity": "3", "price_level": "s", "seat": None}
    checkout = surfer.follow(surfer.send(seats, "/hold", which=0, **best))
    assert "everything included ₩15,000" in checkout.words
    assert "nearest together" not in checkout.words


def test_seats_that_are_not_together_are_said_to_be_apart(app: Flask, db: Database) -> None:
    sale = make_sale(db, seats=6, blocked=[1, 3])
    surfer = Surfer(app, customer(db))
    checkout = surfer.follow(surfer.send(go_inside(surfer, sale), "/hold", which=0, quantity="3"))
    assert "No free group was side by side" in checkout.words


REFUSED_CHOICES = [
    ({"seat": ["ST-A-1", "ST-A-2"]}, 409, "Somebody else has one of these seats."),
    (
        {"seat": ["ST-A-3", "ST-A-4", "ST-A-5"]},
        409,
        "That is more seats than one customer may have.",
    ),
    ({"seat": ["ST-Z-99"]}, 404, "There is no such seat in this hall."),
    ({"seat": None}, 422, "Choose at least one seat, and each seat once."),
    ({"seat": ["ST-A-3", "ST-A-3"]}, 422, "Choose at least one seat, and each seat once."),
    ({"seat": ["ST-A-4"]}, 409, "This choice would leave a single seat alone."),
]


@pytest.mark.parametrize(("choice", "status", "says"), REFUSED_CHOICES)
def test_a_refused_choice_comes_back_to_the_seats(
    app: Flask, db: Database, choice: dict[str, list[str] | None], status: int, says: str
) -> None:
    sale = make_sale(db, seats=20, seats_max=2, single_seat_rule="strict")
    other = enter(db, customer(db), sale)
    surfer = Surfer(app, customer(db))
    seats = go_inside(surfer, sale)
    place(db, other, [1])
    page = surfer.send(seats, "/hold", status, **choice)
    assert page.heading == "Choose your seats"
    assert says in page.words
    form = page.form("/hold")
    still_free = [seat for seat in choice["seat"] or () if seat in form.choices["seat"]]
    assert [value for name, value in form.fields if name == "seat"] == list(
        dict.fromkeys(still_free)
    )


def test_who_wants_seats_of_a_sold_out_house_opens_no_transaction(app: Flask, db: Database) -> None:
    sale = make_sale(db, seats=2)
    buyer, late = enter(db, customer(db), sale), Surfer(app, customer(db))
    seats = go_inside(late, sale)
    pay(db, buyer, place(db, buyer, [0, 1]))
    app.extensions["jari"].availability.get(sale, 0.0)
    began: list[object] = []
    event.listen(db.writer, "begin", began.append)
    named = late.send(seats, "/hold", 409, seat=["ST-A-1"])
    assert "Somebody else has one of these seats." in named.words
    best = late.send(seats, "/hold", 409, which=0, quantity="1")
    assert "There are not enough free seats for this wish." in best.words
    assert not began


def test_whose_turn_is_over_is_told_that_and_not_that_it_is_sold_out(
    app: Flask, db: Database, clock: AdvancingClock
) -> None:
    sale = make_sale(db, seats=1, session_seconds=60)
    buyer, late = enter(db, customer(db), sale), Surfer(app, customer(db))
    seats = go_inside(late, sale)
    pay(db, buyer, place(db, buyer, [0]))
    clock.advance(61)
    app.extensions["jari"].availability.get(sale, 0.0)
    page = late.send(seats, "/hold", 403, seat=["ST-A-1"])
    assert page.heading == "It is not your turn, or your turn has ended."


def test_too_large_a_party_is_told_what_is_possible(app: Flask, db: Database) -> None:
    sale = make_sale(db, seats=3, seats_max=8)
    surfer = Surfer(app, customer(db))
    page = surfer.send(go_inside(surfer, sale), "/hold", 409, which=0, quantity="4")
    assert "There are not enough free seats for this wish. Try fewer seats" in page.words
    page = surfer.send(page, "/hold", 422, which=0, quantity="many")
    assert "Say how many seats you want, as a number." in page.words


def test_a_paused_sale_keeps_the_turn(app: Flask, db: Database) -> None:
    [organiser] = make_accounts(db, role="organiser")
    sale = make_sale(db, organiser=organiser)
    surfer = Surfer(app, customer(db))
    seats = go_inside(surfer, sale)
    db.transact(sales.set_paused, sale, organiser.id, True)
    page = surfer.send(seats, "/hold", 409, seat="ST-A-1")
    assert "The sale is paused; what you hold can still be paid. Your turn" in page.words
    assert page.heading == "Choose your seats"


def test_a_closed_sale_takes_no_holds(app: Flask, db: Database, clock: AdvancingClock) -> None:
    sale = make_sale(db, closes_in=100)
    surfer = Surfer(app, customer(db))
    seats = go_inside(surfer, sale)
    clock.advance(101)
    assert surfer.send(seats, "/hold", 409, seat="ST-A-1").heading == "The sale has closed."


def test_choosing_again_replaces_the_seats(app: Flask, db: Database) -> None:
    sale = make_sale(db, seats_max=2, single_seat_rule="off")
    surfer = Surfer(app, customer(db))
    go_inside(surfer, sale)
    hold(surfer, sale, "ST-A-1", "ST-A-2")
    checkout = hold(surfer, sale, "ST-A-2", "ST-A-3")
    assert "seat 1 " not in checkout.words
    assert states(db, sale)[:4] == "fhhf"


# -- paying -------------------------------------------------------------------------------------


def at_checkout(
    app: Flask, db: Database, sale: int, buyer: Customer | None = None
) -> tuple[Surfer, Page]:
    surfer = Surfer(app, buyer or customer(db))
    go_inside(surfer, sale)
    return surfer, hold(surfer, sale, "ST-A-1", "ST-A-2")


@pytest.mark.failure("F8")
def test_sent_twice_it_pays_once_and_lands_on_the_same_booking(app: Flask, db: Database) -> None:
    sale = make_sale(db)
    buyer = customer(db)
    surfer, checkout = at_checkout(app, db, sale, buyer)
    first = surfer.send(checkout, "/pay")
    second = surfer.send(checkout, "/pay")
    assert first.location == second.location
    assert db.lookup(wallet.get, buyer.id).balance_minor == 1_000_000 - 2_000
    assert len(db.read(bookings.list_own, buyer.id, None, 10)) == 1


@pytest.mark.failure("F8")
def test_many_impatient_fingers_pay_once(app: Flask, db: Database) -> None:
    sale = make_sale(db)
    buyer = customer(db)
    surfer, checkout = at_checkout(app, db, sale, buyer)
    data = dict(checkout.form("/pay").fields)
    cookies = [surfer.client.get_cookie(name) for name in ("jari_session", "session")]

    def press(number: int) -> tuple[int, str | None]:
        client = app.test_client()
        for cookie in cookies:
            assert cookie is not None
            client.set_cookie(cookie.key, cookie.value)
        # Half of them from a tab of its own, which has another key.
        own = {"key": f"tab-{number}"} if number % 2 else {}
        answer = client.post(f"/performances/{sale}/pay", data=data | own)
        return answer.status_code, answer.headers.get("Location")

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(press, range(16)))
    assert len(answers) == 1
    assert answers.pop()[0] == 303
    assert db.lookup(wallet.get, buyer.id).balance_minor == 1_000_000 - 2_000


@pytest.mark.failure("F11")
def test_too_little_money_keeps_the_seats(app: Flask, db: Database) -> None:
    sale = make_sale(db)
    buyer = customer(db, balance_minor=2_000)
    surfer, checkout = at_checkout(app, db, sale, buyer)
    elsewhere = make_sale(db)
    inside = enter(db, buyer, elsewhere)
    pay(db, inside, place(db, inside, [0], price_minor=1_500))
    page = surfer.send(checkout, "/pay", 402)
    assert page.heading == "Pay for your seats"
    assert "₩1,500 is missing" in page.words
    assert states(db, sale)[:2] == "hh"
    topped_up = surfer.follow(surfer.send(page, "/wallet/top-ups"))
    assert surfer.send(topped_up, "/pay").location is not None
    assert states(db, sale)[:2] == "ss"


def test_where_top_ups_are_closed_the_page_says_whom_to_ask(app: Flask, db: Database) -> None:
    house = app.extensions["jari"]
    house.config = replace(house.config, self_top_ups=False)
    sale = make_sale(db)
    _, checkout = at_checkout(app, db, sale, customer(db, balance_minor=10))
    assert "Please ask the box office to credit your wallet" in checkout.words
    assert "/wallet/top-ups" not in checkout.text


def test_a_hold_past_its_time_is_not_paid(app: Flask, db: Database, clock: AdvancingClock) -> None:
    sale = make_sale(db, hold_seconds=60, session_seconds=600)
    buyer = customer(db)
    surfer, checkout = at_checkout(app, db, sale, buyer)
    clock.advance(61)
    page = surfer.send(checkout, "/pay", 410)
    assert page.heading == "You hold no seats here now"
    assert "Choose seats again" in page.words
    assert db.lookup(wallet.get, buyer.id).balance_minor == 1_000_000
    assert surfer.get(f"/performances/{sale}/checkout", 410).heading == page.heading


def test_a_hold_is_paid_although_the_time_to_choose_is_over(
    app: Flask, db: Database, clock: AdvancingClock
) -> None:
    sale = make_sale(db, hold_seconds=300, session_seconds=60)
    surfer, _ = at_checkout(app, db, sale)
    clock.advance(61)
    assert (
        surfer.get(f"/performances/{sale}/seats", 303).location == f"/performances/{sale}/checkout"
    )
    waiting = surfer.get(f"/performances/{sale}/queue", 303)
    assert "It is your turn" not in surfer.follow(surfer.follow(waiting, 303)).words
    assert surfer.client.get(f"/performances/{sale}/queue/place").status_code == 410
    surfer.send(f"/performances/{sale}/checkout", "/pay")
    assert states(db, sale)[:2] == "ss"


@pytest.mark.failure("F49")
def test_a_replaced_hold_is_not_paid(app: Flask, db: Database) -> None:
    sale = make_sale(db)
    buyer = customer(db)
    surfer, old = at_checkout(app, db, sale, buyer)
    hold(surfer, sale, "ST-A-5")
    page = surfer.send(old, "/pay", 410)
    assert "A newer choice of seats has taken this hold's place." in page.words
    assert "everything included ₩1,000" in page.words
    assert db.lookup(wallet.get, buyer.id).balance_minor == 1_000_000


@pytest.mark.failure("F47")
def test_nobody_pays_or_gives_back_anothers_hold(app: Flask, db: Database) -> None:
    sale = make_sale(db)
    _, theirs = at_checkout(app, db, sale)
    hold_id = dict(theirs.form("/pay").fields)["hold_id"]
    surfer = Surfer(app, customer(db))
    go_inside(surfer, sale)
    mine = hold(surfer, sale, "ST-A-10")
    surfer.send(mine, "/pay", 404, hold_id=hold_id)
    surfer.send(mine, "/hold/release", 404, hold_id=hold_id)
    surfer.send(mine, "/pay", 404, hold_id="00000000-0000-0000-0000-000000000000")
    surfer.send(mine, "/pay", 422, hold_id="nothing")
    assert states(db, sale)[:2] == "hh"


def test_a_hold_is_paid_at_its_own_performance(app: Flask, db: Database) -> None:
    sale, elsewhere = make_sale(db), make_sale(db)
    surfer, checkout = at_checkout(app, db, sale)
    fields = dict(checkout.form("/pay").fields)
    surfer.post(f"/performances/{elsewhere}/pay", 404, **fields)
    assert states(db, sale)[:2] == "hh"


def test_a_key_is_for_one_hold(app: Flask, db: Database) -> None:
    sale = make_sale(db)
    surfer, checkout = at_checkout(app, db, sale)
    key = dict(checkout.form("/pay").fields)["key"]
    surfer.send(checkout, "/pay")
    go_inside(surfer, sale)
    again = hold(surfer, sale, "ST-A-5")
    refused = surfer.send(again, "/pay", 422, key=key)
    assert refused.heading == "This Idempotency-Key was used for another request."
    surfer.send(again, "/pay", 400, key=None)


def test_giving_seats_back(app: Flask, db: Database) -> None:
    sale = make_sale(db)
    surfer, checkout = at_checkout(app, db, sale)
    seats = surfer.follow(surfer.send(checkout, "/hold/release"))
    assert "You gave the seats back." in seats.words
    assert states(db, sale)[:2] == "ff"
    again = surfer.follow(surfer.send(checkout, "/hold/release"))
    assert "This hold has ended" in again.words


def test_a_paid_hold_cannot_be_given_back(app: Flask, db: Database) -> None:
    sale = make_sale(db)
    surfer, checkout = at_checkout(app, db, sale)
    surfer.send(checkout, "/pay")
    page = surfer.send(checkout, "/hold/release", AlreadyBooked.status)
    assert page.heading == "This hold is already paid."
    assert states(db, sale)[:2] == "ss"
    assert db.lookup(holds.find_expired, 10) == []
