"""The organiser's page of a waiting room, the lottery's page, and what those who wait read."""

import hashlib
import json
import re
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from jobs import usher
from tests.builders import Customer, enter, make_accounts, make_sale
from tests.conftest import AdvancingClock
from tests.web.contract import Api
from tests.web.surfer import Surfer
from tests.web.visitors import keep_to
from webapp.db import Database, new_id
from webapp.domain import catalogue, leases, lottery, outlook, pace, rooms, sales, waiting_room
from webapp.domain.model import Lottery
from webapp.domain.waiting_room import Arrival
from webapp.web import phrases, queue


@pytest.fixture
def organiser(db: Database) -> Customer:
    return make_accounts(db, role="organiser")[0]


def ush(db: Database) -> int:
    fence = db.transact(leases.acquire, "usher")
    assert fence is not None
    try:
        return usher.run(db, fence)
    finally:
        db.transact(leases.release, "usher", fence)


def here(sale: int) -> str:
    return f"/organiser/performances/{sale}/room"


def test_an_organiser_sees_and_sets_a_room(
    app: Flask, db: Database, organiser: Customer, clock: AdvancingClock
) -> None:
    sale = make_sale(db, organiser=organiser, capacity=5, opens_in=7_200)
    surfer = Surfer(app, organiser)
    assert here(sale) in surfer.get("/organiser").text
    early = clock.now() + timedelta(hours=1)
    saved = surfer.send(
        here(sale),
        "/room",
        prequeue_opens_at=phrases.local_input(early),
        capacity="7",
        rate_per_minute="30",
        session_seconds="300",
        arrival_seconds="90",
        idle_seconds="120",
        message="문이 곧 열립니다",
        beacon_source="drand round 4711",
    )
    page = surfer.follow(saved)
    assert "Changed." in page.words
    rules, room = db.read(catalogue.get_rules, sale), db.read(rooms.get_settings, sale)
    assert (rules.capacity, rules.rate_per_minute, rules.session_seconds) == (7, 30, 300)
    assert rules.prequeue_opens_at == early.replace(microsecond=0)
    assert (room.arrival_seconds, room.idle_seconds) == (90, 120)
    assert (room.message, room.beacon_source) == ("문이 곧 열립니다", "drand round 4711")


def test_what_does_not_fit_comes_back_with_sentences(
    app: Flask, db: Database, organiser: Customer
) -> None:
    sale = make_sale(db, organiser=organiser, capacity=5)
    surfer = Surfer(app, organiser)
    page = surfer.send(here(sale), "/room", 422, capacity="many", session_seconds="5")
    assert phrases.ROOM_FAULTS["capacity"] in page.words
    assert phrases.ROOM_FAULTS["session_seconds"] in page.words
    assert 'value="many"' in page.text
    page = surfer.send(here(sale), "/room", 422, capacity="")
    assert phrases.ROOM_FAULTS["capacity"] in page.words
    assert db.read(catalogue.get_rules, sale).capacity == 5


def test_nobody_loses_a_turn_for_pausing_as_long_as_told(
    app: Flask, db: Database, organiser: Customer
) -> None:
    least = catalogue.ARRIVAL_SECONDS_MIN
    assert least * 1_000 > queue.POLL_MAX_MS * (1 + queue.POLL_SPREAD) + 1_000
    sale = make_sale(db, organiser=organiser, capacity=5)
    surfer, command = Surfer(app, organiser), app.test_cli_runner()
    page = surfer.send(here(sale), "/room", 422, arrival_seconds=str(least - 1))
    assert f"from {least} to" in phrases.ROOM_FAULTS["arrival_seconds"]
    assert phrases.ROOM_FAULTS["arrival_seconds"] in page.words
    words = ["room", str(sale), "--arrival-seconds"]
    assert command.invoke(args=[*words, str(least - 1)]).exit_code == 2
    assert answer(app, *words, str(least))["arrival_seconds"] == least


def test_a_sale_that_has_opened_is_not_put_off(
    app: Flask, db: Database, organiser: Customer, clock: AdvancingClock
) -> None:
    sale = make_sale(db, organiser=organiser, capacity=5)
    later = phrases.local_input(clock.now() + timedelta(hours=1))
    page = Surfer(app, organiser).send(here(sale), "/room", 422, sales_open_at=later)
    assert phrases.ROOM_FAULTS["sales_open_at"] in page.words
    assert db.read(catalogue.get_rules, sale).sales_open_at < clock.now()


def test_a_sale_that_has_not_opened_is_moved(
    app: Flask, db: Database, organiser: Customer, clock: AdvancingClock
) -> None:
    sale = make_sale(db, organiser=organiser, capacity=5, opens_in=3_600)
    later = clock.now() + timedelta(hours=2)
    surfer = Surfer(app, organiser)
    saved = surfer.send(here(sale), "/room", sales_open_at=phrases.local_input(later))
    assert "Changed." in surfer.follow(saved).words
    opens_at = db.read(catalogue.get_rules, sale).sales_open_at
    assert opens_at == later.replace(microsecond=0)


def test_a_room_is_switched_off(app: Flask, db: Database, organiser: Customer) -> None:
    sale = make_sale(db, organiser=organiser, capacity=5)
    surfer = Surfer(app, organiser)
    surfer.follow(surfer.send(here(sale), "/room", off="1"))
    assert db.read(catalogue.get_rules, sale).capacity is None


def test_guests_come_and_go_and_stays_end(app: Flask, db: Database, organiser: Customer) -> None:
    sale = make_sale(db, organiser=organiser, capacity=5, rate_per_minute=0)
    guest, other = make_accounts(db, 2)
    surfer = Surfer(app, organiser)
    page = surfer.follow(surfer.send(here(sale), "/guests", email=guest.email))
    assert guest.email in page.words
    page = surfer.follow(surfer.send(here(sale), "/guests/remove"))
    assert guest.email not in page.words
    assert phrases.NOBODY in surfer.send(here(sale), "/guests", 404, email="x@y.zz").words
    inside = enter(db, other, sale)
    surfer.follow(surfer.send(here(sale), "/revoke", email=other.email))
    assert db.read(waiting_room.find_stay, sale, other.id) is None
    assert inside.performance_id == sale


@pytest.mark.failure("F47")
def test_nobody_steers_anothers_room(app: Flask, db: Database, organiser: Customer) -> None:
    sale = make_sale(db, capacity=5)
    surfer = Surfer(app, organiser)
    surfer.get(here(sale), 404)
    for step, values in {
        "": {"capacity": "1"},
        "/guests": {"email": organiser.email},
        "/guests/remove": {"email": organiser.email},
        "/revoke": {"email": organiser.email},
        "/beacon": {"beacon": "heads"},
    }.items():
        surfer.post(here(sale) + step, 404, **values)
    assert db.read(catalogue.get_rules, sale).capacity == 5


def test_the_page_says_why_nobody_moves(
    app: Flask, db: Database, organiser: Customer, clock: AdvancingClock
) -> None:
    sale = make_sale(db, organiser=organiser, capacity=0)
    for person in make_accounts(db, 2):
        db.transact(waiting_room.join, Arrival(new_id(), sale, person.id))
    ush(db)
    clock.advance(100)
    surfer = Surfer(app, organiser)
    assert phrases.STILL["usher"] in surfer.get(here(sale)).words
    assert db.transact(leases.acquire, "usher")
    assert phrases.STILL["full"] in surfer.get(here(sale)).words
    db.transact(pace.report, new_id(), pace.Health(100, 90, 0, 1))
    db.transact(pace.adjust)
    assert (
        f"Admission runs at 0 % of rate and capacity: {phrases.PACE['errors']}"
        in surfer.get(here(sale)).words
    )


# -- the lottery --------------------------------------------------------------------------------------


def test_what_the_lottery_publishes_is_enough_to_check_it(
    app: Flask, db: Database, organiser: Customer, clock: AdvancingClock, tmp_path: Path
) -> None:
    sale = make_sale(
        db,
        organiser=organiser,
        capacity=0,
        opens_in=60,
        prequeue_opens_at=clock.now() + timedelta(seconds=10),
        room={"beacon_source": "the weather"},
    )
    client = app.test_client()
    where = f"/performances/{sale}/lottery"
    assert "There is nothing to publish" in client.get(where).text
    assert client.get(f"/api/v1/performances/{sale}/lottery").status_code == 404
    clock.advance(11)  # and the usher is late: who looks first has it sealed
    kept = client.get(f"/api/v1/performances/{sale}/lottery").json["seed_hash"]
    assert kept in client.get(where).text
    ush(db)
    for person in make_accounts(db, 12):
        db.transact(waiting_room.join, Arrival(new_id(), sale, person.id))
    assert client.get(f"{where}/participants.txt").status_code == 404
    clock.advance(61)
    ush(db)
    surfer = Surfer(app, organiser)
    surfer.follow(surfer.send(here(sale), "/beacon", beacon="rain"))
    ush(db)
    published = client.get(f"/api/v1/performances/{sale}/lottery").get_data()
    listed = client.get(f"{where}/participants.txt").get_data()
    facts = json.loads(published)
    assert hashlib.sha256(listed).hexdigest() == facts["participants_digest"]
    assert hashlib.sha256(bytes.fromhex(facts["seed"])).hexdigest() == kept
    page = client.get(where).text
    assert all(facts[name] in page for name in ("seed", "seed_hash", "participants_digest"))
    (tmp_path / "lottery.json").write_bytes(published)
    (tmp_path / "participants.txt").write_bytes(listed)
    files = (
        *("--publication", str(tmp_path / "lottery.json")),
        *("--participants", str(tmp_path / "participants.txt")),
    )
    one = listed.decode().split()[3]
    told = [answer(app, "lottery", str(sale), *more, "--entry", one) for more in ((), files)]
    right = answer(app, "lottery", str(sale), *files, "--seed-hash", facts["seed_hash"].upper())
    assert right["ok"]
    assert told[0]["number"] == told[1]["number"]
    assert all(result["ok"] for result in told)
    (tmp_path / "participants.txt").write_bytes(listed[37:])
    spoilt = app.test_cli_runner().invoke(args=["lottery", str(sale), *files])
    assert spoilt.exit_code == 1
    assert "It DIFFERS" in spoilt.stdout


def test_a_seed_that_was_changed_after_the_sealing_is_noticed(
    app: Flask, db: Database, clock: AdvancingClock, tmp_path: Path
) -> None:
    early = clock.now() - timedelta(seconds=1)
    sale = make_sale(db, capacity=0, opens_in=60, prequeue_opens_at=early)
    where, checks = f"/api/v1/performances/{sale}/lottery", ["lottery", str(sale)]
    client, command = app.test_client(), app.test_cli_runner()
    ush(db)
    kept = client.get(where).get_json()["seed_hash"]
    another = update(Lottery).where(Lottery.performance_id == sale).values(seed=b"s" * 32)
    db.transact(lambda tx: tx.execute(another))
    for person in make_accounts(db, 3):
        db.transact(waiting_room.join, Arrival(new_id(), sale, person.id))
    clock.advance(61)
    ush(db)
    (tmp_path / "lottery.json").write_bytes(client.get(where).get_data())
    listed = client.get(f"/performances/{sale}/lottery/participants.txt").get_data()
    (tmp_path / "participants.txt").write_bytes(listed)
    files = (
        *("--publication", str(tmp_path / "lottery.json")),
        *("--participants", str(tmp_path / "participants.txt")),
    )
    for more in ((), (*files, "--seed-hash", kept)):
        noticed = command.invoke(args=[*checks, *more])
        assert noticed.exit_code == 1
        assert f"seed_hash was published as {kept} and is" in noticed.stdout


def answer(app: Flask, *words: str) -> Any:
    result = app.test_cli_runner().invoke(args=[*words, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


# -- the command --------------------------------------------------------------------------------------


def test_the_command_sets_and_shows_the_same(app: Flask, db: Database) -> None:
    sale = make_sale(db, capacity=5)
    [guest] = make_accounts(db)
    told = answer(
        app,
        *("room", str(sale), "--capacity", "9", "--rate-per-minute", "12", "--pause"),
        *("--idle-seconds", "90", "--message", "Hello", "--invite", guest.email),
    )
    assert (told["capacity"], told["rate_per_minute"], told["idle_seconds"]) == (9, 12, 90)
    assert (told["message"], told["guests"]) == ("Hello", [guest.email])
    assert told["paused_at"] is not None
    told = answer(app, "room", str(sale), "--capacity", "off", "--idle-seconds", "none", "--resume")
    assert (told["capacity"], told["idle_seconds"], told["paused_at"]) == (None, None, None)
    for words in (
        ["room", "999"],
        ["room", str(sale), "--revoke", guest.email],
        ["lottery", str(sale)],
    ):
        refused = app.test_cli_runner().invoke(args=words)
        assert refused.exit_code == 1
        assert refused.stderr.startswith("Error: not_found")


def test_the_command_sets_times_and_lasting_of_a_sale_that_is_to_come(
    app: Flask, db: Database, clock: AdvancingClock
) -> None:
    sale = make_sale(db, capacity=5, opens_in=60)
    seoul = timezone(timedelta(hours=9))
    opens_at = (clock.now() + timedelta(hours=20)).astimezone(seoul).replace(microsecond=0)
    early = opens_at.replace(second=0) - timedelta(hours=1)
    told = answer(
        app,
        *("room", str(sale), "--session-seconds", "300", "--arrival-seconds", "120"),
        *("--prequeue-opens-at", early.strftime("%Y-%m-%dT%H:%M%z")),
        *("--sales-open-at", opens_at.isoformat(), "--beacon-source", "the weather"),
    )
    rules = db.read(catalogue.get_rules, sale)
    assert (rules.prequeue_opens_at, rules.sales_open_at) == (early, opens_at)
    assert datetime.fromisoformat(told["sales_open_at"]) == opens_at
    settings = db.read(rooms.get_settings, sale)
    assert (rules.session_seconds, settings.arrival_seconds) == (300, 120)
    assert settings.beacon_source == "the weather"
    assert answer(app, "room", str(sale), "--no-prequeue")["prequeue_opens_at"] is None


@pytest.mark.parametrize("option", ["--prequeue-opens-at", "--sales-open-at"])
def test_the_command_takes_no_time_without_its_zone(
    app: Flask, db: Database, clock: AdvancingClock, option: str
) -> None:
    sale = make_sale(db, capacity=5, opens_in=60)
    before = db.read(catalogue.get_rules, sale)
    soon = (clock.now() + timedelta(seconds=30)).strftime("%Y-%m-%dT%H:%M:%S")
    words = ["room", str(sale), option, soon]
    assert app.test_cli_runner().invoke(args=words).exit_code == 2
    assert db.read(catalogue.get_rules, sale) == before


def test_the_command_takes_a_guest_off_ends_a_stay_and_enters_the_beacon(
    app: Flask, db: Database, clock: AdvancingClock
) -> None:
    early = clock.now() - timedelta(seconds=1)
    some = {"beacon_source": "the weather"}
    sale = make_sale(db, capacity=0, opens_in=60, prequeue_opens_at=early, room=some)
    ush(db)
    [person] = make_accounts(db)
    db.transact(waiting_room.join, Arrival(new_id(), sale, person.id))
    db.transact(rooms.invite, sale, None, person.email)
    assert answer(app, "room", str(sale), "--disinvite", person.email)["guests"] == []
    told = answer(app, "room", str(sale), "--revoke", person.email)
    assert told["waiting"] == 0
    assert db.read(waiting_room.find_stay, sale, person.id) is None
    clock.advance(61)
    ush(db)
    answer(app, "room", str(sale), "--beacon", " rain ")
    published = db.read(lottery.find_publication, sale)
    assert published is not None
    assert published.beacon == "rain"


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--message", "x" * 501),
        ("--message", "a bell \x07"),
        ("--beacon-source", "x" * 201),
        ("--beacon", ""),
        ("--beacon", "  "),
        ("--beacon", "x" * 201),
        ("--beacon", "\udcff"),  # a byte that is no UTF-8
        ("--invite", "\udcff@example.com"),
        ("--revoke", "x" * 300),
    ],
)
def test_the_command_refuses_texts_as_the_page_does(
    app: Flask, db: Database, organiser: Customer, clock: AdvancingClock, option: str, text: str
) -> None:
    early = clock.now() - timedelta(seconds=1)
    some = {"beacon_source": "the weather", "message": "Hello"}
    sale = make_sale(
        db, organiser=organiser, capacity=0, opens_in=60, prequeue_opens_at=early, room=some
    )
    ush(db)
    clock.advance(61)
    ush(db)
    before = db.read(rooms.get_settings, sale)
    refused = app.test_cli_runner().invoke(args=["room", str(sale), option, text])
    assert refused.exit_code == 1
    assert refused.stderr.startswith("Error: invalid")
    assert "characters" in refused.stderr
    step, field = {
        "--message": ("", "message"),
        "--beacon-source": ("", "beacon_source"),
        "--beacon": ("/beacon", "beacon"),
        "--invite": ("/guests", "email"),
        "--revoke": ("/revoke", "email"),
    }[option]
    if text.isascii():  # a browser cannot send the others
        Surfer(app, organiser).send(here(sale), "/room" + step, 422, **{field: text})
    ush(db)
    assert db.read(rooms.get_settings, sale) == before
    published = db.read(lottery.find_publication, sale)
    assert published is not None
    assert (published.beacon, published.drawn_at) == (None, None)


# -- those who wait -----------------------------------------------------------------------------------


def test_those_who_wait_read_what_concerns_them(
    app: Flask, db: Database, clock: AdvancingClock
) -> None:
    early = clock.now() - timedelta(seconds=1)
    sale = make_sale(
        db,
        capacity=0,
        opens_in=60,
        prequeue_opens_at=early,
        session_seconds=600,
        room={"message": "The bar is open.", "arrival_seconds": 120},
    )
    ush(db)
    surfer = Surfer(app, make_accounts(db)[0])
    surfer.send(f"/performances/{sale}", "/queue")
    page = surfer.get(f"/performances/{sale}/queue")
    assert "You take part in the lottery." in page.words
    assert "The bar is open." in page.words
    assert "Your turn will last 10 minutes." in page.words
    assert "be here within 2 minutes" in page.words
    clock.advance(61)
    ush(db)
    app.extensions["jari"].rooms.forget()
    page = surfer.get(f"/performances/{sale}/queue")
    assert "Your number 1 People ahead of you 0" in page.words
    db.transact(pace.report, new_id(), pace.Health(100, 90, 0, 1))
    db.transact(pace.adjust)
    app.extensions["jari"].rooms.forget()
    assert "Nobody is let in for a moment" in surfer.get(f"/performances/{sale}/queue").words
    assert 'role="status"' in page.text
    assert "aria-live" not in page.text


MOVING = {"admitted_last_minute": 30, "admitted_steadily": 150, "steady_seconds": 300.0}
LIKELY = "Your wait: about a minute at most, going by the last minutes."
SLOWLY = "People are let in more slowly just now, so that everybody who is inside can book."


@pytest.mark.parametrize(
    ("room", "paused", "notice", "says"),
    [
        ({}, False, None, "How long it takes is not known yet. As of"),
        ({"front": 3}, False, None, "You are next. As of"),
        (MOVING, False, None, f"{LIKELY} As of"),
        ({**MOVING, "pace_percent": 80}, False, "slowed", f"{LIKELY} {SLOWLY} As of"),
        ({**MOVING, "pace_percent": 0}, False, "stopped", "Nobody is let in for a moment, so that"),
        (MOVING, True, "paused", "The sale is paused; your place is kept. As of"),
        ({"pace_percent": 80}, True, "paused", "The sale is paused; your place is kept. As of"),
        ({"message": "문이 곧 열립니다"}, False, None, "not known yet. 문이 곧 열립니다 As of"),
    ],
)
def test_who_waits_is_told_how_it_goes(
    app: Flask,
    db: Database,
    room: dict[str, Any],
    paused: bool,
    notice: str | None,
    says: str,
) -> None:
    """On the page and in the API alike."""
    sale = make_sale(db, capacity=0)
    people = make_accounts(db, 3)
    surfer, api = Surfer(app, people[-1]), Api(app)
    for person in people:
        api.ok("join_queue", person, path={"performance_id": sale})
    ush(db)
    db.transact(sales.set_paused, sale, None, paused)
    api.house.sales.forget()
    keep_to(api.house, replace(db.read(outlook.look, sale), **room))
    place = api.ok("join_queue", people[-1], path={"performance_id": sale})
    assert (place["number"], place["notice"]) == (3, notice)
    assert place["message"] == room.get("message")
    page = surfer.look(f"/performances/{sale}/queue")
    assert says in page.words
    assert re.search(
        r"As of \d+:\d+:\d+ KST \(UTC\+9\) ?\. This page looks again by itself in", page.words
    )


@pytest.mark.parametrize("paused", [False, True])
def test_who_has_no_number_for_want_of_the_beacon_is_told_so(
    app: Flask, db: Database, paused: bool
) -> None:
    sale = make_sale(db, capacity=0)
    [person] = make_accounts(db)
    api = Api(app)
    one = api.ok("join_queue", person, path={"performance_id": sale})
    db.transact(sales.set_paused, sale, None, paused)
    api.house.sales.forget()
    keep_to(api.house, replace(db.read(outlook.look, sale), awaits_beacon=True))
    place = api.ok("poll_queue", waiting=one["waiting_token"], path={"performance_id": sale})
    assert (place["number"], place["notice"]) == (None, "beacon")
    page = Surfer(app, person).look(f"/performances/{sale}/queue")
    assert "… The lottery is drawn as soon as its public beacon is known." in page.words


def test_before_the_opening_nothing_is_slow(
    app: Flask, db: Database, clock: AdvancingClock
) -> None:
    """Nobody is let in then anyway; the organiser's message is read all the same."""
    early = clock.now() - timedelta(seconds=1)
    sale = make_sale(
        db, capacity=0, opens_in=60, prequeue_opens_at=early, room={"message": "Hello"}
    )
    [person] = make_accounts(db)
    api = Api(app)
    one = api.ok("join_queue", person, path={"performance_id": sale})
    keep_to(api.house, replace(db.read(outlook.look, sale), pace_percent=0))
    place = api.ok("poll_queue", waiting=one["waiting_token"], path={"performance_id": sale})
    assert (place["message"], place["notice"]) == ("Hello", None)


def test_a_newcomer_waits_for_no_look_at_the_room(app: Flask, db: Database) -> None:
    """A crowd of them is answered together; the first poll says what the room says."""
    sale = make_sale(db, capacity=0, room={"message": "Hello"})
    first, second = make_accounts(db, 2)
    api = Api(app)
    told = api.ok("join_queue", first, path={"performance_id": sale})
    assert told["message"] is None
    assert api.house.rooms.find_last(sale) is None
    again = api.ok("join_queue", first, path={"performance_id": sale})
    assert again["message"] == "Hello"
    assert api.ok("join_queue", second, path={"performance_id": sale})["message"] == "Hello"


def test_coming_in_says_how_long_it_lasts_and_is_an_arrival(app: Flask, db: Database) -> None:
    sale = make_sale(db, capacity=1)
    [person] = make_accounts(db)
    surfer = Surfer(app, person)
    surfer.send(f"/performances/{sale}", "/queue")
    ush(db)
    stay = db.read(waiting_room.find_stay, sale, person.id)
    assert stay is not None
    assert stay.seen_at is None
    seats = surfer.follow(surfer.get(f"/performances/{sale}/queue", 303))
    assert "It is your turn. It lasts until" in seats.words
    stay = db.read(waiting_room.find_stay, sale, person.id)
    assert stay is not None
    assert stay.seen_at is not None
