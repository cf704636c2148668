"""What everybody looks at: a sale, its hall, and who has which seat. Answered from what the process knows.

The views and the fast lane before Flask answer with this. Promises:

1. Availability is never older than `STALE_MAX_SECONDS`, and is written and packed once for all who ask for the same,
   as are lists of seats; each map is told another moment to come back, so that they do not come all at once.
2. A hall under its own version may be kept for long; without it a client asks by ETag whether it has the newest.
"""

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from werkzeug.datastructures import Accept
from werkzeug.http import parse_accept_header, parse_etags

from webapp import nowait
from webapp.domain.catalogue import Listing, Sale
from webapp.web import inputs, shapes
from webapp.web.house import Availability, House, SeatList
from webapp.web.inputs import SeatFilter
from webapp.web.snapshots import Snapshots
from webapp.web.standing import status_of

Given = Mapping[str, Any]  # a request as WSGI gives it

YEAR_SECONDS = 365 * 24 * 3600
# How soon a map should look again: while seats change hands, and while none can.
POLL_ON_SALE_MS, POLL_OTHERWISE_MS = 1_500, 15_000
ENCODINGS_KEPT = 64
# Larger ones are a thread's: sent from where all connections wait each would be copied, and kept for who reads slowly.
AT_ONCE_MAX_BYTES = 256 * 1024
_FRESH = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer but for what all carry."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""


def get_availability(house: House, performance_id: int, since: str | None, given: Given) -> Answer:
    """Answer with every seat's state, or what changed `since` a version; raise NotFound."""
    sale = house.sales.get(performance_id)
    return _availability(house, sale, house.availability.get(performance_id), since, given)


def get_seatmap(house: House, performance_id: int, version: str | None, given: Given) -> Answer:
    """Answer with the hall, which may be kept if it was asked for by its version; raise NotFound."""
    sale = house.sales.get(performance_id)
    drawings = _drawings(house, given)
    return _seatmap(sale, lambda: drawings.get(sale.rules.seatmap_id), version, given)


def get_performance(house: House, performance_id: int, _query: str | None, _given: Given) -> Answer:
    """Answer with a performance and the rules of its sale; raise NotFound."""
    sale = house.sales.get(performance_id)
    body = shapes.dumps(shapes.performance(sale, status_of(house, sale)))
    return Answer(200, [*_FRESH], body.encode())


def get_event(house: House, slug: str) -> Answer:
    """Answer with an event and its performances; raise NotFound."""
    body = shapes.dumps(show_event(house, house.events.get(slug)))
    return Answer(200, [*_FRESH], body.encode())


def show_event(house: House, listing: Listing) -> shapes.Event:
    """Return an event as the API shows it."""
    sales = [house.sales.get(performance_id) for performance_id in listing.performance_ids]
    return shapes.event(listing, [shapes.showing(sale, status_of(house, sale)) for sale in sales])


def list_seats(house: House, performance_id: int, wanted: SeatFilter) -> Answer:
    """Answer with seats, their prices and who has them, in the order of the hall; raise NotFound."""
    sale = house.sales.get(performance_id)
    prices = tuple((level, price.price_minor) for level, price in sale.prices.items())
    chosen = SeatList(sale.rules.seatmap_id, prices, **wanted.model_dump())
    return Answer(200, [*_FRESH], house.availability.get(performance_id).lists.get(chosen))


def _list_seats(house: House, performance_id: int, query: str | None, _given: Given) -> Answer:
    pairs = [pair.split("=") for pair in (query or "").split("&") if pair]
    first = dict(reversed(pairs))  # as Flask reads what is given twice
    return list_seats(house, performance_id, inputs.read_query(SeatFilter, first))


LOOKS: dict[str, Callable[[House, int, str | None, Given], Answer]] = {
    "": get_performance,
    "seats": _list_seats,
    "availability": get_availability,
    "seatmap": get_seatmap,
}
# The questions that are asked again and again; group 1 is the last argument but one of the look.
QUERIES = {
    "": re.compile(r"()\Z"),
    "seats": re.compile(r"((?:[a-z_]+=[0-9A-Za-z]{1,64}(?:&(?=[a-z])|\Z))*)\Z"),
    "availability": re.compile(r"(?:since=([0-9A-Za-z]{1,64}))?\Z"),
    "seatmap": re.compile(r"(?:v=([0-9A-Za-z]{1,64}))?\Z"),
}


def _availability(
    house: House, sale: Sale, seen: Availability, since: str | None, given: Given
) -> Answer:
    # Weak: two answers of one version have the same states and another `as_of`.
    headers = [
        ("ETag", f'W/"{seen.version}"'),
        ("Cache-Control", "no-cache"),
        ("Vary", "Accept-Encoding"),
    ]
    if _has(given, seen.version):
        return Answer(304, headers)
    if since is not None and house.states_at(sale.rules.id, since) is None:
        since = None  # nobody remembers it
    packed = _reads_gzip(given.get("HTTP_ACCEPT_ENCODING"))
    usual = POLL_ON_SALE_MS if status_of(house, sale) in ("open", "paused") else POLL_OTHERWISE_MS
    pause = round(usual * random.uniform(0.8, 1.2))
    body = seen.bodies.get((sale.seatmap_version, since))
    return _with_body(headers, body.finish("poll_after_ms", pause, packed=packed), packed)


def _seatmap(
    sale: Sale, draw: Callable[[], bytes], asked_version: str | None, given: Given
) -> Answer:
    version = sale.seatmap_version
    packed = _reads_gzip(given.get("HTTP_ACCEPT_ENCODING"))
    tag = f"{version}-gzip" if packed else version
    keep = f"public, max-age={YEAR_SECONDS}, immutable" if asked_version == version else "no-cache"
    headers = [("ETag", f'"{tag}"'), ("Cache-Control", keep), ("Vary", "Accept-Encoding")]
    if _has(given, tag):
        return Answer(304, headers)
    return _with_body(headers, draw(), packed)


def _with_body(headers: list[tuple[str, str]], body: bytes, packed: bool) -> Answer:
    if len(body) > AT_ONCE_MAX_BYTES:
        nowait.check()
    headers.append(("Content-Type", "application/json"))
    if packed:
        headers.append(("Content-Encoding", "gzip"))
    return Answer(200, headers, body)


def _drawings(house: House, given: Given) -> Snapshots[int, bytes]:
    # A large hall is 12 MB, and a tenth of that packed: once a version, for nothing in it is secret.
    packed = _reads_gzip(given.get("HTTP_ACCEPT_ENCODING"))
    return house.packed_drawings if packed else house.drawings


def _has(given: Given, tag: str) -> bool:
    """Whether the client says that it has the version of this tag."""
    known = given.get("HTTP_IF_NONE_MATCH")
    return known is not None and parse_etags(known).contains_weak(tag)


@lru_cache(maxsize=ENCODINGS_KEPT)
def _reads_gzip(accepted: str | None) -> bool:
    """Whether a client that accepts these encodings reads gzip. There are as many as browsers."""
    return bool(parse_accept_header(accepted, Accept).quality("gzip") > 0)
