"""What comes in, turned into values once: JSON bodies, forms, query strings, path parts, keys.

Promises:

1. What cannot be read (not JSON, not UTF-8, not an object) is 400 `malformed`; what can be read and does
   not fit is 422 `invalid`, with a pointer (RFC 6901) or the parameter's name for each fault.
2. Nothing gets through that a database refuses: no NUL, no lone surrogate, no number beyond a column.
3. Models are made once, at import.
"""

import uuid
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, Literal, Self, TypeVar

from flask import Flask, request
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import ErrorDetails
from werkzeug.routing import IntegerConverter, Map, UnicodeConverter

from webapp.domain.catalogue import ARRIVAL_SECONDS_MIN
from webapp.domain.errors import Invalid
from webapp.web.failures import Rejected

ID_MAX = 2**31 - 1
KEY_LENGTH_MAX = 255
PASSWORD_MIN, PASSWORD_MAX = 8, 200
EMAIL_PATTERN = r"^[^\s@\x00-\x1f\x7f]{1,64}@[^\s@.\x00-\x1f\x7f]+(\.[^\s@.\x00-\x1f\x7f]+)+$"

Model = TypeVar("Model", bound=BaseModel)


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


# Lowered before it is measured: a letter may become two.
Email = Annotated[
    str,
    BeforeValidator(_lower),
    StringConstraints(max_length=254, pattern=EMAIL_PATTERN),
]
Name = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$"
    ),
]
Id = Annotated[int, Field(ge=1, le=ID_MAX)]
# Clients hand cursors back as they got them, so the document does not say what is in them.
_OPAQUE = WithJsonSchema({"type": "string"})
IdCursor = Annotated[Annotated[int, Field(ge=0, le=ID_MAX)] | None, _OPAQUE]
UuidCursor = Annotated[uuid.UUID | None, _OPAQUE]
Version = Annotated[str, StringConstraints(max_length=64)] | None


class Input(BaseModel):
    """A JSON body or a form. Types are strict: `true` is no number and `1` is no text."""

    model_config = ConfigDict(strict=True)


class SignUp(Input):
    """A new customer."""

    email: Email
    password: Annotated[str, StringConstraints(min_length=PASSWORD_MIN, max_length=PASSWORD_MAX)]
    name: Name


class SignIn(Input):
    """Somebody who says who they are. A wrong address is no other answer than a wrong password."""

    email: Annotated[str, StringConstraints(max_length=254)]
    password: Annotated[str, StringConstraints(max_length=PASSWORD_MAX)]


class EventSearch(Input):
    """What somebody looks for among the events."""

    q: Annotated[str, Field(max_length=100)] = ""
    since: date | None = None
    until: date | None = None


class SingleSeatRule(Input):
    """What becomes of choices that leave a single seat alone."""

    rule: Literal["off", "lenient", "strict"]


class BestAvailable(Input):
    """Seats that the house chooses."""

    quantity: Annotated[int, Field(ge=1)]
    price_level: str | None = None
    section: str | None = None


class HoldWish(Input):
    """Either named seats or the best available."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["seats"]}, {"required": ["best_available"]}],
        }
    )

    seats: Annotated[list[str], Field(min_length=1)] | None = None
    best_available: BestAvailable | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.seats is None) == (self.best_available is None):
            raise ValueError("give either seats or best_available")
        if self.seats is not None and len(set(self.seats)) < len(self.seats):
            raise ValueError("a seat is named twice")
        return self


class TopUp(Input):
    """Money for the wallet; the house's own limit is checked beside this."""

    amount_minor: Annotated[int, Field(ge=1)]


class Payment(Input):
    """The hold to pay."""

    hold_id: uuid.UUID


class ScannedCode(Input):
    """What the door's scanner read."""

    performance_id: Id
    code: Annotated[str, StringConstraints(max_length=1_000)]


class RoomWish(BaseModel):
    """How an organiser wants a waiting room to be; texts of a form. Nothing entered: as it was."""

    prequeue_opens_at: datetime | None = None
    sales_open_at: datetime
    capacity: Annotated[int, Field(ge=0, le=ID_MAX)] | None = None
    rate_per_minute: Annotated[int, Field(ge=0, le=ID_MAX)]
    session_seconds: Annotated[int, Field(ge=60, le=86_400)]
    arrival_seconds: Annotated[int, Field(ge=ARRIVAL_SECONDS_MIN, le=86_400)]
    idle_seconds: Annotated[int, Field(ge=60, le=86_400)] | None = None
    message: Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)] = ""
    beacon_source: Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)] = ""


class Paged(BaseModel):
    """Which part of a list."""

    limit: Annotated[int, Field(ge=1, le=500)] = 50


class PageById(Paged):
    """Continues after a number."""

    cursor: IdCursor = None


class PageByUuid(Paged):
    """Continues after an id."""

    cursor: UuidCursor = None


class SeatFilter(PageById):
    """Which seats of a performance."""

    status: Literal["free", "held", "sold", "blocked"] | None = None
    section: str | None = None
    price_level: str | None = None


class SeatmapVersion(BaseModel):
    """The version that the client has seen announced."""

    v: Version = None


class Since(BaseModel):
    """The version that the client knows."""

    since: Version = None


# -- reading a request --------------------------------------------------------------------------


def body(model: type[Model]) -> Model:
    """Return the JSON body as `model`; raise Rejected (400) or Invalid (422)."""
    if not request.is_json:
        raise Rejected(400, "malformed", reason="the body must be application/json")
    return read_json(model, request.get_data(cache=True))


def read_json(model: type[Model], data: bytes) -> Model:
    """Return JSON as `model`; raise Rejected (400) or Invalid (422)."""
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        first = faults[0]
        if first["type"] == "json_invalid" or (not first["loc"] and first["type"] == "model_type"):
            raise Rejected(400, "malformed", reason="the body must be a JSON object") from None
        raise Invalid(errors=[_fault(fault) for fault in faults]) from None


def form(model: type[Model], values: Mapping[str, Any]) -> Model:
    """Return a form's values as `model`; raise Invalid with the same pointers as for JSON."""
    try:
        return model.model_validate_strings(values)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        raise Invalid(errors=[_fault(fault) for fault in faults]) from None


def query(model: type[Model]) -> Model:
    """Return the query string as `model`; raise Invalid naming the parameters."""
    return read_query(model, request.args.to_dict())


def read_query(model: type[Model], given: Mapping[str, str]) -> Model:
    """Return parameters as `model`; raise Invalid naming those that do not fit."""
    try:
        return model.model_validate_strings(given)
    except ValidationError as error:
        raise Invalid(
            errors=[
                {"parameter": str(fault["loc"][0]), "detail": fault["msg"]}
                for fault in error.errors(include_url=False, include_context=False)
            ]
        ) from None


def _fault(fault: ErrorDetails) -> dict[str, Any]:
    parts = (str(part).replace("~", "~0").replace("/", "~1") for part in fault["loc"])
    return {
        "pointer": "".join(f"/{part}" for part in parts),
        "detail": fault["msg"].removeprefix("Value error, "),
    }


def idempotency_key() -> str | None:
    """Return the request's Idempotency-Key; raise Invalid when it is none that can be kept."""
    key = find_key()
    if key is None and "Idempotency-Key" in request.headers:
        detail = f"must be 1 to {KEY_LENGTH_MAX} printable ASCII characters"
        raise Invalid(errors=[{"header": "Idempotency-Key", "detail": detail}])
    return key


def find_key() -> str | None:
    """Return the request's Idempotency-Key; None also when it is none that can be kept."""
    key = request.headers.get("Idempotency-Key", "")
    fits = 1 <= len(key) <= KEY_LENGTH_MAX and key.isascii() and key.isprintable()
    return key if fits else None


# -- reading a path -----------------------------------------------------------------------------


# Neither refuses a value in `to_python`: werkzeug would then answer 405 where another method's rule has
# the same path, instead of 404.


class _DatabaseInteger(IntegerConverter):
    """A whole number; one that fits no column becomes 0, which no row has."""

    regex = "[0-9]+"

    def to_python(self, value: str) -> int:
        return int(value) if len(value) <= 10 and int(value) <= ID_MAX else 0


class _Printable(UnicodeConverter):
    """A word without control characters, which PostgreSQL would not even compare (NUL)."""

    def __init__(self, map: Map, *args: Any, **kwargs: Any) -> None:
        super().__init__(map, *args, **kwargs)
        self.regex = self.regex.replace("[^/]", r"[^/\x00-\x1f\x7f]")


def install(app: Flask) -> None:
    """Make every route's `<int:…>` and `<…>` safe to ask a database for."""
    app.url_map.converters |= {
        "int": _DatabaseInteger,
        "default": _Printable,
        "string": _Printable,
    }
