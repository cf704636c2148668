"""What the contract's JSON objects look like: plain dictionaries, made from domain values."""

import json
from collections.abc import Iterable
from typing import Any

from webapp.domain.bookings import Booked
from webapp.domain.catalogue import Listing, Price, Rules, Sale
from webapp.domain.holds import Held
from webapp.domain.seatmap import Place, Seatmap
from webapp.domain.wallet import Movement
from webapp.web.failures import plain


def jsonable(body: dict[str, Any]) -> dict[str, Any]:
    """Return `body` as JSON would give it back: what is stored is what is answered."""
    result: dict[str, Any] = json.loads(json.dumps(body, default=plain))
    return result


def event(listing: Listing, performances: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """An event with its performances."""
    return {
        "id": listing.id,
        "slug": listing.slug,
        "title": listing.title,
        "description": listing.description,
        "venue": {"name": listing.venue, "address": listing.address},
        "performances": list(performances),
    }


def performance(sale: Sale, status: str) -> dict[str, Any]:
    """A performance, its sale's schedule and its prices."""
    rules = sale.rules
    return {
        "id": rules.id,
        "event": {"slug": sale.event_slug, "title": sale.event_title},
        "venue": sale.venue,
        "starts_at": rules.starts_at,
        "sales_open_at": rules.sales_open_at,
        "sales_close_at": rules.sales_close_at,
        "sale_status": status,
        "waiting_room": rules.capacity is not None,
        "seats_max": rules.seats_max,
        "hold_seconds": rules.hold_seconds,
        "single_seat_rule": rules.single_seat_rule,
        "seatmap_version": sale.seatmap_version,
        "price_levels": [price_level(price, rules) for price in sale.prices.values()],
    }


def price_level(price: Price, rules: Rules) -> dict[str, Any]:
    """A price level."""
    return {
        "code": price.code,
        "name": price.name,
        "price_minor": price.price_minor,
        "currency": rules.currency,
    }


def seat(place: Place) -> dict[str, Any]:
    """Where a seat is, without what it costs or who has it."""
    return {
        "seat": place.label,
        "section": place.section,
        "row": place.row,
        "number": place.number,
    }


def hold(held: Held, hall: Seatmap) -> dict[str, Any]:
    """A hold with the prices it will be charged."""
    return {
        "id": held.id,
        "performance_id": held.performance_id,
        "seats": [
            seat(hall.places[seat_no])
            | {"price_level": hall.places[seat_no].price_level, "price_minor": price_minor}
            for seat_no, price_minor in held.seats
        ],
        "total_minor": held.total_minor,
        "currency": held.currency,
        "placed_at": held.placed_at,
        "expires_at": held.expires_at,
    }


def booking(booked: Booked, hall: Seatmap) -> dict[str, Any]:
    """A booking with its tickets."""
    return jsonable(
        {
            "reference": booked.reference,
            "performance_id": booked.performance_id,
            "total_minor": booked.total_minor,
            "currency": booked.currency,
            "paid_at": booked.paid_at,
            "cancelled_at": booked.cancelled_at,
            "tickets": [
                {"code": ticket.code}
                | seat(hall.places[ticket.seat_no])
                | {
                    "price_minor": ticket.price_minor,
                    "scanned_at": ticket.scanned_at,
                    "voided_at": ticket.voided_at,
                }
                for ticket in booked.tickets
            ],
        }
    )


def movement(entry: Movement) -> dict[str, Any]:
    """One ledger entry."""
    return {
        "id": entry.id,
        "kind": entry.kind,
        "amount_minor": entry.amount_minor,
        "at": entry.at,
    }
