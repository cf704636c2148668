"""What somebody who waits is told: the queue object of the contract.

In the steady state an answer costs no query: the token says the number, a snapshot of the room says who
is before it. An entry without a number, or past the front, costs one keyed read.
"""

import random
from datetime import UTC, datetime
from typing import Any

from webapp.domain import waiting_room
from webapp.domain.errors import SaleClosed, SoldOut, TurnOver
from webapp.domain.waiting_room import Room, Stay
from webapp.web.house import House
from webapp.web.tokens import Claims

POLL_FIRST_MS = 1_000
POLL_ADMITTED_MS = 15_000
POLL_MAX_MS = 30_000
POLL_PER_PERSON_AHEAD_MS = 10
RENEW_BEFORE_SECONDS = 3_600


def answer_stay(house: House, stay: Stay) -> dict[str, Any]:
    """Say where a stay stands, from its row."""
    if stay.admitted_at is not None:
        token, expires = house.tokens.issue_waiting(stay, None)
        return _object("admitted", stay.number, 0, 0, POLL_ADMITTED_MS, token, expires) | {
            "access_token": house.tokens.issue_access(stay),
            "access_expires_at": stay.access_expires_at,
        }
    if stay.number is None:
        token, expires = house.tokens.issue_waiting(stay, None)
        return _object("waiting", None, None, None, _jitter(POLL_FIRST_MS), token, expires)
    room = house.rooms.get(stay.performance_id)
    ahead = room.ahead(stay.number)
    token, expires = house.tokens.issue_waiting(stay, ahead)
    return _waiting(stay.number, ahead, room, token, expires)


def answer_poll(house: House, claims: Claims, token: str) -> dict[str, Any]:
    """Say where the bearer of a waiting token stands; raise TurnOver, SoldOut, SaleClosed."""
    room = house.rooms.get(claims.performance_id)
    if claims.number is None or not room.is_waiting(claims.number):
        stay = _get_stay(house, claims)
        if stay.admitted_at is not None:
            return answer_stay(house, stay)
        _refuse_over(house, claims.performance_id)
        return answer_stay(house, stay)
    _refuse_over(house, claims.performance_id)
    ahead = room.ahead(claims.number)
    expires = claims.expires_at
    if claims.ahead is not None and claims.ahead <= ahead:
        ahead = claims.ahead
        renew = expires - house.db.clock.now().timestamp() < RENEW_BEFORE_SECONDS
    else:
        renew = True
    if renew:
        token, expires = house.tokens.renew_waiting(claims, ahead)
    return _waiting(claims.number, ahead, room, token, expires)


def _get_stay(house: House, claims: Claims) -> Stay:
    try:
        return house.db.read(waiting_room.get_stay, claims.entry_id)
    except TurnOver as over:
        sale = house.sales.get(claims.performance_id)
        status = sale.rules.status(
            house.db.clock.now(), sold_out=_sold_out(house, claims.performance_id)
        )
        may_rejoin = status in ("prequeue", "open", "paused") and over.facts["reason"] != "revoked"
        raise TurnOver(reason=over.facts["reason"], may_rejoin=may_rejoin) from over


def _refuse_over(house: House, performance_id: int) -> None:
    """Tell those who still wait that waiting has no sense any more."""
    sale = house.sales.get(performance_id)
    if house.db.clock.now() >= sale.rules.sales_close_at:
        raise SaleClosed()
    if _sold_out(house, performance_id):
        raise SoldOut()


def _sold_out(house: House, performance_id: int) -> bool:
    return house.availability.get(performance_id).sold_out


def _waiting(number: int, ahead: int, room: Room, token: str, expires: float) -> dict[str, Any]:
    wait = POLL_FIRST_MS + ahead * POLL_PER_PERSON_AHEAD_MS
    return _object(
        "waiting",
        number,
        ahead,
        _estimate(ahead, room),
        _jitter(min(wait, POLL_MAX_MS)),
        token,
        expires,
    )


def _estimate(ahead: int, room: Room) -> int | None:
    """Seconds to wait at the pace of the last minute; None while nobody was admitted."""
    if room.admitted_last_minute == 0:
        return None
    return round((ahead + 1) * waiting_room.RATE_WINDOW_SECONDS / room.admitted_last_minute)


def _jitter(milliseconds: int) -> int:
    return round(milliseconds * random.uniform(0.8, 1.2))


def _object(
    status: str,
    number: int | None,
    ahead: int | None,
    estimate: int | None,
    poll_after_ms: int,
    token: str,
    expires: float,
) -> dict[str, Any]:
    return {
        "status": status,
        "number": number,
        "ahead": ahead,
        "estimated_wait_seconds": estimate,
        "poll_after_ms": poll_after_ms,
        "waiting_token": token,
        "expires_at": datetime.fromtimestamp(expires, UTC),
    }
