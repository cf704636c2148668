"""What everybody looks at: Flask's answers, made ready once and given before Flask is asked."""

import gzip
import json
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.builders import make_sale
from tests.web.contract import Api
from tests.web.visitors import let_time_pass, visitor
from tests.web.watching import Watch
from webapp.web import lookups
from webapp.web.house import LISTS_KEPT

PACKED = {"Accept-Encoding": "gzip, deflate, br"}
MINE = {"X-Request-Id": "a-request-of-mine"}

# What a client asks for, and which version it says that it has. `{0}` is an older version of the states,
# `{1}` the newest, `{2}` the hall's.
LOOKS: dict[str, tuple[str, dict[str, str]]] = {
    "all states": ("availability", {}),
    "packed": ("availability", PACKED),
    "what changed": ("availability?since={0}", {}),
    "what changed, packed": ("availability?since={0}", PACKED),
    "nothing changed": ("availability?since={1}", PACKED),
    "since nobody knows when": ("availability?since=0123456789abcdef", PACKED),
    "the same states": ("availability", {"If-None-Match": 'W/"{1}"'}),
    "the same states, packed": ("availability", PACKED | {"If-None-Match": '"x", W/"{1}"'}),
    "other states": ("availability", PACKED | {"If-None-Match": 'W/"{0}"'}),
    "whatever there is": ("availability?since={0}", {"If-None-Match": "*"}),
    "a hall": ("seatmap", {}),
    "a hall, packed": ("seatmap", PACKED),
    "a hall's version": ("seatmap?v={2}", PACKED),
    "a hall's version, plain": ("seatmap?v={2}", {"Accept-Encoding": "identity"}),
    "another version of a hall": ("seatmap?v=x", PACKED),
    "the same hall": ("seatmap?v={2}", PACKED | {"If-None-Match": '"{2}-gzip"'}),
    "the same hall, plain": ("seatmap", {"If-None-Match": 'W/"{2}"'}),
    "the same hall packed otherwise": ("seatmap", {"If-None-Match": '"{2}-gzip"'}),
    "no gzip, please": ("seatmap", {"Accept-Encoding": "gzip;q=0, br"}),
    "gzip if need be": ("availability", {"Accept-Encoding": "br;q=1.0, gzip;q=0.1"}),
    "part of it": ("availability", {"Range": "bytes=0-9"}),
    "by somebody": ("availability", {"Authorization": "Bearer nobody"}),
    "the sale": ("", {}),
    "seats": ("seats", {}),
    "free seats": ("seats?status=free&limit=3", {}),
    "held seats": ("seats?status=held&section=ST&cursor=1", {}),
    "seats of a price": ("seats?price_level=standard&limit=500", {}),
    "the last seats": ("seats?cursor=198", {}),
    "no seats": ("seats?cursor=5000", {}),
    "a parameter twice": ("seats?limit=3&limit=4", {}),
    "a filter that is none": ("seats?seat=1", {}),
    "too many": ("seats?limit=501", {}),
}

# What only Flask answers, and with which status.
PASSES: dict[str, tuple[str, str, dict[str, Any], int]] = {
    "head": ("HEAD", "availability", {}, 200),
    "another parameter": ("GET", "availability?v=1", {}, 200),
    "a parameter too many": ("GET", "availability?since=x&limit=5", {}, 200),
    "a parameter twice": ("GET", "availability?since=x&since=y", {}, 200),
    "an empty one": ("GET", "availability?since=", {}, 200),
    "an encoded one": ("GET", "seatmap?v=%31", {}, 200),
    "one too long": ("GET", f"seatmap?v={'1' * 65}", {}, 422),
    "a body": ("GET", "availability", {"data": b"{}"}, 200),
    "posting": ("POST", "availability", {}, 405),
    "another place": ("GET", "availability/", {}, 404),
}


@pytest.fixture
def sale(api: Api) -> dict[str, Any]:
    """A sale whose seats changed hands a moment ago; the versions are those of `LOOKS`."""
    buyer = visitor(api, make_sale(api.db, seats=200)).join()
    before = api.ok("get_availability", path=buyer.path)
    buyer.choose("ST-A-1", "ST-A-2")
    let_time_pass(api)
    now = api.ok("get_availability", path=buyer.path)
    path = f"/api/v1/performances/{buyer.performance_id}"
    for headers in ({}, PACKED):
        assert api.client.get(path + "/seatmap", headers=headers).status_code == 200
    versions = (before["version"], now["version"], now["seatmap_version"])
    return {"path": path, "versions": versions}


def ask(api: Api, sale: dict[str, Any], name: str) -> TestResponse:
    path, headers = LOOKS[name]
    filled = {key: text.format(*sale["versions"]) for key, text in (MINE | headers).items()}
    return api.client.get(sale["path"] + slashed(path).format(*sale["versions"]), headers=filled)


def slashed(path: str) -> str:
    return f"/{path}" if path else ""


def said(response: TestResponse) -> dict[str, Any] | None:
    """Return what an answer says, but for the moment at which to come back."""
    if not response.data:
        return None
    packed = response.headers.get("Content-Encoding") == "gzip"
    body: dict[str, Any] = json.loads(gzip.decompress(response.data) if packed else response.data)
    return body | {"poll_after_ms": None}


@pytest.mark.parametrize("name", LOOKS)
def test_its_answer_is_flasks_answer(
    api: Api, sale: dict[str, Any], passed: list[str], name: str
) -> None:
    with Watch(api.db) as watch:
        fast = ask(api, sale, name)
    assert watch.idle
    assert passed == []
    with api.through_flask():
        slow = ask(api, sale, name)
    assert len(passed) == 1
    assert fast.status == slow.status
    lengths = [headers.pop("Content-Length", None) for headers in (fast.headers, slow.headers)]
    assert dict(fast.headers) == dict(slow.headers)
    assert said(fast) == said(slow)
    assert lengths[0] == (str(len(fast.data)) if fast.data else None)
    assert (lengths[0] is None) == (lengths[1] is None)


@pytest.mark.parametrize("known", [True, False])
def test_an_events_answer_is_flasks_answer(
    api: Api, sale: dict[str, Any], passed: list[str], known: bool
) -> None:
    """Everybody who comes looks at it first. What is not there is looked for each time."""
    [event] = api.ok("list_events")["items"]
    address = f"/api/v1/events/{event['slug'] if known else 'nothing'}"
    passed.clear()
    api.client.get(address)
    with Watch(api.db) as watch:
        fast = api.client.get(address, headers=MINE)
    assert watch.idle == known
    assert passed == []
    with api.through_flask():
        slow = api.client.get(address, headers=MINE)
    assert len(passed) == 1
    assert (fast.status, dict(fast.headers), fast.json) == (
        slow.status,
        dict(slow.headers),
        slow.json,
    )
    assert fast.json == event or not known


def test_the_table_has_every_kind_of_answer(api: Api, sale: dict[str, Any]) -> None:
    answers = {name: ask(api, sale, name) for name in LOOKS}
    assert {name for name, answer in answers.items() if answer.status_code == 304} == {
        "the same states",
        "the same states, packed",
        "whatever there is",
        "the same hall",
        "the same hall, plain",
    }
    told = {name: said(answer) or {} for name, answer in answers.items()}
    assert told["what changed"]["changes"] == told["what changed, packed"]["changes"]
    assert set(told["what changed"]["changes"].values()) == {"h"}
    assert told["nothing changed"]["changes"] == {}
    assert told["since nobody knows when"]["states"] == told["all states"]["states"]
    assert "immutable" in answers["a hall's version"].headers["Cache-Control"]
    assert answers["another version of a hall"].headers["Cache-Control"] == "no-cache"
    for name, answer in answers.items():
        if LOOKS[name][0].startswith(("availability", "seatmap")):
            assert answer.headers["Vary"] == "Accept-Encoding", name


@pytest.mark.parametrize("name", PASSES)
def test_what_is_unusual_is_flasks_matter(
    api: Api, sale: dict[str, Any], passed: list[str], name: str
) -> None:
    method, path, more, status = PASSES[name]
    assert (
        api.client.open(sale["path"] + slashed(path), method=method, **more).status_code == status
    )
    assert len(passed) == 1


@pytest.mark.parametrize("what", ["availability", "seatmap?v=1"])
def test_a_sale_that_there_is_not_is_told_as_flask_would(
    api: Api, passed: list[str], what: str
) -> None:
    path = f"/api/v1/performances/999999999/{what}"
    fast = api.client.get(path, headers=MINE)
    assert passed == []
    with api.through_flask():
        slow = api.client.get(path, headers=MINE)
    assert (fast.status_code, fast.json) == (404, slow.json)
    assert dict(fast.headers) == dict(slow.headers)


def test_it_is_written_and_packed_once_for_all_who_look(api: Api, sale: dict[str, Any]) -> None:
    [slot] = api.house.availability._slots.values()
    for _ in range(20):
        for name in ("all states", "packed", "what changed", "what changed, packed"):
            assert ask(api, sale, name).status_code == 200
    assert set(slot.value.bodies._slots) == {
        (sale["versions"][2], since) for since in (None, sale["versions"][0])
    }


def test_a_list_of_seats_is_written_once_for_all_who_ask_for_the_same(
    api: Api, sale: dict[str, Any]
) -> None:
    [slot] = api.house.availability._slots.values()
    for _ in range(20):
        ask(api, sale, "free seats")
    for start in range(100):
        api.client.get(sale["path"] + f"/seats?cursor={start}")
    assert len(slot.value.lists._slots) == LISTS_KEPT
    told = said(ask(api, sale, "free seats"))
    assert told is not None
    assert [seat["status"] for seat in told["items"]] == ["free"] * 3


def test_nobody_fills_the_house_with_versions_that_there_never_were(
    api: Api, sale: dict[str, Any]
) -> None:
    [slot] = api.house.availability._slots.values()
    for number in range(100):
        api.client.get(sale["path"] + f"/availability?since=x{number}")
    assert len(slot.value.bodies._slots) == 1


@pytest.mark.parametrize("headers", [{}, PACKED])
def test_those_who_look_are_told_to_come_back_at_different_times(
    api: Api, sale: dict[str, Any], headers: dict[str, str]
) -> None:
    pauses = set()
    for _ in range(50):
        answer = api.client.get(sale["path"] + "/availability", headers=headers)
        body = gzip.decompress(answer.data) if headers else answer.data
        pauses.add(json.loads(body)["poll_after_ms"])
    usual = lookups.POLL_ON_SALE_MS
    assert len(pauses) > 10
    assert usual * 0.8 <= min(pauses) < max(pauses) <= usual * 1.2


@pytest.mark.parametrize(
    "name", ["packed", "a hall's version", "the same states", "the sale", "seats", "too many"]
)
def test_each_look_has_its_line_in_the_log(
    api: Api, sale: dict[str, Any], caplog: pytest.LogCaptureFixture, name: str
) -> None:
    with caplog.at_level("INFO", "jari.request"):
        ask(api, sale, name)
        with api.through_flask():
            ask(api, sale, name)
    fast, slow = (dict(record.said) for record in caplog.records)
    for line in (fast, slow):
        assert line.pop("milliseconds") >= 0
    assert fast == slow
    assert fast["route"].endswith(LOOKS[name][0].partition("?")[0])
