"""What anybody may see: events, performances, the hall and its seats."""

from functools import partial

from flask import Response, request

from webapp.domain import catalogue
from webapp.web import inputs, lookups
from webapp.web.api.replies import paged
from webapp.web.house import house
from webapp.web.lookups import Answer


def list_events() -> Response:
    """List the events, oldest first."""
    page = inputs.query(inputs.PageById)
    found = house().db.read(catalogue.list_events, page.cursor or 0, page.limit + 1)
    return paged(
        found, page.limit, lambda listing: listing.id, partial(lookups.show_event, house())
    )


def get_event(slug: str) -> Response:
    """Show an event with its performances."""
    return _reply(lookups.get_event(house(), slug))


def get_performance(performance_id: int) -> Response:
    """Show a performance and the rules of its sale."""
    return _reply(lookups.get_performance(house(), performance_id, None, request.environ))


def get_seatmap(performance_id: int) -> Response:
    """Show the hall. Under its own version (`v`) it may be kept for long."""
    asked = inputs.query(inputs.SeatmapVersion).v
    return _reply(lookups.get_seatmap(house(), performance_id, asked, request.environ))


def get_availability(performance_id: int) -> Response:
    """Show every seat's state, at most a second old, or what changed since a known version."""
    since = inputs.query(inputs.Since).since
    return _reply(lookups.get_availability(house(), performance_id, since, request.environ))


def _reply(answer: Answer) -> Response:
    return Response(answer.body, answer.status, answer.headers, mimetype="application/json")


def list_seats(performance_id: int) -> Response:
    """List seats with price and state, in the order of the hall."""
    wanted = inputs.query(inputs.SeatFilter)
    return _reply(lookups.list_seats(house(), performance_id, wanted))
