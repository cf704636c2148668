"""Tokens that open nothing here: what broken and hostile clients send instead of one that was given to them."""

import base64
import json

import jwt

from tests import builders
from webapp.db import new_id
from webapp.domain import waiting_room
from webapp.domain.waiting_room import Arrival
from webapp.web.house import House
from webapp.web.tokens import Kind


def forge(house: House, elsewhere: int, kind: Kind) -> dict[str, str]:
    """Return one of each sort, by its name; those made of a real one of that kind have it from the sale `elsewhere`.

    That sale must have no waiting room, so that who joins it is inside.
    """
    [person] = builders.make_accounts(house.db)
    arrival = Arrival(new_id(), elsewhere, person.id, session_seconds=3_600)
    stay, _ = house.db.transact(waiting_room.join, arrival)
    access, (waiting, _) = house.tokens.issue_access(stay), house.tokens.issue_waiting(stay, None)
    good, other = (access, waiting) if kind == "access" else (waiting, access)
    head, body, signature = good.split(".")
    claims = jwt.decode(good, options={"verify_signature": False})
    unsigned = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).rstrip(b"=").decode()
    return {
        "undefined": "undefined",
        "of dots": "a.b.c",
        "percent signs": "%00" * 99,
        "not UTF-8": "\xff\xfe.\xff.\xff",  # as headers are sent: a byte each
        "8 KB": "x" * 8_000,  # gunicorn itself refuses what is longer
        "truncated": good[: len(head) + 20],
        "forged": f"{head}.{body[:-6]}AAAAAA.{signature}",
        "of another signature": f"{head}.{body}.{signature[::-1]}",
        "of another key": jwt.encode(claims, "z" * 40, "HS256", jwt.get_unverified_header(good)),
        "wrong kind": other,
        "alg=none": f"{unsigned}.{body}.",
        "of another performance": good,
    }
