"""A performance's page and its waiting room, for browsers.

Promises:

1. The performance's page leads everybody to their own next step, signed in or not.
2. The waiting page needs no script: it comes back by itself when the server said to. The waiting
   token is in a cookie that no script and no other path sees, never in a page or an address.
3. `ahead` never grows, whichever process answers: the token remembers the lowest.
4. Whoever waits and loads the page again and again with its cookie costs no query either, and comes back by
   themselves (429).
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Blueprint, Response, current_app, flash, g, request, url_for

from webapp.domain.errors import TurnOver
from webapp.web import actions, guards, phrases, place_part, queue, shapes
from webapp.web.failures import Rejected
from webapp.web.forms import page, see_other
from webapp.web.guards import customer, person, public
from webapp.web.house import house
from webapp.web.languages import gettext
from webapp.web.place_part import WAITING_COOKIE
from webapp.web.queue import Joining
from webapp.web.standing import find_standing
from webapp.web.tokens import Claims

blueprint = Blueprint("sale", __name__)

LOOKING = "X-Looking"  # somebody who is inside tells that they are there


@blueprint.get("/performances/<int:performance_id>")
@public
def performance(performance_id: int) -> Response:
    """Show a performance and the customer's next step."""
    g.person = guards.find_person()
    standing = find_standing(house(), performance_id, g.person.id if g.person else None)
    shown = shapes.performance(standing.sale, standing.status)
    challenge, asked = house().challenge, None
    if challenge is not None and g.person is not None:
        asked = challenge.issue(g.person.id, performance_id)
    return page("catalogue/performance.html", performance=shown, standing=standing, asked=asked)


@blueprint.post("/performances/<int:performance_id>/queue")
@customer
def join(performance_id: int) -> Response:
    """Join the waiting room, or find one's place in it again."""
    answer, session = request.form.get("challenge_answer", ""), guards.session_token()
    token = request.cookies.get(WAITING_COOKIE)
    asked = Joining(performance_id, request.remote_addr, answer, session, token)
    try:
        place, _ = queue.join(house(), person().id, asked)
    except Rejected as refusal:
        if refusal.code != "challenge_required" or not asked.challenge_answer:
            raise
        flash(
            gettext("The page had been open for too long. Please press the button again."), "note"
        )
        return see_other(url_for("sale.performance", performance_id=performance_id))
    response = see_other(url_for("sale.waiting", performance_id=performance_id))
    return _remember(response, performance_id, place)


def _paced(view: Callable[[int], Response]) -> Callable[[int], Response]:
    """Turn away who reloads too often, by the token of their cookie, before their session is looked up."""

    @wraps(view)
    def paced(performance_id: int) -> Response:
        claims = _find_claims(performance_id)
        if claims is not None:
            house().pacing.refuse_reloading(claims.entry_id)
        return view(performance_id)

    return paced


@blueprint.get("/performances/<int:performance_id>/queue")
@_paced
@customer
def waiting(performance_id: int) -> Response:
    """Show where the customer stands; go on to the seats as soon as they are let in."""
    place = _find_place(performance_id)
    told = LOOKING in request.headers  # by no notice: nobody would read it
    if place is None:
        if not told:
            flash(gettext("You are not in this waiting room (any more)."), "note")
        return see_other(url_for("sale.performance", performance_id=performance_id))
    if place["status"] == "admitted":
        if not told and place_part.is_turn(place, house().db.clock.now()):
            until = phrases.time_of_day(place["access_expires_at"])
            flash(gettext(phrases.YOUR_TURN).format(time=until), "done")
        response = see_other(url_for("seats.choose", performance_id=performance_id))
        return _remember(response, performance_id, place)
    entry_id = house().tokens.read("waiting", place["waiting_token"]).entry_id
    house().pacing.told(entry_id, place["poll_after_ms"])
    room = house().rooms.get(performance_id)
    sale, now = house().sales.get(performance_id), house().db.clock.now()
    shown = place_part.shown_values(sale, place, now)
    response = page("sale/waiting.html", **shown, entry_id=entry_id, room=room)
    return _remember(response, performance_id, place)


@blueprint.get("/performances/<int:performance_id>/queue/place")
@public
def place(performance_id: int) -> Response:
    """Show the part of the waiting page that changes."""
    answer = place_part.answer(house(), current_app.jinja_env, performance_id, request.environ)
    return Response(answer.body, answer.status, answer.headers)


@blueprint.post("/performances/<int:performance_id>/queue/leave")
@customer
def leave(performance_id: int) -> Response:
    """Give up one's place, and the seats one holds."""
    actions.leave(house(), person().id, performance_id)
    flash(gettext("You have left. Your place and any seats you held are free for others."), "done")
    response = see_other(url_for("sale.performance", performance_id=performance_id))
    response.delete_cookie(
        WAITING_COOKIE, path=url_for("sale.waiting", performance_id=performance_id)
    )
    return response


def _find_claims(performance_id: int) -> Claims | None:
    """Return what the cookie's token says; None without one that is good here."""
    try:
        claims = house().tokens.read("waiting", request.cookies.get(WAITING_COOKIE))
    except Rejected:
        return None
    return claims if claims.performance_id == performance_id else None


def _find_place(performance_id: int) -> dict[str, Any] | None:
    """Return the queue object of the customer's stay; None without one.

    The cookie's token answers without a query. Without it, or when its stay has ended, the row of
    the present stay does. Raises TurnOver with the reason when that is known, SoldOut, SaleClosed.
    """
    over: TurnOver | None = None
    token = request.cookies.get(WAITING_COOKIE, "")
    claims = _find_claims(performance_id)
    if claims is not None and claims.account_id == person().id:
        try:
            return queue.answer_poll(house(), claims, token)
        except TurnOver as ended:
            over = ended
    standing = find_standing(house(), performance_id, person().id)
    if standing.stay is not None and (standing.inside or standing.waiting):
        shown = queue.shown_before(house(), token, standing.stay)
        session = queue.mark(guards.session_token() or "")
        return queue.answer_stay(house(), standing.stay, session, shown)
    if over is not None:
        raise over
    return None


def _remember(response: Response, performance_id: int, place: dict[str, Any]) -> Response:
    path = url_for("sale.waiting", performance_id=performance_id)
    response.headers.add("Set-Cookie", place_part.waiting_cookie(house(), place, path))
    return response
