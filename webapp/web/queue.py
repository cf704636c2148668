"""What somebody who waits is told: the queue object of the contract.

Promises:

1. In the steady state an answer costs no query: the token says the number, a snapshot of the room says who
   is before it, and another one which numbers were given a moment ago. Before the sale opens, and while a
   beacon is awaited after it, nobody has a number, and nobody is asked for one. After that an entry whose number
   is not known, or whose number waits no more, costs one keyed read.
2. `ahead` is the lowest ever shown: the token carries it from process to process, also to who joins again.
3. Whoever hears that it is their turn has arrived; asking again now and then shows that they are there.
"""

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from webapp.domain import accounts
from webapp.domain.catalogue import ARRIVAL_SECONDS_MIN, Sale
from webapp.domain.errors import SaleClosed, SoldOut, TurnOver
from webapp.domain.outlook import STALLED_SECONDS, Room
from webapp.domain.waiting_room import Stay
from webapp.web import actions, bearers, challenges
from webapp.web.crowd import NOTED_WITHIN_SECONDS, Joined
from webapp.web.failures import Rejected
from webapp.web.house import House
from webapp.web.tokens import Claims

POLL_FIRST_MS = 1_000
POLL_UNNUMBERED_MS = 2_000
POLL_SHARE_OF_WAIT = 0.25  # of what somebody has waited for a number: nobody gives them now
POLL_ADMITTED_MS = 15_000
POLL_MAX_MS = 60_000
POLL_SPREAD = 0.2  # of a pause, this way or that
POLL_STANDING_MS = 30_000  # while nobody is admitted at all
POLL_PER_PERSON_AHEAD_MS = 10
# Of what is left of a wait: where it goes slowly, asking more often shows nothing new.
POLL_SHARE_OF_LEFT = 0.6
RENEW_BEFORE_SECONDS = 3_600
SEEN_EVERY_SECONDS = 20.0
SEEN_PER_IDLE_LIMIT = 4


def answer_stay(
    house: House,
    stay: Stay,
    session: str | None = None,
    shown: int | None = None,
    *,
    new: bool = False,
) -> dict[str, Any]:
    """Say where a stay stands, from its row, to the bearer of the session with this mark.

    `shown` is the `ahead` that was shown last, if that is known. Whoever is `new` does not wait for a look at
    the room, of which only the words are for them: a crowd of them is answered together.
    """
    if stay.admitted_at is not None:
        note_seen(house, stay)
        token, expires = house.tokens.issue_waiting(stay, None, session)
        return _object("admitted", stay.number, 0, (0, 0), POLL_ADMITTED_MS, token, expires) | {
            "access_token": house.tokens.issue_access(stay),
            "access_expires_at": stay.access_expires_at,
        }
    sale, now = house.sales.get(stay.performance_id), house.db.clock.now()
    if stay.number is None:
        token, expires = house.tokens.issue_waiting(stay, None, session)
        waited = now - max(stay.joined_at, sale.rules.sales_open_at)
        look_at = house.rooms.find_fresh if new else house.rooms.get
        words = _words(sale, now, look_at(stay.performance_id))
        pause_seconds = waited.total_seconds() * POLL_SHARE_OF_WAIT
        return _unnumbered(sale, now, token, expires, pause_seconds) | words
    room = house.rooms.get(stay.performance_id)
    ahead = _ahead(room, stay.number, shown)
    token, expires = house.tokens.issue_waiting(stay, ahead, session)
    return _waiting(sale, now, room, stay.number, ahead, token, expires)


def _ahead(room: Room, number: int, shown: int | None) -> int:
    """Return how many are ahead, never more than was shown before."""
    ahead = room.ahead(number)
    return ahead if shown is None else min(ahead, shown)


def shown_before(house: House, token: str | None, stay: Stay) -> int | None:
    """Return the `ahead` that a waiting token of this stay says was shown, also one that has expired.

    None if it does not say, or is another's or none: who joins needs no token, so a bad one is no fault.
    """
    try:
        claims = house.tokens.read("waiting", token, expired_too=True)
    except Rejected:
        return None
    return claims.ahead if claims.entry_id == stay.entry_id else None


def note_seen(house: House, stay: Stay) -> None:
    """Note that somebody inside came or is still there, no more often than it matters.

    Soon is enough, unless somebody would be taken for one who did not come, or has gone, if that failed twice. A
    process that is killed takes what is not noted along; whoever goes on shows it again.
    """
    idle = house.sales.get(stay.performance_id).idle_seconds
    now = house.db.clock.now()
    twice = 2 * (house.config.transaction_seconds + NOTED_WITHIN_SECONDS)
    if stay.admitted_at is None or not stay.inside(now):
        return
    if stay.seen_at is None:
        room = house.rooms.find_last(stay.performance_id)
        limit = room.arrival_seconds if room else ARRIVAL_SECONDS_MIN
        silent = (now - stay.admitted_at).total_seconds()
        house.stays.see(stay, 0.0, soon=silent < limit - twice)
        return
    every = min(SEEN_EVERY_SECONDS, (idle or 0) / SEEN_PER_IDLE_LIMIT)
    silent = (now - stay.seen_at).total_seconds()
    if idle is not None and silent > every:
        house.stays.see(stay, every, soon=silent < idle - twice)


@dataclass(frozen=True, slots=True)
class Joining:
    """A request to join: from where, the answer to a challenge, and perhaps a session to be known by.

    `token` is the waiting token that a client holds who has joined before; `met` hears whose it is.
    """

    performance_id: int
    address: str | None
    challenge_answer: str
    session: str | None = None
    token: str | None = None
    met: Callable[[uuid.UUID], None] = lambda _: None


def join(house: House, who: uuid.UUID | bytes, asked: Joining) -> tuple[dict[str, Any], bool]:
    """Let a customer join, or find the stay again; return where it stands, and whether it is new.

    `who` is an account, or the digest of a session to be looked up. Raises what `actions.join` raises,
    TooManyAttempts, and Rejected: 403 with a challenge to answer first, 401 for a session that is none.
    """

    def check(account_id: uuid.UUID) -> None:
        asked.met(account_id)
        house.throttle.count_joining(account_id, asked.address)
        challenges.refuse_unanswered(
            house.challenge, account_id, asked.performance_id, asked.challenge_answer
        )

    return _joined(house, asked, *actions.join(house, who, asked.performance_id, check))


def answer_joined(house: House, found: Joined, asked: Joining) -> tuple[dict[str, Any], bool]:
    """Do the rest of `join` for somebody who joined together with others."""
    return _joined(house, asked, *house.joins.settle(found))


def _joined(house: House, asked: Joining, stay: Stay, new: bool) -> tuple[dict[str, Any], bool]:
    shown = None if new else shown_before(house, asked.token, stay)
    session = asked.session and mark(asked.session)
    return answer_stay(house, stay, session, shown, new=new), new


def poll(house: House, claims: Claims, token: str, session: str | None) -> dict[str, Any]:
    """Answer a request with a waiting token and perhaps a session; raise what `answer_poll` raises.

    Rejects those who ask too soon (429), and sessions that are none (401) or somebody else's (403).
    """
    house.pacing.refuse_hasty(claims.entry_id)
    if session and mark(session) != claims.session:  # not the one that joined
        owner = bearers.judge(house.bearers.get(bearers.digest(session)))
        if owner.id != claims.account_id:
            raise Rejected(403, "token_wrong_customer", token="waiting")
    place = answer_poll(house, claims, token)
    house.pacing.told(claims.entry_id, place["poll_after_ms"])
    return place


def mark(session: str) -> str:
    """Return what a waiting token keeps of the session it was issued to: 16 hexadecimal digits."""
    return accounts.digest(session).hex()[:16]


def answer_poll(house: House, claims: Claims, token: str) -> dict[str, Any]:
    """Say where the bearer of a waiting token stands; raise TurnOver, SoldOut, SaleClosed."""
    sale = house.sales.get(claims.performance_id)
    opened = sale.rules.sales_open_at <= house.db.clock.now()
    if claims.number is None and opened:
        number = house.numbers.get(claims.performance_id).get(claims.entry_id)
        claims = replace(claims, number=number)
    place = look(house, claims, token, sale, house.rooms.get(claims.performance_id))
    if place is None:
        stay = _get_stay(house, claims)
        if stay.admitted_at is None:
            _refuse_over(house, claims.performance_id)
        return answer_stay(house, stay, claims.session, claims.ahead)
    if opened or claims.number is not None:
        _refuse_over(house, claims.performance_id)
    return place


def look(house: House, claims: Claims, token: str, sale: Sale, room: Room) -> dict[str, Any] | None:
    """Say where the bearer stands if token and snapshots tell; None when the stay's row must."""
    now, expires = house.db.clock.now(), claims.expires_at
    ends_soon = expires - now.timestamp() < RENEW_BEFORE_SECONDS
    if claims.number is None:
        numbering = now >= sale.rules.sales_open_at and not room.awaits_beacon
        if numbering or claims.entry_id in room.guests:
            return None
        if ends_soon:
            token, expires = house.tokens.renew_waiting(claims, None)
        answer = _unnumbered(sale, now, token, expires, POLL_STANDING_MS / 1000)
        return answer | _words(sale, now, room)
    if not room.is_waiting(claims.number):
        return None
    ahead = _ahead(room, claims.number, claims.ahead)
    if ends_soon or ahead != claims.ahead:
        token, expires = house.tokens.renew_waiting(claims, ahead)
    return _waiting(sale, now, room, claims.number, ahead, token, expires)


def _get_stay(house: House, claims: Claims) -> Stay:
    try:
        return house.stays.get(claims.entry_id)
    except TurnOver as over:
        sale = house.sales.get(claims.performance_id)
        status = sale.rules.status(
            house.db.clock.now(), sold_out=_sold_out(house, claims.performance_id)
        )
        may_rejoin = status in ("prequeue", "open", "paused")
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


def _unnumbered(
    sale: Sale, now: datetime, token: str, expires: float, pause_seconds: float
) -> dict[str, Any]:
    """Answer somebody without a number. Before the opening they come back when it is over, spread; after it
    in `pause_seconds`, which are neither few nor many.
    """
    left_ms = (sale.rules.sales_open_at - now).total_seconds() * 1000
    if left_ms > 0:
        wait = min(POLL_MAX_MS, left_ms + POLL_UNNUMBERED_MS)
    else:
        wait = min(POLL_STANDING_MS, max(POLL_UNNUMBERED_MS, pause_seconds * 1000))
    return _object("waiting", None, None, None, _jitter(wait), token, expires)


def _waiting(
    sale: Sale, now: datetime, room: Room, number: int, ahead: int, token: str, expires: float
) -> dict[str, Any]:
    goes_on = sale.rules.paused_at is None and sale.rules.sales_open_at <= now
    estimate = room.estimate(ahead) if goes_on else None
    open_for = (now - sale.rules.sales_open_at).total_seconds()
    stands = room.stands and open_for > STALLED_SECONDS
    rate = sale.rules.rate_per_minute
    wait = _jitter(pause_ms(ahead, estimate, rate, stands=stands))
    answer = _object("waiting", number, ahead, estimate, wait, token, expires)
    return answer | _words(sale, now, room)


def _words(sale: Sale, now: datetime, room: Room | None) -> dict[str, str | None]:
    """Return what those who wait are told besides the figures; nothing of a room that is not known."""
    if room is None:
        return {}
    return {"message": room.message or None, "notice": _notice(sale, now, room)}


def _notice(sale: Sale, now: datetime, room: Room) -> str | None:
    """Say why people are let in slowly or not at all, the foremost reason; None while there is none."""
    if now < sale.rules.sales_open_at:  # nobody expects to be
        return None
    if room.awaits_beacon:
        return "beacon"
    if sale.rules.paused_at is not None:
        return "paused"
    if room.pace_percent < 100:
        return "slowed" if room.pace_percent > 0 else "stopped"
    return None


def pause_ms(
    ahead: int, estimate: tuple[int, int] | None, rate_per_minute: int, *, stands: bool
) -> float:
    """Return when to ask next with so many ahead, in milliseconds: seldom far behind and where it goes slowly, by
    the rate and by the estimate, and where it goes fast no later than one's turn may come. `stands`: nobody is
    admitted at all.
    """
    by_rate = 60_000 / max(1, rate_per_minute) * POLL_SHARE_OF_LEFT
    wait = POLL_FIRST_MS + ahead * max(POLL_PER_PERSON_AHEAD_MS, by_rate)
    if stands:
        wait = max(wait, POLL_STANDING_MS)
    if estimate is not None:
        soonest = estimate[0] * 1000
        wait = min(max(wait, soonest * POLL_SHARE_OF_LEFT), max(POLL_FIRST_MS, soonest))
    return min(wait, POLL_MAX_MS)


def _jitter(milliseconds: float) -> int:
    return round(milliseconds * random.uniform(1 - POLL_SPREAD, 1 + POLL_SPREAD))


def _object(
    status: str,
    number: int | None,
    ahead: int | None,
    estimate: tuple[int, int] | None,
    poll_after_ms: int,
    token: str,
    expires: float,
) -> dict[str, Any]:
    return {
        "status": status,
        "number": number,
        "ahead": ahead,
        "estimated_wait_seconds": None if estimate is None else sum(estimate) // 2,
        "estimated_wait_range_seconds": None if estimate is None else list(estimate),
        "message": None,
        "notice": None,
        "poll_after_ms": poll_after_ms,
        "waiting_token": token,
        "expires_at": datetime.fromtimestamp(expires, UTC),
    }
