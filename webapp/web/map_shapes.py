"""The hall as the seat map loads it: everything that is drawn, in as few bytes as will do.

The contract's seatmap names every fact of every seat: 2.6 MB for 20,000 seats. A phone in a rush gets the
same in columns, as differences from seat to seat, compressed once: under 60 KB. `static/seatmap/hall.js`
reads it.

1. A seat's place in its row's lists is its place in the row, from the first number to the last.
2. `labels` stands only where a seat is not called SECTION-ROW-NUMBER, as the halls made here are.
"""

import gzip
import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from webapp.domain.seatmap import Place, Seatmap


def drawing(hall: Seatmap) -> bytes:
    """Return the hall as compressed JSON."""
    levels = list(dict.fromkeys(place.price_level for place in hall.places))
    sections: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(hall.rows, key=lambda row: (row[0].seat_no, row[0].y)):
        sections.setdefault(row[0].section, []).append(_row(row, levels))
    shape = {
        "seats": len(hall.places),
        "width": hall.geometry["width"],
        "height": hall.geometry["height"],
        "stage": hall.geometry["stage"],
        "levels": levels,
        "sections": [{"code": code, "rows": rows} for code, rows in sections.items()],
        "accessible": [place.seat_no for place in hall.places if place.accessible],
        "companion": hall.geometry.get("companion", []),
        "restricted": hall.geometry.get("restricted", []),
    }
    text = json.dumps(shape, ensure_ascii=False, separators=(",", ":"))
    return gzip.compress(text.encode(), 9, mtime=0)


def _row(row: Sequence[Place], levels: Sequence[str]) -> dict[str, Any]:
    mine = [levels.index(place.price_level) for place in row]
    shape: dict[str, Any] = {
        "row": row[0].row,
        "seat": _differences(place.seat_no for place in row),
        "number": _differences(place.number for place in row),
        "x": _differences(place.x for place in row),
        "y": _differences(place.y for place in row),
        "level": mine[0] if len(set(mine)) == 1 else mine,
    }
    if any(place.label != f"{place.section}-{place.row}-{place.number}" for place in row):
        shape["labels"] = [place.label for place in row]
    return shape


def _differences(values: Iterable[int]) -> list[int]:
    """Return the first value, then how much each is above the one before."""
    known = list(values)
    return known[:1] + [after - before for before, after in pairwise(known)]
