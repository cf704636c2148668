"""What one process of the service consists of, wired by `create_app` and reached by `house()`."""

import gzip
import hashlib
import random
import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import islice
from typing import cast

from flask import current_app

from webapp.config import Config
from webapp.db import Database
from webapp.domain import catalogue, outlook, seatmap
from webapp.domain.accounts import Person
from webapp.domain.catalogue import Listing, Sale
from webapp.domain.outlook import Room
from webapp.domain.seatmap import Seatmap
from webapp.web import map_shapes, seat_shapes, shapes
from webapp.web.attempts import Attempts
from webapp.web.bodies import Body
from webapp.web.challenges import Challenge, ProofOfWork
from webapp.web.crowd import Holds, Joins, Sessions, Stays, Visits
from webapp.web.health import Meter
from webapp.web.lateness import Lateness
from webapp.web.pacing import Pacing
from webapp.web.snapshots import Snapshots
from webapp.web.throttle import Throttle
from webapp.web.till import Till
from webapp.web.tokens import Tokens
from webapp.web.turns import Turns

BEARERS_KEPT, BEARERS_KEPT_SECONDS = 50_000, 600.0
STALE_MAX_SECONDS = 0.8  # with the load itself, below the one second that the contract allows
VERSIONS_KEPT, LISTS_KEPT = 32, 32


@dataclass(frozen=True, slots=True)
class SeatList:
    """Which seats of a hall somebody wants listed, and what they cost by price level."""

    seatmap_id: int
    prices: tuple[tuple[str, int], ...]
    limit: int
    cursor: int | None
    status: str | None
    section: str | None
    price_level: str | None


@dataclass(frozen=True, slots=True)
class Availability:
    """Every seat's state at one moment; `version` is a hash of the states."""

    version: str
    as_of: datetime
    states: str
    # By the hall's version, and the version of the states that the client knows, None for none.
    bodies: Snapshots[tuple[str, str | None], Body] = field(compare=False)
    lists: Snapshots[SeatList, bytes] = field(compare=False)

    @property
    def sold_out(self) -> bool:
        """Whether every seat that is not blocked is paid."""
        return seatmap.is_sold_out(self.states)

    def counts(self) -> dict[str, int]:
        """Count the seats by state."""
        return {
            "free": self.states.count(seatmap.FREE),
            "held": self.states.count(seatmap.HELD),
            "sold": self.states.count(seatmap.SOLD),
            "blocked": self.states.count(seatmap.BLOCKED),
        }


class House:
    """Database, tokens and the snapshots of what everybody looks at."""

    def __init__(self, config: Config, db: Database) -> None:
        self.config = config
        self.db = db
        self.tokens = Tokens(db.clock, config.secret_key, config.secret_key_previous)
        self.challenge: Challenge | None = None
        if config.join_work_bits:
            self.challenge = ProofOfWork(db.clock, config.secret_key, config.join_work_bits)
        self.rng = random.SystemRandom()
        self.attempts = Attempts()
        self.turns = Turns(config.transaction_seconds)
        self.sessions = Sessions(db, config.transaction_seconds)
        self.visits = Visits(db, config.transaction_seconds)
        self.joins = Joins(db, self.turns, config.transaction_seconds)
        self.stays = Stays(db, config.transaction_seconds)
        self.holds = Holds(db, config.transaction_seconds)
        self.till = Till(db, config.transaction_seconds)
        self.pacing = Pacing()
        self.lateness = Lateness()
        self.throttle = Throttle(db, config.secret_key)
        self.health = Meter(db)
        self._versions: OrderedDict[tuple[int, str], str] = OrderedDict()
        self._versions_lock = threading.Lock()
        self._keep_snapshots(db)

    def _keep_snapshots(self, db: Database) -> None:
        self.sales: Snapshots[int, Sale] = Snapshots(
            "sale", lambda key: db.read(catalogue.get_sale, key), STALE_MAX_SECONDS
        )
        self.events: Snapshots[str, Listing] = Snapshots(
            "event", lambda slug: db.read(catalogue.get_event, slug), STALE_MAX_SECONDS
        )
        self.seatmaps: Snapshots[int, Seatmap] = Snapshots(
            "seatmap", lambda key: db.read(seatmap.load, key), float("inf"), keys_max=50
        )
        self.drawings: Snapshots[int, bytes] = Snapshots(
            "drawing", self._draw, float("inf"), keys_max=20
        )
        self.packed_drawings: Snapshots[int, bytes] = Snapshots(
            "packed drawing",
            lambda key: gzip.compress(self.drawings.get(key), mtime=0),
            float("inf"),
            keys_max=20,
        )
        self.maps: Snapshots[int, bytes] = Snapshots(
            "map", lambda key: map_shapes.drawing(self.seatmaps.get(key)), float("inf"), keys_max=20
        )
        self.availability: Snapshots[int, Availability] = Snapshots(
            "availability", self._load_availability, STALE_MAX_SECONDS
        )
        self.rooms: Snapshots[int, Room] = Snapshots(
            "room", lambda key: db.read(outlook.look, key), STALE_MAX_SECONDS
        )
        self.numbers: Snapshots[int, dict[uuid.UUID, int]] = Snapshots(
            "numbers", lambda key: db.lookup(outlook.get_numbered_lately, key), STALE_MAX_SECONDS
        )
        # Whose a session is, for polls that show one beside their waiting token. Leaving it out would
        # do as well, so an old answer opens nothing, and polling stays without a query.
        self.bearers: Snapshots[bytes, tuple[Person, str] | None] = Snapshots(
            "bearer",
            self.sessions.find,
            BEARERS_KEPT_SECONDS,
            BEARERS_KEPT,
        )

    def seatmap_of(self, sale: Sale) -> Seatmap:
        """The hall of a performance; it never changes, so it is kept."""
        return self.seatmaps.get(sale.rules.seatmap_id)

    def _draw(self, seatmap_id: int) -> bytes:
        return shapes.dumps(seat_shapes.seatmap(self.seatmaps.get(seatmap_id))).encode()

    def states_at(self, performance_id: int, version: str) -> str | None:
        """Return the states that had this version, if it is one of the last few seen here."""
        with self._versions_lock:
            return self._versions.get((performance_id, version))

    def _load_availability(self, performance_id: int) -> Availability:
        as_of = self.db.clock.now()
        states = self.db.lookup(seatmap.states, performance_id)
        version = hashlib.sha256(states.encode()).hexdigest()[:16]
        with self._versions_lock:
            self._versions[performance_id, version] = states
            self._versions.move_to_end((performance_id, version))
            while len(self._versions) > VERSIONS_KEPT:
                self._versions.popitem(last=False)

        def write(key: tuple[str, str | None]) -> Body:
            seatmap_version, since = key
            before = self.states_at(performance_id, since) if since else None
            return Body(seat_shapes.availability(seatmap_version, version, as_of, states, before))

        bodies = Snapshots("availability body", write, float("inf"), VERSIONS_KEPT)
        lists = Snapshots("seat list", partial(self._list, states), float("inf"), LISTS_KEPT)
        return Availability(version, as_of, states, bodies, lists)

    def _list(self, states: str, chosen: SeatList) -> bytes:
        hall = self.seatmaps.get(chosen.seatmap_id)
        found = list(islice(_listed(hall, states, chosen), chosen.limit + 1))
        shown = found[: chosen.limit]
        following = (
            hall.by_label[shown[-1]["seat"]].seat_no + 1 if len(found) > len(shown) else None
        )
        part = {"items": shown, "next_cursor": following and str(following)}
        return shapes.dumps(part).encode()


def _listed(hall: Seatmap, states: str, chosen: SeatList) -> Iterator[seat_shapes.ListedSeat]:
    prices = dict(chosen.prices)
    for place in hall.places[chosen.cursor or 0 :]:
        status = seat_shapes.STATES[states[place.seat_no]]
        if (
            chosen.status in (None, status)
            and chosen.section in (None, place.section)
            and chosen.price_level in (None, place.price_level)
        ):
            price_minor = prices[place.price_level]
            yield {**seat_shapes.priced_seat(place, price_minor), "status": status}


def house() -> House:
    """The house of the running app."""
    return cast(House, current_app.extensions["jari"])
