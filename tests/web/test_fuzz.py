"""Whatever is sent: no 5xx, no status that the document does not declare, no answer of another shape.

The cases come from the OpenAPI document: what fits it, what nearly fits it, and what does not, with tokens
that are valid, expired, somebody else's and broken.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from urllib.parse import urlencode

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
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from tests.builders import make_accounts, make_sale
from tests.web.contract import BY_NAME, Api
from tests.web.surfer import Surfer
from tests.web.visitors import Visitor, door_steward, expired_session, expired_token, visitor
from webapp.web.api import OPERATIONS
from webapp.web.contract import BASE
from webapp.web.guards import COOKIE
from webapp.web.inputs import RoomWish

CASES = 120  # for each operation, half of them meant to fit
PAGE_CASES = 30
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
# What each form sends, by the end of its address; a new form has to say so here.
FIELDS = {
    "/sign-up": ("email", "password", "name", "next"),
    "/sign-in": ("email", "password", "next"),
    "/sign-out": ("next",),
    "/queue": ("challenge_answer",),
    "/leave": (),
    "/hold": ("seat", "quantity", "price_level", "section", "tried", "at", "part"),
    "/pay": ("hold_id", "key"),
    "/release": ("hold_id",),
    "/cancellation": ("key",),
    "/wallet/top-ups": ("amount", "key", "next"),
    "/pause": (),
    "/resume": (),
    "/single-seat-rule": ("rule",),
    "/door/<int:performance_id>": ("code",),
    "/room": ("off", *RoomWish.model_fields),
    "/guests": ("email",),
    "/remove": ("email",),
    "/revoke": ("email",),
    "/beacon": ("beacon",),
}
QUERY = ("q", "since", "until", "at", "part", "next", "section", "seat", "tried", "cursor", "v")
# What some form might take: so that what lies behind the first check is reached as well.
FITTING = st.sampled_from(
    [
        *("c1@example.com", "long enough", "Min", "/wallet", "2", "12", "60", "900", "on", "warn"),
        *("2030-05-01T19:00", "2030-05-01", "ST", "lenient", "key-0123456789abcdef"),
    ]
)
BROKEN = st.sampled_from([b"\xff\xfe", b"\xed\xa0\x80", b"%", b"%zz", b"\x00" * 9])
ENTERED = st.one_of(VALUES.map(lambda text: text.encode("utf-8", "replace")), BROKEN)


def form(names: Iterable[str], **known: str) -> st.SearchStrategy[dict[str, bytes]]:
    """Some of the fields, each with something that fits, nearly fits or does not."""
    value = st.one_of(ENTERED, FITTING.map(str.encode))
    fields = {
        name: st.one_of(value, st.just(known[name].encode())) if name in known else value
        for name in names
    }
    return st.fixed_dictionaries({}, optional=fields)


def fields_of(rule: str) -> tuple[str, ...]:
    [found] = [names for end, names in FIELDS.items() if rule.endswith(end)]
    return found


def pages(app: Flask, method: str) -> Iterator[Rule]:
    """Every route of a page that takes this method; those that end a turn or a session come last."""
    ends = ("/hold/release", "/queue/leave", "/sign-out")
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule.endswith(ends)):
        if method in (rule.methods or ()) and not rule.rule.startswith(BASE):
            yield rule


def address(app: Flask, rule: Rule, performance_id: int, word: object) -> str | None:
    """Make an address of a rule; None where the values fit no part of it."""
    parts = {
        name: performance_id if hasattr(kind, "num_convert") else word
        for name, kind in rule._converters.items()
    }
    with suppress(ValueError), app.test_request_context():
        built = rule.build(parts)
        return built[1] if built else None
    return None


@pytest.fixture
def somebody(api: Api, app: Flask, role: str) -> tuple[Surfer, Visitor]:
    """A browser of each role, and a customer who is inside that role's sale with a hold."""
    app.config["WTF_CSRF_ENABLED"] = False
    [organiser] = make_accounts(api.db, role="organiser")
    sale = make_sale(api.db, organiser=organiser, session_seconds=3_600)
    owner = visitor(api, sale).join().choose().pay().join().choose()
    who = {"customer": owner.who, "organiser": organiser, "door": door_steward(api.db)}
    return Surfer(app, who.get(role)), owner


ROLES = ["customer", "organiser", "door", "nobody"]
WORDS = st.one_of(st.uuids(), st.text(min_size=1, max_size=20))
# 204: the waiting page's script hears that it is the turn.
ANSWERS = {200, 204, 302, 303, 308, *range(400, 500)}


@pytest.mark.slow
@pytest.mark.parametrize("role", ROLES)
def test_no_form_breaks_a_page(app: Flask, somebody: tuple[Surfer, Visitor]) -> None:
    surfer, owner = somebody
    for rule in pages(app, "POST"):
        fuzz_form(app, surfer, rule, owner)


def is_sent_to_sign_in(answer: TestResponse) -> bool:
    return answer.headers.get("Location", "").startswith("/sign-in")


def fuzz_form(app: Flask, surfer: Surfer, rule: Rule, owner: Visitor) -> None:
    signed_in = surfer.client.get_cookie(COOKIE) is not None and rule.rule != "/sign-out"

    @settings(FUZZED, max_examples=PAGE_CASES)
    @given(
        data=form(fields_of(rule.rule), hold_id=str(owner.holding["hold_id"]), seat="ST-A-1"),
        word=st.one_of(WORDS, st.just(owner.booking["reference"])),
    )
    def fuzz(data: dict[str, bytes], word: object) -> None:
        path = address(app, rule, owner.performance_id, word)
        if path is not None:
            answer: TestResponse = surfer.client.post(path, data=data)
            assert answer.status_code in ANSWERS, (path, data)
            # Else nothing but the guard would be tried.
            assert not signed_in or not is_sent_to_sign_in(answer), path

    fuzz()


@pytest.mark.slow
@pytest.mark.parametrize("role", ROLES)
def test_no_question_breaks_a_page(app: Flask, somebody: tuple[Surfer, Visitor]) -> None:
    surfer, owner = somebody
    for rule in pages(app, "GET"):
        if rule.endpoint != "static":
            fuzz_query(app, surfer, rule, owner)


def fuzz_query(app: Flask, surfer: Surfer, rule: Rule, owner: Visitor) -> None:
    @settings(FUZZED, max_examples=PAGE_CASES // 2)
    @given(
        query=form(QUERY, seat="ST-A-1"), word=st.one_of(WORDS, st.just(owner.booking["reference"]))
    )
    def fuzz(query: dict[str, bytes], word: object) -> None:
        path = address(app, rule, owner.performance_id, word)
        if path is not None:
            answer: TestResponse = surfer.client.get(f"{path}?{urlencode(query)}")
            assert answer.status_code in ANSWERS, (path, query)

    fuzz()
