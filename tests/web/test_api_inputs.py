"""Whatever is sent: 400 for what cannot be read, 422 for what does not fit, and never a 5xx."""

import uuid
from typing import Any

from tests.builders import make_accounts, make_sale
from tests.web.contract import BY_NAME, Api, refused
from tests.web.visitors import Visitor, new_key, visitor
from webapp.web.api import OPERATIONS
from webapp.web.contract import BASE

UNREADABLE: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "application/json"),
    "half": (b'{"amount_minor": 5', "application/json"),
    "text": (b"amount", "application/json"),
    "a list": (b"[1]", "application/json"),
    "a number": (b"5", "application/json"),
    "null": (b"null", "application/json"),
    "broken UTF-8": (b'{"amount_minor": "\xff\xfe"}', "application/json"),
    "a lone surrogate": (b'{"amount_minor": "\\ud800"}', "application/json"),
    "deep": (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "application/json"),
    "UTF-16": ('{"amount_minor": 5}'.encode("utf-16"), "application/json"),
    "a form": (b"amount_minor=5", "application/x-www-form-urlencoded"),
    "JSON called text": (b'{"amount_minor": 5}', "text/plain"),
    "JSON called nothing": (b'{"amount_minor": 5}', ""),
}


def test_a_body_that_cannot_be_read_is_malformed(api: Api) -> None:
    [who] = make_accounts(api.db)
    for case, (data, content_type) in UNREADABLE.items():
        response = api.call("top_up", who, key=new_key(), data=data, content_type=content_type)
        assert refused(response, 400, "malformed")["reason"], case


def test_an_amount_that_is_none_is_invalid(api: Api) -> None:
    [who] = make_accounts(api.db)
    for amount in (0, -1, 10_000_001, 10**30, 1.5, "5", True, None, [5], {}):
        response = api.call("top_up", who, key=new_key(), json={"amount_minor": amount})
        [fault] = refused(response, 422, "invalid")["errors"]
        assert fault["pointer"] == "/amount_minor", amount


def test_json_may_be_called_by_a_longer_name(api: Api) -> None:
    [who] = make_accounts(api.db)
    for name in ("application/json; charset=utf-8", "application/vnd.jari+json"):
        data = b'{"amount_minor": 5, "unknown": "is left alone"}'
        api.ok("top_up", who, key=new_key(), data=data, content_type=name)


WISHES: list[tuple[dict[str, Any], str]] = [
    ({}, ""),
    ({"seats": []}, "/seats"),
    ({"seats": ["ST-A-1", "ST-A-1"]}, ""),
    ({"seats": "ST-A-1"}, "/seats"),
    ({"seats": [1]}, "/seats/0"),
    ({"seats": ["ST-A-1"], "best_available": {"quantity": 1}}, ""),
    ({"seats": None, "best_available": None}, ""),
    ({"best_available": {}}, "/best_available/quantity"),
    ({"best_available": {"quantity": 0}}, "/best_available/quantity"),
    ({"best_available": {"quantity": "2"}}, "/best_available/quantity"),
    ({"best_available": {"quantity": 1, "section": 5}}, "/best_available/section"),
    ({"best_available": 2}, "/best_available"),
]


def test_a_wish_that_is_none_is_invalid(api: Api) -> None:
    v = visitor(api).join()
    for wish, pointer in WISHES:
        response = api.call("place_hold", v.who, access=v.access, path=v.path, json=wish)
        faults = refused(response, 422, "invalid")["errors"]
        assert [fault["pointer"] for fault in faults] == [pointer], wish


def test_a_wish_beyond_all_seats_is_refused_and_no_more(api: Api) -> None:
    v = visitor(api).join()
    many = {"seats": [f"ST-A-{number}" for number in range(4_000)]}
    for wish, code in (
        ({"best_available": {"quantity": 10**30}}, "not_enough_seats"),
        ({"best_available": {"quantity": 1, "section": "\x00"}}, "not_enough_seats"),
        ({"seats": ["\x00"]}, "seat_unknown"),
        (many, "seat_unknown"),
    ):
        response = api.call("place_hold", v.who, access=v.access, path=v.path, json=wish)
        assert response.json["code"] == code


NUMBERS = ["0", "2147483648", "9223372036854775808", "9" * 40, "9" * 5_000, "-1", "1.5", "x", "%00"]
WORDS = ["a%00b", "%FF%FE", "%ED%A0%80", "x" * 3_000, "%F0%9F%8E%AB", "..", "%2e%2e", "'--"]


def test_a_path_that_names_nothing_is_a_404(api: Api) -> None:
    """Numbers that fit no column and words that no database compares name nothing."""
    [who] = make_accounts(api.db, role="door")
    for operation in OPERATIONS:
        if "<" not in operation.rule:
            continue
        for word in NUMBERS if "int:" in operation.rule else WORDS:
            parts = dict.fromkeys(("performance_id", "slug", "reference", "code", "hold_id"), word)
            url = BASE + operation.path.format(**parts)
            response = api.client.open(
                url,
                method=operation.method.upper(),
                headers=who.bearer | {"Idempotency-Key": new_key()},
                json={} if operation.body else None,
            )
            expected = (401, 404) if operation.token else (404,)
            assert response.status_code in expected, (url[:100], response.text)
            assert response.mimetype == "application/problem+json"


PAGES = {
    "list_events": ["0", "501", "-1", "x", "1e3", "", "9" * 40, "\x00"],
    "list_bookings": ["0", "501", "x"],
    "list_wallet_entries": ["0", "501", "x"],
    "list_seats": ["0", "501", "x"],
}
CURSORS = ["", "x", "-1", "2147483648", "9" * 40, "\x00", "\ufffd", "1.5", "../", "null"]


def test_a_limit_or_cursor_that_is_none_is_invalid(api: Api) -> None:
    v = visitor(api)
    for name in PAGES:
        _try_pages(api, v, name)


def _try_pages(api: Api, v: Visitor, name: str) -> None:
    path = v.path if "<" in BY_NAME[name].rule else {}
    for parameter, values in (("limit", PAGES[name]), ("cursor", CURSORS)):
        for value in values:
            response = api.call(name, v.who, path=path, query={parameter: value})
            [fault] = refused(response, 422, "invalid")["errors"]
            assert fault["parameter"] == parameter
    for limit in (1, 500):
        api.ok(name, v.who, path=path, query={"limit": limit})


def test_a_status_that_is_none_is_invalid(api: Api) -> None:
    path = {"performance_id": make_sale(api.db)}
    [fault] = refused(
        api.call("list_seats", path=path, query={"status": "broken"}), 422, "invalid"
    )["errors"]
    assert fault["parameter"] == "status"
    for query in ({"section": "\x00"}, {"price_level": "x" * 5_000}, {"cursor": "2147483647"}):
        assert api.ok("list_seats", path=path, query=query)["items"] == []


def test_a_call_that_is_none_says_so_in_json(api: Api) -> None:
    for method, url, status, code in (
        ("GET", "/api/v1/nothing", 404, "not_found"),
        ("PUT", "/api/v1/wallet", 405, "method_not_allowed"),
        ("GET", f"/api/v1/holds/{uuid.uuid4()}x", 404, "not_found"),
    ):
        response = api.client.open(url, method=method)
        refused(response, status, code)
        assert response.mimetype == "application/problem+json"
        assert "X-Request-Id" in response.headers
    assert set(api.client.put("/api/v1/wallet").headers["Allow"].split(", ")) >= {"GET", "HEAD"}
