"""What anybody sees: events, halls, and which seats can be had."""

import pytest

from tests.builders import make_sale
from tests.web.contract import Api
from tests.web.visitors import change_performance, let_time_pass, new_key, visitor
from tests.web.watching import Watch
from webapp.domain import halls
from webapp.domain.catalogue import Price
from webapp.web.seat_shapes import changes

LEVELS = [
    Price("front", "Front", 9_000),
    Price("middle", "Middle", 6_000),
    Price("back", "Back", 3_000),
]


def test_events_come_in_pages(api: Api) -> None:
    sales = [make_sale(api.db) for _ in range(5)]
    seen, cursor = [], None
    for _ in range(3):
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        part = api.ok("list_events", query=query)
        seen += part["items"]
        cursor = part["next_cursor"]
    assert cursor is None
    assert [event["performances"][0]["id"] for event in seen] == sales


def test_bookings_and_ledger_come_in_pages_newest_first(api: Api) -> None:
    v = visitor(api)
    references = []
    for seat in ("ST-A-1", "ST-A-2", "ST-A-3"):
        references.append(v.join().choose(seat).pay().booking["reference"])
    first = api.ok("list_bookings", v.who, query={"limit": 2})
    rest = api.ok("list_bookings", v.who, query={"limit": 2, "cursor": first["next_cursor"]})
    assert [b["reference"] for b in first["items"] + rest["items"]] == references[::-1]
    assert rest["next_cursor"] is None
    entries, cursor = [], ""
    while cursor is not None:
        part = api.ok(
            "list_wallet_entries",
            v.who,
            query={"limit": 1} | ({"cursor": cursor} if cursor else {}),
        )
        entries += part["items"]
        cursor = part["next_cursor"]
    assert [entry["kind"] for entry in entries] == ["spend", "spend", "spend", "top_up"]


@pytest.mark.parametrize(
    ("times", "status"),
    [
        ({"opens_in": 60}, "scheduled"),
        ({"opens_in": -60}, "open"),
        ({"closes_in": 0}, "closed"),
    ],
)
def test_the_clock_says_a_sales_status(api: Api, times: dict[str, float], status: str) -> None:
    path = {"performance_id": make_sale(api.db, **times)}
    assert api.ok("get_performance", path=path)["sale_status"] == status


def test_sold_out_is_when_every_seat_that_is_not_blocked_is_paid(api: Api) -> None:
    v = visitor(api, make_sale(api.db, seats=3, blocked=[2])).join().choose("ST-A-1", "ST-A-2")
    let_time_pass(api)
    assert api.ok("get_performance", path=v.path)["sale_status"] == "open"
    v.pay()
    let_time_pass(api)
    assert api.ok("get_performance", path=v.path)["sale_status"] == "sold_out"
    v.cancel()
    let_time_pass(api)
    assert api.ok("get_performance", path=v.path)["sale_status"] == "open"


# -- the hall ---------------------------------------------------------------------------------------


def test_a_hall_is_kept_for_long_under_its_version(api: Api) -> None:
    path = {"performance_id": make_sale(api.db, seats=400, levels=LEVELS)}
    version = api.ok("get_performance", path=path)["seatmap_version"]
    response = api.call("get_seatmap", path=path, query={"v": version})
    assert "immutable" in response.headers["Cache-Control"]
    assert response.headers["ETag"] == f'"{version}"'
    hall = response.json
    plan = halls.generate(400, [level.code for level in LEVELS])
    assert [seat["seat"] for seat in hall["seats"]] == [place.label for place in plan.places]
    assert {section["code"] for section in hall["sections"]} == {"ST", "CI", "BA"}
    assert sum(row["seats"] for row in hall["rows"]) == 400
    for other in ({}, {"v": "old"}):
        response = api.call("get_seatmap", path=path, query=other)
        assert response.headers["Cache-Control"] == "no-cache"
        assert response.json == hall
    for known in (f'"{version}"', f'W/"{version}"', f'"x", "{version}"', "*"):
        response = api.call("get_seatmap", path=path, headers={"If-None-Match": known})
        assert response.status_code == 304
        assert response.headers["ETag"] == f'"{version}"'


def test_a_hall_seen_once_is_not_read_again(api: Api) -> None:
    path = {"performance_id": make_sale(api.db)}
    api.ok("get_seatmap", path=path)
    api.ok("get_performance", path=path)
    with Watch(api.db) as watch:
        api.ok("get_seatmap", path=path)
    assert watch.idle


def test_availability_has_one_letter_for_each_seat(api: Api) -> None:
    v = visitor(api, make_sale(api.db, seats=6, blocked=[5])).join()
    v.choose("ST-A-1").pay()
    visitor(api, v.performance_id).join().choose("ST-A-3")
    let_time_pass(api)
    seen = api.ok("get_availability", path=v.path)
    hall = api.ok("get_seatmap", path=v.path)
    places = [seat["seat"] for seat in hall["seats"]]
    assert len(seen["states"]) == len(places)
    assert seen["states"][places.index("ST-A-1")] == "s"
    assert seen["states"][places.index("ST-A-3")] == "h"
    assert (seen["free"], seen["held"], seen["sold"], seen["blocked"]) == (3, 1, 1, 1)
    assert seen["seatmap_version"] == hall["seatmap_version"]


def test_the_same_states_are_not_sent_again(api: Api) -> None:
    v = visitor(api).join()
    first = api.call("get_availability", path=v.path)
    known = {"If-None-Match": first.headers["ETag"]}
    let_time_pass(api)
    assert api.call("get_availability", path=v.path, headers=known).status_code == 304
    v.choose("ST-A-1")
    let_time_pass(api)
    changed = api.call("get_availability", path=v.path, headers=known)
    assert changed.status_code == 200
    assert changed.headers["ETag"] != first.headers["ETag"]


def test_only_the_changes_are_sent_where_that_is_shorter(api: Api) -> None:
    v = visitor(api, make_sale(api.db, seats=200)).join()
    before = api.ok("get_availability", path=v.path)
    v.choose("ST-A-1", "ST-B-2")
    let_time_pass(api)
    since = {"since": before["version"]}
    changed = api.ok("get_availability", path=v.path, query=since)
    assert "states" not in changed
    states = list(before["states"])
    for index, state in changed["changes"].items():
        states[int(index)] = state
    assert "".join(states) == api.ok("get_availability", path=v.path)["states"]
    for unknown in ("", "no such version", "x" * 64):
        assert "states" in api.ok("get_availability", path=v.path, query={"since": unknown})


def test_all_states_are_sent_where_the_changes_would_be_longer(api: Api) -> None:
    v = visitor(api, make_sale(api.db, seats=4)).join()
    before = api.ok("get_availability", path=v.path)["version"]
    v.choose("ST-A-1", "ST-A-2")
    let_time_pass(api)
    assert "states" in api.ok("get_availability", path=v.path, query={"since": before})


@pytest.mark.failure("F41")
def test_an_abandoned_hold_comes_back_to_the_map_without_any_sweeper(api: Api) -> None:
    v = visitor(api, make_sale(api.db, hold_seconds=30, session_seconds=30)).join().choose("ST-A-1")
    let_time_pass(api)
    assert api.ok("get_availability", path=v.path)["held"] == 1
    api.db.clock.advance(31)
    let_time_pass(api)
    assert api.ok("get_availability", path=v.path)["held"] == 0


def test_many_looks_at_the_map_ask_the_database_once(api: Api) -> None:
    path = {"performance_id": make_sale(api.db)}
    api.ok("get_availability", path=path)
    with Watch(api.db) as watch:
        for _ in range(5):
            api.ok("get_availability", path=path)
    assert watch.idle


def test_changes_are_those_of_a_walk_from_seat_to_seat() -> None:
    before, after = "ffhhsb" * 50, "fhhhsf" * 49 + "ffhhsb"
    walked = {str(i): b for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b}
    assert changes(before, after) == walked
    assert changes(before, before) == {}
    assert changes("f", "ff") is None


# -- the list of seats ------------------------------------------------------------------------------


def test_seats_are_listed_with_price_and_state_page_by_page(api: Api) -> None:
    path = {"performance_id": make_sale(api.db, seats=400, levels=LEVELS)}
    seats, cursor, pages = [], "0", 0
    while cursor is not None:
        part = api.ok("list_seats", path=path, query={"limit": 150, "cursor": cursor})
        seats += part["items"]
        cursor, pages = part["next_cursor"], pages + 1
    hall = api.ok("get_seatmap", path=path)["seats"]
    assert pages == 3
    assert [seat["seat"] for seat in seats] == [seat["seat"] for seat in hall]
    prices = {level.code: level.price_minor for level in LEVELS}
    assert all(seat["price_minor"] == prices[seat["price_level"]] for seat in seats)


def test_seats_can_be_asked_for_by_section_level_and_state(api: Api) -> None:
    v = visitor(api, make_sale(api.db, seats=400, levels=LEVELS)).join().choose("CI-A-1", "CI-A-2")
    let_time_pass(api)

    def found(**query: str) -> list[str]:
        page = api.ok("list_seats", path=v.path, query={"limit": 500, **query})
        return [seat["seat"] for seat in page["items"]]

    assert found(status="held") == ["CI-A-1", "CI-A-2"]
    assert found(status="held", section="ST") == []
    assert found(price_level="middle", section="CI") == found(section="CI")
    assert len(found(status="free")) == 398
    assert found(section="no such section") == []
    v.pay()
    let_time_pass(api)
    assert found(status="sold") == ["CI-A-1", "CI-A-2"]


def test_a_closed_sale_still_takes_payments_for_live_holds(api: Api) -> None:
    v = visitor(api).join().choose("ST-A-1")
    change_performance(api, v.performance_id, closes_in=-1)
    api.ok("pay", v.who, access=v.access, key=new_key(), json=v.holding)
