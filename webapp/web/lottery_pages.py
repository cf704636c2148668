"""The lottery's publication, for everybody: what was fixed when, and the list to recompute it from."""

from collections.abc import Iterator

from flask import Blueprint, Response, g

from webapp.domain import lottery
from webapp.web import actions, guards
from webapp.web.forms import page
from webapp.web.guards import public
from webapp.web.house import house

blueprint = Blueprint("lottery", __name__)

LINES_PER_PIECE = 2_000


@blueprint.get("/performances/<int:performance_id>/lottery")
@public
def published(performance_id: int) -> Response:
    """Show what is published of a performance's lottery by now."""
    g.person = guards.find_person()
    sale = house().sales.get(performance_id)
    actions.see_sealed(house(), sale.rules)
    publication = house().db.lookup(lottery.find_publication, performance_id)
    return page("sale/lottery.html", sale=sale, lottery=publication)


@blueprint.get("/performances/<int:performance_id>/lottery/participants.txt")
@public
def participants(performance_id: int) -> Response:
    """Give the list of participants: its SHA-256 is the digest that was published."""
    packed = house().db.lookup(lottery.get_participants, performance_id)

    def pieces() -> Iterator[str]:
        size = lottery.ID_BYTES * LINES_PER_PIECE
        for start in range(0, len(packed), size):
            yield "".join(lottery.lines(packed[start : start + size]))

    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(pieces(), headers=headers, mimetype="text/plain")
