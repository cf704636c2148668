"""What anybody may see: events, performances, the hall and its seats."""

import random

from flask import Response, request

from webapp.domain import catalogue
from webapp.domain.catalogue import Listing
from webapp.web import inputs, seat_shapes, shapes
from webapp.web.api.replies import paged, reply
from webapp.web.house import house
from webapp.web.standing import status_of

YEAR_SECONDS = 365 * 24 * 3600
# How soon a map should look again: while seats change hands, and while none can.
POLL_ON_SALE_MS, POLL_OTHERWISE_MS = 1_500, 15_000


def list_events() -> Response:
    """List the events, oldest first."""
    page = inputs.query(inputs.PageById)
    found = house().db.read(catalogue.list_events, page.cursor or 0, page.limit + 1)
    return paged(found, page.limit, lambda listing: listing.id, _event)


def get_event(slug: str) -> Response:
    """Show an event with its performances."""
    return reply(_event(house().db.read(catalogue.get_event, slug)))


def _event(listing: Listing) -> shapes.Event:
    sales = [house().sales.get(performance_id) for performance_id in listing.performance_ids]
    return shapes.event(listing, [shapes.showing(sale, status_of(house(), sale)) for sale in sales])


def get_performance(performance_id: int) -> Response:
    """Show a performance and the rules of its sale."""
    sale = house().sales.get(performance_id)
    return reply(shapes.performance(sale, status_of(house(), sale)))


def get_seatmap(performance_id: int) -> Response:
    """Show the hall. Under its own version (`v`) it may be kept for long."""
    asked = inputs.query(inputs.SeatmapVersion).v
    sale = house().sales.get(performance_id)
    version = sale.seatmap_version
    # A large hall is 12 MB, and a tenth of that packed: once a version, for nothing in it is secret.
    packed = request.accept_encodings.quality("gzip") > 0
    tag = f"{version}-gzip" if packed else version
    if request.if_none_match.contains_weak(tag):
        response = Response(status=304)
    else:
        drawings = house().packed_drawings if packed else house().drawings
        response = Response(drawings.get(sale.rules.seatmap_id), mimetype="application/json")
        if packed:
            response.headers["Content-Encoding"] = "gzip"
    response.set_etag(tag)
    response.vary.add("Accept-Encoding")
    caching = f"public, max-age={YEAR_SECONDS}, immutable" if asked == version else "no-cache"
    response.headers["Cache-Control"] = caching
    return response


def get_availability(performance_id: int) -> Response:
    """Show every seat's state, at most a second old, or what changed since a known version."""
    since = inputs.query(inputs.Since).since
    sale = house().sales.get(performance_id)
    seen = house().availability.get(performance_id)
    if request.if_none_match.contains_weak(seen.version):
        response = Response(status=304)
    else:
        before = house().states_at(performance_id, since) if since else None
        body = seat_shapes.availability(
            sale.seatmap_version,
            seen.version,
            seen.as_of,
            _poll_after(status_of(house(), sale)),
            seen.states,
            before,
        )
        response = reply(body)
    # Weak: two answers of one version have the same states and another `as_of`.
    response.set_etag(seen.version, weak=True)
    response.headers["Cache-Control"] = "no-cache"
    return response


def _poll_after(status: str) -> int:
    """Spread the maps' next looks, so that they do not come all at once."""
    usual = POLL_ON_SALE_MS if status in ("open", "paused") else POLL_OTHERWISE_MS
    return round(usual * random.uniform(0.8, 1.2))


def list_seats(performance_id: int) -> Response:
    """List seats with price and state, in the order of the hall."""
    wanted = inputs.query(inputs.SeatFilter)
    sale = house().sales.get(performance_id)
    hall = house().seatmap_of(sale)
    states = house().availability.get(performance_id).states
    found: list[seat_shapes.ListedSeat] = []
    for place in hall.places[wanted.cursor or 0 :]:
        status = seat_shapes.STATES[states[place.seat_no]]
        if (
            wanted.status in (None, status)
            and wanted.section in (None, place.section)
            and wanted.price_level in (None, place.price_level)
        ):
            price_minor = sale.prices[place.price_level].price_minor
            found.append({**seat_shapes.priced_seat(place, price_minor), "status": status})
            if len(found) > wanted.limit:
                break
    after = lambda seat: hall.by_label[seat["seat"]].seat_no + 1  # noqa: E731
    return paged(found, wanted.limit, after, lambda seat: seat)
