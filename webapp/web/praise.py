"""Why seats are good, in a few true words: what somebody in a rush wants to know of seats chosen for them.

Nothing is said that is not so: each sentence is worked out from the hall.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import hypot

from webapp.domain.seatmap import Place, Seatmap
from webapp.web.languages import gettext

MIDDLE_SHARE = 0.12  # of the hall's width, to either side of the stage's middle
NEARER_THAN_MIN = 50  # per cent: below that it is no praise


def praise(hall: Seatmap, seat_nos: Sequence[int]) -> list[str]:
    """Return sentences about a group of seats, the most telling first."""
    places = [hall.places[seat_no] for seat_no in seat_nos]
    said = []
    if len(places) > 1:
        said.append(_together(places))
    stage = hall.geometry["stage"]
    middle = stage["x"] + stage["width"] / 2
    centre = sum(place.x for place in places) / len(places)
    if abs(centre - middle) <= MIDDLE_SHARE * hall.geometry["width"]:
        said.append(gettext("In the middle"))
    percent = _nearer_than(hall, places[0])
    if percent >= NEARER_THAN_MIN:
        said.append(gettext("Nearer to the stage than %(percent)s%% of the hall", percent=percent))
    if not hall.restricted.isdisjoint(seat_nos):
        said.append(gettext("Restricted view"))
    return said


def _together(places: Sequence[Place]) -> str:
    rows = {(place.section, place.row) for place in places}
    ordered = sorted(place.number for place in places)
    if len(rows) > 1:
        return gettext("As near to each other as could be")
    if any(after != before + 1 for before, after in pairwise(ordered)):
        return gettext("In one row")
    return gettext("Side by side")


def _nearer_than(hall: Seatmap, place: Place) -> int:
    """Return how many per cent of the hall's seats are further from the stage."""
    stage = hall.geometry["stage"]
    x, y = stage["x"] + stage["width"] / 2, stage["y"] + stage["height"] / 2
    mine = hypot(place.x - x, place.y - y)
    further = sum(hypot(other.x - x, other.y - y) > mine for other in hall.places)
    return 100 * further // len(hall.places)
