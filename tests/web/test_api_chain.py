"""The whole chain over HTTP, as a client that knows nothing but the contract walks it."""

from datetime import timedelta

import pytest

from tests.builders import Customer, make_sale
from tests.web.contract import Api, refused
from tests.web.visitors import (
    Visitor,
    change_performance,
    door_steward,
    let_time_pass,
    new_key,
    ush,
    visitor,
)
from webapp.domain import rooms
from webapp.web.failures import plain


def sign_up_and_in(api: Api, email: str) -> Customer:
    password = "correct horse"
    account = api.ok(
        "create_account", json={"email": email, "password": password, "name": "Kim Jari"}
    )
    session = api.ok("create_session", json={"email": email, "password": password})
    return Customer(account["id"], account["email"], session["session_token"])


def test_from_an_account_to_the_door(api: Api) -> None:
    sale = make_sale(api.db, seats=60, capacity=1, price_minor=3_000)
    who = sign_up_and_in(api, "Kim@Example.com")

    [event] = api.ok("list_events")["items"]
    assert api.ok("get_event", path={"slug": event["slug"]}) == event
    [shown] = event["performances"]
    assert (shown["id"], shown["sale_status"]) == (sale, "open")
    here = {"performance_id": sale}
    performance = api.ok("get_performance", path=here)
    assert {key: performance[key] for key in shown} == shown

    place = api.ok("join_queue", who, path=here)
    assert (place["status"], place["number"], place["ahead"]) == ("waiting", None, None)
    assert ush(api) == 1
    place = api.ok("poll_queue", waiting=place["waiting_token"], path=here)
    assert (place["status"], place["number"], place["ahead"]) == ("admitted", 1, 0)
    access = place["access_token"]

    seatmap = api.ok("get_seatmap", path=here)
    assert seatmap["seatmap_version"] == performance["seatmap_version"]
    free = api.ok("list_seats", path=here, query={"status": "free", "limit": 3})["items"]
    wanted = [seat["seat"] for seat in free]
    hold = api.ok("place_hold", who, access=access, path=here, json={"seats": wanted})
    assert [seat["seat"] for seat in hold["seats"]] == wanted
    assert hold["total_minor"] == sum(seat["price_minor"] for seat in free) == 9_000

    payment = {"access": access, "key": new_key(), "json": {"hold_id": hold["id"]}}
    assert (
        refused(api.call("pay", who, **payment), 402, "insufficient_funds")["short_minor"] == 9_000
    )
    topped_up = api.ok("top_up", who, key=new_key(), json={"amount_minor": 10_000})
    assert topped_up["balance_minor"] == 10_000
    booking = api.ok("pay", who, **payment)
    assert [ticket["seat"] for ticket in booking["tickets"]] == wanted
    assert api.ok("get_wallet", who)["balance_minor"] == 1_000

    mine = {"reference": booking["reference"]}
    assert api.ok("get_booking", who, path=mine) == booking
    assert api.ok("list_bookings", who)["items"] == [booking]
    for ticket in booking["tickets"]:
        path = mine | {"code": ticket["code"]}
        assert api.call("get_ticket_svg", who, path=path).data.startswith(b"<svg")
        assert api.call("get_ticket_pdf", who, path=path).data.startswith(b"%PDF")

    door = door_steward(api.db)
    code = booking["tickets"][0]["code"]
    shown_at_the_door = {"performance_id": sale, "code": f" {code.lower()} "}
    scan = api.ok("scan", door, json=shown_at_the_door)
    assert (scan["seat"], scan["name"]) == (wanted[0], "Kim Jari")
    again = refused(api.call("scan", door, json=shown_at_the_door), 409, "already_scanned")
    assert again["scanned_at"] == scan["scanned_at"]

    api.ok("end_session", who)
    refused(api.call("get_wallet", who), 401, "session_invalid")


def test_a_cancellation_gives_money_and_seats_back(api: Api) -> None:
    buyer = visitor(api).join().choose("ST-A-1", "ST-A-2").pay()
    assert api.ok("get_wallet", buyer.who)["balance_minor"] == 998_000
    cancelled = api.ok("cancel", buyer.who, key=new_key(), path=buyer.booked)
    assert cancelled["refund_minor"] == 2_000
    booking = api.ok("get_booking", buyer.who, path=buyer.booked)
    assert booking["cancelled_at"] == cancelled["cancelled_at"]
    assert all(ticket["voided_at"] for ticket in booking["tickets"])
    entries = api.ok("list_wallet_entries", buyer.who)["items"]
    assert [(entry["kind"], entry["amount_minor"]) for entry in entries] == [
        ("refund", 2_000),
        ("spend", -2_000),
        ("top_up", 1_000_000),
    ]
    visitor(api, buyer.performance_id).join().choose("ST-A-1", "ST-A-2").pay()


@pytest.mark.failure("F11")
def test_too_little_money_leaves_the_hold_to_be_paid_after_a_top_up(api: Api) -> None:
    buyer = visitor(api, balance_minor=0).join().choose("ST-A-1")
    payment = {"access": buyer.access, "key": "the-same", "json": buyer.holding | {}}
    refused(api.call("pay", buyer.who, **payment), 402, "insufficient_funds")
    api.ok("top_up", buyer.who, key=new_key(), json={"amount_minor": 1_000})
    assert api.ok("pay", buyer.who, **payment)["total_minor"] == 1_000


def test_who_joins_again_finds_the_same_place(api: Api) -> None:
    first = visitor(api, make_sale(api.db, capacity=0)).join()
    ush(api)
    response = api.call("join_queue", first.who, path=first.path)
    assert (response.status_code, response.json["number"]) == (200, 1)
    second = visitor(api, first.performance_id).join()
    ush(api)
    let_time_pass(api)
    place = api.ok("poll_queue", waiting=second.waiting, path=second.path)
    assert (place["number"], place["ahead"]) == (2, 1)


def test_who_leaves_gives_place_and_seats_up(api: Api) -> None:
    leaver = visitor(api).join().choose("ST-A-1")
    api.ok("leave_queue", leaver.who, path=leaver.path)
    refused(api.call("get_hold", leaver.who, path=leaver.holding), 410, "hold_expired")
    over = refused(
        api.call("poll_queue", waiting=leaver.waiting, path=leaver.path), 410, "turn_over"
    )
    assert (over["reason"], over["may_rejoin"]) == ("left", True)
    visitor(api, leaver.performance_id).join().choose("ST-A-1")
    api.ok("leave_queue", leaver.who, path=leaver.path)  # once more changes nothing


def test_ahead_falls_as_others_are_let_in(api: Api) -> None:
    sale = make_sale(api.db, capacity=2)
    line = [visitor(api, sale).join() for _ in range(5)]
    assert ush(api) == 2
    let_time_pass(api)
    last = line[-1]
    place = api.ok("poll_queue", waiting=last.waiting, path=last.path)
    assert (place["number"], place["ahead"]) == (5, 2)
    for inside in line[:2]:
        api.ok("leave_queue", inside.who, path=inside.path)
    assert ush(api) == 2
    let_time_pass(api)
    place = api.ok("poll_queue", waiting=place["waiting_token"], path=last.path)
    assert (place["number"], place["ahead"], place["status"]) == (5, 0, "waiting")
    assert place["estimated_wait_range_seconds"] is None  # of four nobody can tell the pace


def test_before_the_sale_opens_people_gather_and_nobody_is_let_in(api: Api) -> None:
    early = api.db.clock.now() - timedelta(seconds=60)
    sale = make_sale(api.db, opens_in=60, prequeue_opens_at=early, capacity=10)
    first = visitor(api, sale).join()
    assert api.ok("get_performance", path=first.path)["sale_status"] == "prequeue"
    assert ush(api) == 0
    assert api.ok("poll_queue", waiting=first.waiting, path=first.path)["status"] == "waiting"
    api.db.clock.advance(61)
    let_time_pass(api)
    assert ush(api) == 1


def test_it_is_said_from_when_on_one_may_come_for_the_lottery(api: Api) -> None:
    early = api.db.clock.now() + timedelta(seconds=30)
    one = visitor(api, make_sale(api.db, opens_in=60, prequeue_opens_at=early, capacity=10))
    shown = api.ok("get_performance", path=one.path)
    event = api.ok("get_event", path={"slug": shown["event"]["slug"]})
    refusal = refused(api.call("join_queue", one.who, path=one.path), 409, "sale_not_open")
    told = [one["prequeue_opens_at"] for one in (shown, event["performances"][0], refusal)]
    assert told == [plain(early)] * 3


def test_without_a_waiting_room_there_is_no_prequeue(api: Api) -> None:
    early = api.db.clock.now() - timedelta(seconds=60)
    sale = make_sale(api.db, opens_in=60, prequeue_opens_at=early, capacity=10)
    one = visitor(api, sale)
    api.db.transact(rooms.change, sale, None, {"capacity": None})
    let_time_pass(api)
    shown = api.ok("get_performance", path=one.path)
    assert (shown["sale_status"], shown["prequeue_opens_at"]) == ("scheduled", None)
    refusal = refused(api.call("join_queue", one.who, path=one.path), 409, "sale_not_open")
    assert refusal["prequeue_opens_at"] is None


def test_a_paused_sale_still_takes_newcomers_and_payments(api: Api) -> None:
    buyer = visitor(api).join().choose("ST-A-1")
    change_performance(api, buyer.performance_id, paused=True)
    assert api.ok("get_performance", path=buyer.path)["sale_status"] == "paused"
    buyer.pay()
    visitor(api, buyer.performance_id).join()


def test_the_best_available_seats_come_together(api: Api) -> None:
    buyer = visitor(api, make_sale(api.db, seats=400)).join()
    wish = {"best_available": {"quantity": 4, "section": "CI", "price_level": "standard"}}
    hold = api.ok("place_hold", buyer.who, access=buyer.access, path=buyer.path, json=wish)
    assert hold["together"] == "row"
    assert {seat["section"] for seat in hold["seats"]} == {"CI"}
    assert len({seat["row"] for seat in hold["seats"]}) == 1


def test_a_hold_shows_what_it_was_placed_as(api: Api) -> None:
    buyer: Visitor = visitor(api).join().choose("ST-A-3", "ST-A-1")
    shown = api.ok("get_hold", buyer.who, path=buyer.holding)
    assert shown | {"together": "chosen"} == buyer.hold
    assert api.call("release_hold", buyer.who, path=buyer.holding).status_code == 204
    visitor(api, buyer.performance_id).join().choose("ST-A-3", "ST-A-1")
