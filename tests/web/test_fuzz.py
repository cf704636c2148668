"""Whatever is sent: no 5xx, no status that the document does not declare, no answer of another shape.

The cases come from the OpenAPI document: what fits it, what nearly fits it, and what does not, with tokens
that are valid, expired, somebody else's and broken.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from werkzeug.test import TestResponse

from tests.builders import make_sale
from tests.web.contract import BY_NAME, Api
from tests.web.surfer import Surfer
from tests.web.visitors import door_steward, expired_session, expired_token, visitor
from webapp.web.api import OPERATIONS
from webapp.web.contract import BASE

CASES = 120  # for each operation, half of them meant to fit
PAGE_CASES = 25
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
FUZZED = settings(
    max_examples=CASES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)

Headers = Mapping[str, str]


def callers(api: Api) -> list[Headers]:
    """Headers of everybody who might ask: those that are right, and every way of being wrong."""
    owner = visitor(api, make_sale(api.db, session_seconds=3_600)).join().choose()
    other = visitor(api, owner.performance_id).join()
    tokens = api.house.tokens
    right = {"Waiting-Token": owner.waiting, "Access-Token": str(owner.access)}
    broken = {"Waiting-Token": "a.b.c", "Access-Token": "\xff\xfe.\xe9.\xff"}
    over = {
        "Waiting-Token": expired_token(tokens, "waiting", owner.waiting),
        "Access-Token": expired_token(tokens, "access", str(owner.access)),
    }
    return [
        {**owner.who.bearer, **right},
        {**owner.who.bearer, **over},
        {**owner.who.bearer, **broken},
        {**other.who.bearer, **right},
        {**door_steward(api.db).bearer, **right},
        {**expired_session(api.db, other.who).bearer, **right},
        {"Authorization": "Bearer " + "x" * 43, **right},
        {"Authorization": "Bearer \xff\xfe" + "y" * 8_000},
        {},
    ]


@pytest.mark.slow
@pytest.mark.failure("F12")
@pytest.mark.failure("F36")
@pytest.mark.parametrize("name", BY_NAME)
def test_the_api_answers_as_its_document_says(api: Api, app: Flask, name: str) -> None:
    schema = schemathesis.openapi.from_wsgi(f"{BASE}/openapi.json", app)
    operation = BY_NAME[name]
    described = schema[operation.path][operation.method.upper()]
    everybody = callers(api)
    sale = make_sale(api.db)
    fits = described.as_strategy(generation_mode=GenerationMode.POSITIVE)
    fits_not = described.as_strategy(generation_mode=GenerationMode.NEGATIVE)

    @FUZZED
    @given(
        case=st.one_of(fits, fits_not) if operation.body or operation.query else fits,
        headers=st.sampled_from(everybody),
        here=st.booleans(),
    )
    def fuzz(case: Case, headers: Headers, here: bool) -> None:
        if here and "performance_id" in (case.path_parameters or {}):
            case.path_parameters["performance_id"] = sale
        plain = {"Accept-Encoding": "identity"}  # the checks do not unpack
        case.call_and_validate(headers={**headers, **plain}, checks=CHECKS)

    fuzz()


# -- odd bodies and headers ---------------------------------------------------------------------------

ODD_BODIES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "application/json"),
    "half an object": (b'{"hold_id":', "application/json"),
    "a number": (b"1" * 5_000, "application/json"),
    "NUL in it": (b'{"email": "a\\u0000@example.com", "password": "\\u0000"}', "application/json"),
    "not UTF-8": (b'{"email": "\xff\xfe"}', "application/json"),
    "a lone surrogate": (b'{"seats": ["\\ud800"]}', "application/json"),
    "deep": (b"[" * 20_000, "application/json"),
    "huge numbers": (
        b'{"amount_minor": 1e400, "performance_id": ' + b"9" * 999 + b"}",
        "application/json",
    ),
    "ten megabytes": (b" " * 10_000_000, "application/json"),
    "ten megabytes of form": (b"a=" + b"b" * 10_000_000, "application/x-www-form-urlencoded"),
    "another type": (b"<xml/>", "text/xml"),
    "no type": (b"{}", ""),
    "an odd type": (b"{}", "application/json; charset=\xff"),
    "a bad multipart": (b"--x\r\n\r\n", "multipart/form-data; boundary=x"),
    "compressed": (b"\x1f\x8b" + b"\x00" * 100, "application/json"),
}


@pytest.mark.parametrize("odd", ODD_BODIES)
def test_no_body_breaks_a_call(api: Api, odd: str) -> None:
    [headers, *_] = callers(api)
    body, kind = ODD_BODIES[odd]
    for operation in OPERATIONS:
        if operation.method != "post":
            continue
        path = BASE + operation.path.format(performance_id=1, hold_id=1, reference="X", code="X")
        sent = {**headers, "Idempotency-Key": "k", "Content-Encoding": "gzip"}
        if operation.key == "refused":
            del sent["Idempotency-Key"]
        answer = api.client.post(path, data=body, content_type=kind, headers=sent)
        assert answer.status_code < 500, (path, answer.status_code)
        assert operation.body is None or answer.json["code"], path


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Request-Id": "x" * 5_000},
        {"X-Request-Id": "\xff<script>"},
        {"If-None-Match": '"' * 3_000},
        {"Range": "bytes=9-1,,,-"},
        {"Accept": "\xff/*;q=x"},
        {"Accept-Language": "x;q=\xff," * 300},
        {"Content-Length": "0"},
        {"Host": "evil.example:99999"},
        {"Cookie": "jari_session=\xff; session=.eJx; =; ;;"},
        {"Idempotency-Key": "\xff"},
        {"Forwarded": "for=\xff;proto=https"},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_no_header_breaks_a_page_or_a_call(app: Flask, api: Api, headers: Headers) -> None:
    sale = make_sale(api.db)
    client = app.test_client()
    for path in ("/", f"/performances/{sale}", f"{BASE}/events", f"{BASE}/performances/{sale}"):
        answer = client.get(path, headers=dict(headers))
        assert answer.status_code < 500, path
        assert "<script>" not in str(answer.headers)


# -- pages --------------------------------------------------------------------------------------------

VALUES = st.one_of(
    st.text(max_size=80),
    st.sampled_from(
        [
            "",
            "0",
            "-1",
            "1e9",
            "9" * 40,
            "\x00",
            "\ud83d",
            "ST-A-1",
            "None",
            "'; --",
            "../..",
            "\u202e",
        ]
    ),
    st.integers().map(str),
    st.uuids().map(str),
)
FIELDS = st.sampled_from(
    ["email", "password", "name", "next", "amount", "key", "seat", "seats", "quantity", "hold_id"]
)


def posts(app: Flask) -> Iterator[str]:
    """Every route that takes a page's form."""
    for rule in app.url_map.iter_rules():
        if "POST" in (rule.methods or ()) and not rule.rule.startswith(BASE):
            yield rule.rule


def fill(app: Flask, rule: str, values: Mapping[str, Any]) -> str | None:
    """Make an address of a rule; None where the values fit no part of it."""
    [found] = [
        one for one in app.url_map.iter_rules() if one.rule == rule and "POST" in one.methods
    ]
    parts = {
        name: values["performance_id"] if hasattr(kind, "num_convert") else values["word"]
        for name, kind in found._converters.items()
    }
    with suppress(ValueError), app.test_request_context():
        built = found.build(parts)
        return built[1] if built else None
    return None


@pytest.mark.slow
@pytest.mark.parametrize("role", ["customer", "organiser", "nobody"])
def test_no_form_breaks_a_page(app: Flask, api: Api, role: str) -> None:
    app.config["WTF_CSRF_ENABLED"] = False
    owner = visitor(api).join().choose()
    surfer = Surfer(app, None if role == "nobody" else owner.who)
    for rule in posts(app):
        fuzz_form(app, surfer, rule, owner.performance_id)


def fuzz_form(app: Flask, surfer: Surfer, rule: str, performance_id: int) -> None:
    @settings(FUZZED, max_examples=PAGE_CASES)
    @given(
        data=st.dictionaries(FIELDS, VALUES, max_size=6),
        word=st.one_of(st.uuids(), st.text(min_size=1, max_size=20)),
    )
    def fuzz(data: dict[str, str], word: object) -> None:
        path = fill(app, rule, {"performance_id": performance_id, "word": word})
        if path is None:
            return
        encodable = {name: text.encode("utf-8", "replace") for name, text in data.items()}
        answer: TestResponse = surfer.client.post(path, data=encodable)
        assert answer.status_code in {200, 302, 303, *range(400, 500)}, (path, data)

    fuzz()
