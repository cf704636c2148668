"""The waiting room: joining, asking where one stands, leaving."""

from dataclasses import asdict

from flask import Response, request

from webapp.domain import lottery
from webapp.domain.errors import NotFound
from webapp.web import actions, challenges, guards, queue
from webapp.web.api.replies import find_keyed, reply, reply_kept
from webapp.web.guards import person
from webapp.web.house import house
from webapp.web.queue import Joining


def join_queue(performance_id: int) -> Response:
    """Join the waiting room, or find one's place in it again."""
    asked = Joining(
        performance_id,
        request.remote_addr,
        request.headers.get(challenges.HEADER, ""),
        guards.session_token(),
        request.headers.get(guards.HEADERS["waiting"]),
    )
    place, new = queue.join(house(), person().id, asked)
    return reply(place, 201 if new else 200)


def refuse_joining(performance_id: int) -> None:
    """Refuse newcomers to a sale that takes none."""
    actions.refuse_joining(house(), performance_id)


def poll_queue(performance_id: int) -> Response:
    """Say where the bearer of the waiting token stands.

    In the steady state nothing here asks the database: not for the token, not for those who ask too
    soon, not for the place.
    """
    claims = guards.get_claims("waiting", performance_id)
    token = request.headers[guards.HEADERS["waiting"]]
    return reply(queue.poll(house(), claims, token, guards.session_token()))


def leave_queue(performance_id: int) -> Response:
    """Give up one's place and any hold."""
    house().sales.get(performance_id)
    return reply_kept(actions.leave(house(), person().id, performance_id, find_keyed()))


def get_lottery(performance_id: int) -> Response:
    """Say what is published of the lottery by now."""
    actions.see_sealed(house(), house().sales.get(performance_id).rules)
    published = house().db.lookup(lottery.find_publication, performance_id)
    if published is None:
        raise NotFound()
    return reply(asdict(published))
