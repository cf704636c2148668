"""The waiting room: joining, asking where one stands, leaving."""

from dataclasses import asdict

from flask import Response, g, request

from webapp.domain import lottery
from webapp.domain.errors import NotFound
from webapp.web import actions, challenges, guards, queue
from webapp.web.api.replies import find_keyed, reply, reply_kept
from webapp.web.guards import person
from webapp.web.house import house


def join_queue(performance_id: int) -> Response:
    """Join the waiting room, or find one's place in it again."""
    house().throttle.count_joining(person().id, request.remote_addr)
    answer = request.headers.get("Challenge-Answer", "")
    challenges.refuse_unanswered(house().challenge, person().id, performance_id, answer)
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


def get_lottery(performance_id: int) -> Response:
    """Say what is published of the lottery by now."""
    published = house().db.lookup(lottery.find_publication, performance_id)
    if published is None:
        raise NotFound()
    return reply(asdict(published))
