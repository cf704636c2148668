"""The OpenAPI 3.1 document, made from the same table of operations that makes the routes.

Promises:

1. What a request may hold comes from the models that parse it, what an answer holds from the shapes that
   mypy holds the answers to. Nothing is written down twice.
2. Every refusal that an operation may give is named in its document, under its status.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from webapp.web import guards
from webapp.web.contract import BASE, PARAMETER, Operation, status_of, title_of

VERSION = "1.0"  # of the contract, not of the program
_REF = "#/components/schemas/{model}"
_PATH_SCHEMAS = {
    "int": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
    "uuid": {"type": "string", "format": "uuid"},
    "": {"type": "string"},
}

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
        "challenge": {
            "type": "object",
            "description": "What to do first; the answer goes into Challenge-Answer.",
            "required": ["kind", "challenge", "bits"],
            "properties": {
                "kind": {"enum": ["proof_of_work"]},
                "challenge": {"type": "string"},
                "bits": {"type": "integer"},
            },
        },
        "prequeue_opens_at": {"type": ["string", "null"], "format": "date-time"},
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
    for kind, name in PARAMETER.findall(operation.rule):
        yield {"name": name, "in": "path", "required": True, "schema": _PATH_SCHEMAS[kind]}
    properties = operation.query.model_json_schema()["properties"] if operation.query else {}
    for name, schema in properties.items():
        schema = schema.get("anyOf", [schema])[0]  # a parameter is left out, never null
        shown = {key: value for key, value in schema.items() if value is not None}
        yield {"name": name, "in": "query", "required": False, "schema": shown}
    for name in operation.may_send:
        yield {"name": name, "in": "header", "required": False, "schema": {"type": "string"}}
    if operation.key in ("required", "kept", "checked"):
        yield {
            "name": "Idempotency-Key",
            "in": "header",
            "required": operation.key == "required",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        }


def _answer(shape: Any, schemas: Mapping[Any, Any], operation: Operation) -> dict[str, Any]:
    names = [*operation.headers]
    if operation.keeps:
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
    header = {
        "headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    }
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
        | (header if status in (429, 503) else {})
        for status, codes in sorted(by_status.items())
    }
