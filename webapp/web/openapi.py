"""The OpenAPI 3.1 document, made from the same table of operations that makes the routes.

Promises:

1. What a request may hold comes from the models that parse it, what an answer holds from the shapes that
   mypy holds the answers to. Nothing is written down twice.
2. Every refusal that an operation may give is named in its document, under its status.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter

from webapp.domain.errors import Refusal
from webapp.web import failures, guards
from webapp.web.tokens import Kind

BASE = "/api/v1"
VERSION = "1.0"  # of the contract, not of the program
_REF = "#/components/schemas/{model}"
_PARAMETER = re.compile(r"<(?:(\w+):)?(\w+)>")
_PATH_SCHEMAS = {
    "int": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
    "uuid": {"type": "string", "format": "uuid"},
    "": {"type": "string"},
}

# The web's own refusals; the domain's are found by their classes.
STATUSES: dict[str, int] = {
    "malformed": 400,
    "idempotency_key_missing": 400,
    "idempotency_key_refused": 400,
    "bad_credentials": 401,
    "session_missing": 401,
    "session_invalid": 401,
    "session_expired": 401,
    "token_missing": 401,
    "token_malformed": 401,
    "token_invalid": 401,
    "token_expired": 401,
    "token_wrong_performance": 403,
    "token_wrong_customer": 403,
    "role_missing": 403,
    "too_large": 413,
    "poll_too_soon": 429,
    "busy": 503,
    "outcome_unknown": 503,
}
_SESSION = ("session_missing", "session_invalid", "session_expired")
_TOKEN = ("token_missing", "token_malformed", "token_invalid")
_PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "Why not (RFC 9457). Facts about the refusal are further members.",
    "required": ["type", "title", "status", "detail", "instance", "code"],
    "properties": {name: {"type": "string"} for name in ("type", "title", "detail", "instance")}
    | {
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "description": "One fault, in the body (pointer), the query or a header.",
                "required": ["detail"],
                "properties": {
                    name: {"type": "string"}
                    for name in ("detail", "pointer", "parameter", "header")
                },
            },
        },
        "retry_after": {"type": "integer", "description": "Seconds."},
        "token": {"enum": ["waiting", "access"]},
        "reason": {"type": "string"},
        "may_rejoin": {"type": "boolean"},
        "role": {"type": "string"},
        "seats": {"type": "array", "items": {"type": "string"}},
        "seats_max": {"type": "integer"},
        "free": {"type": "integer"},
        "hold_id": {"type": ["string", "null"], "format": "uuid"},
        "short_minor": {"type": "integer"},
        "reference": {"type": "string"},
    }
    | {
        name: {"type": "string", "format": "date-time"}
        for name in ("sales_open_at", "cancelled_at", "scanned_at")
    },
}


def refusals(family: type[Refusal] = Refusal) -> Iterator[type[Refusal]]:
    """Yield every refusal of the domain."""
    for leaf in family.__subclasses__():
        yield leaf
        yield from refusals(leaf)


def status_of(code: str) -> int:
    """Return the HTTP status of a refusal's code."""
    return STATUSES.get(code) or next(leaf.status for leaf in refusals() if leaf.code == code)


def title_of(code: str) -> str:
    """Return what people read for a code."""
    return failures.TITLES.get(code) or next(
        str(leaf.__doc__).splitlines()[0] for leaf in refusals() if leaf.code == code
    )


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of the API: everything its route and its document are made of.

    `key` says what an Idempotency-Key does: it is required, kept, only checked, or refused.
    """

    method: Literal["get", "post", "delete"]
    rule: str
    view: Callable[..., Any]
    guard: Callable[[Any], Any]
    answers: Mapping[int, Any]  # status → a shape, a media type, or None for no content
    codes: Sequence[str] = ()  # beyond those that follow from the other fields
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    token: Kind | None = None
    token_may_be_over: bool = False
    key: Literal["required", "kept", "checked", "refused", ""] = ""
    headers: Sequence[str] = ()  # beyond those that every answer has

    @property
    def path(self) -> str:
        """The path as OpenAPI writes it."""
        return _PARAMETER.sub(r"{\2}", self.rule)

    def refused_with(self) -> list[str]:
        """Return every code that this operation may refuse with."""
        codes = list(self.codes)
        if self.guard is not guards.public:
            codes += _SESSION
        if self.guard is guards.door:
            codes.append("role_missing")
        if self.token:
            codes += (*_TOKEN, "token_wrong_customer")
            if not self.token_may_be_over:
                codes.append("token_expired")
        if self.body:
            codes += ("malformed", "too_large")
        if self.body or self.query or self.key in ("required", "kept", "checked"):
            codes.append("invalid")
        if self.key == "required":
            codes.append("idempotency_key_missing")
        if self.key in ("required", "kept"):
            codes.append("idempotency_key_reused")
        if self.key == "refused":
            codes.append("idempotency_key_refused")
        codes.append("busy")
        if self.method != "get" and not self.rule.startswith("/sessions"):
            codes.append("outcome_unknown")  # signing in and out is simply done again
        return codes


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the whole document."""
    models = _models(operations)
    refs, schemas = TypeAdapter.json_schemas(models, ref_template=_REF)
    by_model = {adapter: schema for (adapter, _), schema in refs.items()}
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for operation in operations:
        paths[operation.path][operation.method] = _operation(operation, by_model)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Jari", "version": VERSION, "summary": "Sells seats."},
        "servers": [{"url": BASE}],
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"] | {"Problem": _PROBLEM},
            "securitySchemes": {
                "session": {"type": "http", "scheme": "bearer"},
                "waiting": {"type": "apiKey", "in": "header", "name": guards.HEADERS["waiting"]},
                "access": {"type": "apiKey", "in": "header", "name": guards.HEADERS["access"]},
            },
        },
    }


def _models(operations: Sequence[Operation]) -> list[tuple[Any, Any, TypeAdapter[Any]]]:
    bodies = {operation.body: "validation" for operation in operations if operation.body}
    shapes = {
        shape: "serialization"
        for operation in operations
        for shape in operation.answers.values()
        if shape is not None and not isinstance(shape, str)
    }
    return [(model, mode, TypeAdapter(model)) for model, mode in (bodies | shapes).items()]


def _operation(operation: Operation, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": operation.view.__name__,
        "summary": str(operation.view.__doc__).splitlines()[0],
        "parameters": list(_parameters(operation)),
        "responses": {
            str(status): _answer(shape, schemas, operation) | {"description": "Done."}
            for status, shape in operation.answers.items()
        }
        | _refused(operation),
    }
    if operation.body:
        content = {"application/json": {"schema": schemas[operation.body]}}
        made["requestBody"] = {"required": True, "content": content}
    needed: dict[str, list[str]] = {} if operation.guard is guards.public else {"session": []}
    if operation.token:
        needed[operation.token] = []
    if needed:
        made["security"] = [needed]
    return made


def _parameters(operation: Operation) -> Iterator[dict[str, Any]]:
    for kind, name in _PARAMETER.findall(operation.rule):
        yield {"name": name, "in": "path", "required": True, "schema": _PATH_SCHEMAS[kind]}
    properties = operation.query.model_json_schema()["properties"] if operation.query else {}
    for name, schema in properties.items():
        schema = schema.get("anyOf", [schema])[0]  # a parameter is left out, never null
        shown = {key: value for key, value in schema.items() if value is not None}
        yield {"name": name, "in": "query", "required": False, "schema": shown}
    if operation.key in ("required", "kept", "checked"):
        yield {
            "name": "Idempotency-Key",
            "in": "header",
            "required": operation.key == "required",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        }


def _answer(shape: Any, schemas: Mapping[Any, Any], operation: Operation) -> dict[str, Any]:
    names = [*operation.headers]
    if operation.key in ("required", "kept"):
        names.append("Idempotent-Replayed")
    made: dict[str, Any] = {
        "headers": {name: {"schema": {"type": "string"}} for name in ("X-Request-Id", *names)}
    }
    if isinstance(shape, str):
        made["content"] = {shape: {"schema": {"type": "string"}}}
    elif shape is not None:
        made["content"] = {"application/json": {"schema": schemas[shape]}}
    return made


def _refused(operation: Operation) -> dict[str, Any]:
    by_status: dict[int, list[str]] = defaultdict(list)
    for code in operation.refused_with():
        by_status[status_of(code)].append(code)
    return {
        str(status): {
            "description": " ".join(title_of(code) for code in codes),
            "content": {
                "application/problem+json": {
                    "schema": {
                        "allOf": [{"$ref": _REF.format(model="Problem")}],
                        "properties": {"code": {"enum": codes}},
                    }
                }
            },
        }
        for status, codes in sorted(by_status.items())
    }
