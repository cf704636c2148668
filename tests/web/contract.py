"""The API as its document describes it: every call made through here is held to that document.

`Api.call` names an operation, makes the request and checks the answer: its status is declared, its body
has the declared shape and nothing undeclared, a refusal is a complete problem document whose code is
declared for that operation.
"""

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from flask import Flask
from jsonschema import Draft202012Validator, FormatChecker
from werkzeug.test import TestResponse

from tests.builders import Customer
from webapp.db import Database
from webapp.web.api import OPERATIONS, described
from webapp.web.contract import BASE, Operation
from webapp.web.fastlane import FastLane
from webapp.web.house import House

BY_NAME = {operation.view.__name__: operation for operation in OPERATIONS}
_FORMATS = FormatChecker()


@_FORMATS.checks("date-time")
def _is_utc_time(value: object) -> bool:
    return not isinstance(value, str) or (value[10] == "T" and value.endswith("Z"))


@_FORMATS.checks("uuid")
def _is_uuid(value: object) -> bool:
    return not isinstance(value, str) or str(uuid.UUID(value)) == value


class Api:
    """A client of the API that knows who is asking."""

    def __init__(self, app: Flask) -> None:
        self.client = app.test_client()
        self.house: House = app.extensions["jari"]
        self.db: Database = self.house.db

    def call(
        self,
        name: str,
        who: Customer | None = None,
        *,
        access: str | None = None,
        waiting: str | None = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, object] | None = None,
        json: object = None,
        data: bytes | None = None,
        content_type: str | None = None,
        path: Mapping[str, object] | None = None,
    ) -> TestResponse:
        """Make the call `name` and hold its answer to the document."""
        operation = BY_NAME[name]
        sent = dict(who.bearer if who else {})
        given = {"Access-Token": access, "Waiting-Token": waiting, "Idempotency-Key": key}
        sent |= {header: value for header, value in given.items() if value is not None}
        response = self.client.open(
            BASE + operation.path.format(**(path or {})),
            method=operation.method.upper(),
            headers=sent | dict(headers or {}),
            query_string={k: str(v) for k, v in (query or {}).items()},
            json=json,
            data=data,
            content_type=content_type,
        )
        check(operation, response)
        return response

    @contextmanager
    def through_flask(self) -> Iterator[None]:
        """Let nothing be answered ahead of Flask."""
        app = self.client.application
        lane = app.wsgi_app
        assert isinstance(lane, FastLane)
        app.wsgi_app = lane._wsgi  # type: ignore[method-assign]
        try:
            yield
        finally:
            app.wsgi_app = lane  # type: ignore[method-assign]

    def ok(self, name: str, who: Customer | None = None, **given: Any) -> Any:
        """Make the call, expect success and return the body."""
        response = self.call(name, who, **given)
        assert response.status_code < 300, response.text
        return response.json if response.data else None


def refused(response: TestResponse, status: int, code: str) -> dict[str, Any]:
    """Expect a refusal; return its problem document, which `Api.call` has checked."""
    assert (response.status_code, response.json and response.json.get("code")) == (status, code), (
        response.text
    )
    body: dict[str, Any] = response.json
    return body


def check(operation: Operation, response: TestResponse) -> None:
    """Hold an answer to what the document says of its operation."""
    declared = described()["paths"][operation.path][operation.method]["responses"]
    assert "X-Request-Id" in response.headers
    assert str(response.status_code) in declared, (operation.path, response.text)
    content = declared[str(response.status_code)].get("content")
    if content is None:
        assert response.data == b""
        return
    assert response.mimetype in content, response.mimetype
    if "json" in response.mimetype:
        _validator(
            operation.path, operation.method, response.status_code, response.mimetype
        ).validate(response.json)
    if response.mimetype == "application/problem+json":
        assert response.json["status"] == response.status_code
        assert response.json["instance"] == response.request.path
        assert ("retry_after" in response.json) == ("Retry-After" in response.headers)


@cache
def _validator(path: str, method: str, status: int, mimetype: str) -> Draft202012Validator:
    responses = described()["paths"][path][method]["responses"]
    schema = responses[str(status)]["content"][mimetype]["schema"]
    components = _closed(described()["components"])
    return Draft202012Validator({**schema, "components": components}, format_checker=_FORMATS)


def _closed(schema: Any) -> Any:
    """Forbid what is not declared: the document lets fields be added, a test wants them declared."""
    closed = json.loads(json.dumps(schema))
    for component in closed["schemas"].values():
        if "properties" in component:
            component["additionalProperties"] = False
    return closed
