"""The JSON API: one table, of which the routes and the OpenAPI document are made.

Promises:

1. The order of a request is session, replay, access token, work (`replies.once` says why).
2. A view parses, calls one action and shapes its answer. It decides nothing and catches nothing.
"""

from functools import cache
from typing import Any

from flask import Blueprint, Response, render_template

from webapp.web import challenges, inputs, seat_shapes, shapes
from webapp.web.api import accounts, catalogue, replies, sale, waiting
from webapp.web.contract import BASE, STATUSES, Operation, refusals, status_of, title_of
from webapp.web.guards import HEADERS, customer, door, public
from webapp.web.openapi import document

P = "/performances/<int:performance_id>"
B = "/bookings/<reference>"
_HOLD_OVER = ("hold_expired", "hold_replaced", "already_booked")
_TICKET = B + "/tickets/<code>"

OPERATIONS = (
    Operation(
        "post",
        "/accounts",
        accounts.create_account,
        public,
        {201: shapes.Account},
        ("email_taken", "too_many_attempts"),
        body=inputs.SignUp,
        key="refused",
    ),
    Operation(
        "post",
        "/sessions",
        accounts.create_session,
        public,
        {201: shapes.Session},
        ("bad_credentials", "too_many_attempts"),
        body=inputs.SignIn,
        key="refused",
    ),
    Operation(
        "delete", "/sessions/current", accounts.end_session, customer, {204: None}, key="refused"
    ),
    Operation(
        "get",
        "/events",
        catalogue.list_events,
        public,
        {200: shapes.Listed[shapes.Event]},
        query=inputs.PageById,
    ),
    Operation(
        "get",
        "/events/<slug>",
        catalogue.get_event,
        public,
        {200: shapes.Event},
        ("not_found",),
    ),
    Operation(
        "get",
        P,
        catalogue.get_performance,
        public,
        {200: shapes.Performance},
        ("not_found",),
    ),
    Operation(
        "get",
        P + "/seatmap",
        catalogue.get_seatmap,
        public,
        {200: seat_shapes.Seatmap, 304: None},
        ("not_found",),
        query=inputs.SeatmapVersion,
        headers=("ETag", "Cache-Control"),
    ),
    Operation(
        "get",
        P + "/availability",
        catalogue.get_availability,
        public,
        {200: seat_shapes.Availability, 304: None},
        ("not_found",),
        query=inputs.Since,
        headers=("ETag", "Cache-Control"),
    ),
    Operation(
        "get",
        P + "/seats",
        catalogue.list_seats,
        public,
        {200: shapes.Listed[seat_shapes.ListedSeat]},
        ("not_found",),
        query=inputs.SeatFilter,
    ),
    Operation(
        "get",
        P + "/lottery",
        waiting.get_lottery,
        public,
        {200: shapes.Lottery},
        ("not_found",),
    ),
    Operation(
        "post",
        P + "/queue",
        waiting.join_queue,
        customer,
        {201: shapes.Queue, 200: shapes.Queue},
        (
            "not_found",
            "sale_not_open",
            "sale_closed",
            "sold_out",
            "too_many_attempts",
            "challenge_required",
        ),
        first=waiting.refuse_joining,
        key="checked",
        may_send=(HEADERS["waiting"], challenges.HEADER),
    ),
    Operation(
        "get",
        P + "/queue",
        waiting.poll_queue,
        public,
        {200: shapes.Queue},
        (
            "session_invalid",
            "session_expired",
            "token_wrong_performance",
            "turn_over",
            "sold_out",
            "sale_closed",
            "poll_too_soon",
        ),
        token="waiting",
    ),
    Operation(
        "delete",
        P + "/queue",
        waiting.leave_queue,
        customer,
        {204: None},
        ("not_found",),
        key="kept",
    ),
    Operation(
        "post",
        P + "/holds",
        sale.place_hold,
        customer,
        {201: shapes.PlacedHold},
        (
            "not_found",
            "token_wrong_performance",
            "not_admitted",
            "sale_paused",
            "sale_closed",
            "seat_unknown",
            "seats_taken",
            "too_many_seats",
            "leaves_single_seat",
            "not_enough_seats",
        ),
        body=inputs.HoldWish,
        token="access",
        first=sale.refuse_early,
        key="kept",
    ),
    Operation(
        "get",
        "/holds/<uuid:hold_id>",
        sale.get_hold,
        customer,
        {200: shapes.Hold},
        ("not_found", *_HOLD_OVER),
    ),
    Operation(
        "delete",
        "/holds/<uuid:hold_id>",
        sale.release_hold,
        customer,
        {204: None},
        ("not_found", *_HOLD_OVER),
        key="kept",
    ),
    Operation("get", "/wallet", accounts.get_wallet, customer, {200: shapes.Wallet}),
    Operation(
        "get",
        "/wallet/entries",
        accounts.list_wallet_entries,
        customer,
        {200: shapes.Listed[shapes.LedgerEntry]},
        query=inputs.PageByUuid,
    ),
    Operation(
        "post",
        "/wallet/top-ups",
        accounts.top_up,
        customer,
        {201: shapes.TopUp},
        ("top_up_closed",),
        body=inputs.TopUp,
        key="required",
    ),
    Operation(
        "post",
        "/bookings",
        sale.pay,
        customer,
        {201: shapes.Booking},
        ("not_admitted", "insufficient_funds", "not_found", *_HOLD_OVER),
        body=inputs.Payment,
        token="access",
        token_may_be_over=True,
        key="required",
    ),
    Operation(
        "get",
        "/bookings",
        sale.list_bookings,
        customer,
        {200: shapes.Listed[shapes.Booking]},
        query=inputs.PageByUuid,
    ),
    Operation("get", B, sale.get_booking, customer, {200: shapes.Booking}, ("not_found",)),
    Operation(
        "post",
        B + "/cancellation",
        sale.cancel,
        customer,
        {201: shapes.Cancellation},
        ("not_found", "already_cancelled", "too_late", "already_scanned"),
        key="required",
    ),
    Operation(
        "get",
        _TICKET + ".svg",
        sale.get_ticket_svg,
        customer,
        {200: "image/svg+xml"},
        ("not_found",),
    ),
    Operation(
        "get",
        _TICKET + ".pdf",
        sale.get_ticket_pdf,
        customer,
        {200: "application/pdf"},
        ("not_found",),
    ),
    Operation(
        "post",
        "/scans",
        sale.scan,
        door,
        {201: shapes.Scan},
        ("not_found", "ticket_unknown", "already_scanned", "ticket_voided", "wrong_performance"),
        body=inputs.ScannedCode,
        key="kept",
    ),
)

blueprint = Blueprint("api", __name__, url_prefix=BASE)


def _install(operation: Operation) -> None:
    view = operation.view
    if operation.keeps:
        view = replies.once(view, required=operation.key == "required")
    elif operation.key == "checked":
        view = replies.with_key_checked(view)
    view = operation.guard(view)
    if operation.first is not None:
        view = replies.refusing_first(operation.first, view)
    if operation.key == "refused":
        view = replies.without_key(view)
    blueprint.add_url_rule(operation.rule, view_func=view, methods=[operation.method.upper()])


for _each in OPERATIONS:
    _install(_each)


@cache
def described() -> dict[str, Any]:
    """Return the OpenAPI document."""
    return document(OPERATIONS)


@blueprint.get("/openapi.json")
@public
def openapi() -> Response:
    """Show the contract to machines."""
    return replies.reply(described(), headers={"Cache-Control": "no-cache"})


@blueprint.get("/docs")
@public
def docs() -> str:
    """Show the contract to people."""
    codes = sorted({*STATUSES, *(leaf.code for leaf in refusals())})
    problems = [(code, status_of(code), title_of(code)) for code in codes]
    return render_template("api/docs.html", document=described(), problems=problems)
