"""The waiting room: joining, asking where one stands, leaving."""

from flask import Response, g, request

from webapp.web import actions, guards, queue
from webapp.web.api.replies import find_keyed, reply, reply_kept
from webapp.web.guards import person
from webapp.web.house import house


def join_queue(performance_id: int) -> Response:
    """Join the waiting room, or find one's place in it again."""
    house().throttle.count_joining(person().id, request.remote_addr)
    stay, new = actions.join(house(), person().id, performance_id)
    return reply(queue.answer_stay(house(), stay), 201 if new else 200)


def refuse_joining(performance_id: int) -> None:
    """Refuse newcomers to a sale that takes none."""
    actions.refuse_joining(house(), performance_id)


def poll_queue(performance_id: int) -> Response:
    """Say where the bearer of the waiting token stands.

    In the steady state nothing here asks the database: not for the token, not for those who ask too
    soon, not for the place.
    """
    claims = guards.get_claims("waiting", performance_id)
    house().pacing.refuse_hasty(claims.entry_id)
    if guards.session_token() is not None:
        g.person = guards.get_person(house().bearers.get)
        guards.get_claims("waiting", performance_id)
    place = queue.answer_poll(house(), claims, request.headers[guards.HEADERS["waiting"]])
    house().pacing.told(claims.entry_id, place["poll_after_ms"])
    return reply(place)


def leave_queue(performance_id: int) -> Response:
    """Give up one's place and any hold."""
    house().sales.get(performance_id)
    return reply_kept(actions.leave(house(), person().id, performance_id, find_keyed()))
