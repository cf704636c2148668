"""What a crowd asks one process for at the same moment, done together where that is the same."""

import uuid
from collections.abc import Sequence

from webapp.db import Database
from webapp.domain import accounts, holds, staying, together, waiting_room
from webapp.domain.accounts import Person
from webapp.domain.catalogue import Rules
from webapp.domain.errors import TurnOver
from webapp.domain.holds import Held
from webapp.domain.together import NotTogether, Wanted
from webapp.domain.waiting_room import Arrival, Stay
from webapp.web.groups import Groups

GROUP_MAX = 16
LOOKS_MAX = 64
STAY_CONSTRAINT = "uq_queue_entry_stay"


class Sessions:
    """Looks up whose a session is, all that are asked for at the same moment in one statement (PostgreSQL)."""

    def __init__(self, db: Database, wait_seconds: float) -> None:
        self._db = db
        self._groups: Groups[None, bytes, tuple[Person, str] | None] = Groups(
            self._work, _anybody, LOOKS_MAX, wait_seconds
        )

    def find(self, digest: bytes) -> tuple[Person, str] | None:
        """Do `accounts.find_session`."""
        if self._db.is_sqlite:
            return self._db.lookup(accounts.find_session, digest)
        return self._groups.do(None, digest)

    def _work(self, _: None, digests: Sequence[bytes]) -> list[tuple[Person, str] | None]:
        if len(digests) == 1:
            return [self._db.lookup(accounts.find_session, digests[0])]
        return self._db.lookup(accounts.find_sessions, digests)


class Joins:
    """Begins stays, those of the same moment and room in one transaction (PostgreSQL)."""

    def __init__(self, db: Database, wait_seconds: float) -> None:
        self._db = db
        self._groups: Groups[int, Arrival, Stay | None] = Groups(
            self._work, _are_others, LOOKS_MAX, wait_seconds
        )

    def join(self, arrival: Arrival) -> tuple[Stay, bool]:
        """Return a customer's stay, and whether it is new."""
        again = {STAY_CONSTRAINT: waiting_room.rejoin}
        if self._db.is_sqlite:
            return self._db.transact(waiting_room.join, arrival, instead=again)
        stay = self._groups.do(arrival.performance_id, arrival)
        if stay is not None:
            return stay, True
        return self._db.transact(waiting_room.rejoin, arrival, instead=again)

    def _work(self, _: int, group: Sequence[Arrival]) -> list[Stay | None]:
        """Return the stays of those who are new, None for those who are there already."""
        stays = self._db.transact(waiting_room.join_together, group)
        return [stays.get(arrival.account_id) for arrival in group]


def _are_others(group: Sequence[Arrival], one: Arrival) -> bool:
    return all(other.account_id != one.account_id for other in group)


class Stays:
    """Looks stays up, and notes who has come, all of the same moment in one statement (PostgreSQL)."""

    def __init__(self, db: Database, wait_seconds: float) -> None:
        self._db = db
        self._looks: Groups[None, uuid.UUID, Stay | TurnOver] = Groups(
            self._look, _anybody, LOOKS_MAX, wait_seconds
        )
        self._notes: Groups[float, Stay, None] = Groups(
            self._note, _anybody, LOOKS_MAX, wait_seconds
        )

    def get(self, entry_id: uuid.UUID) -> Stay:
        """Do `waiting_room.get_stay`."""
        if self._db.is_sqlite:
            return self._db.lookup(waiting_room.get_stay, entry_id)
        found = self._looks.do(None, entry_id)
        if isinstance(found, TurnOver):
            raise found
        return found

    def _look(self, _: None, entry_ids: Sequence[uuid.UUID]) -> list[Stay | TurnOver]:
        return self._db.lookup(waiting_room.get_stays, entry_ids)

    def see(self, stay: Stay, after_seconds: float) -> None:
        """Do `staying.see`."""
        if self._db.is_sqlite:
            self._db.transact(staying.see, stay.entry_id, stay.account_id, after_seconds)
        else:
            self._notes.do(after_seconds, stay)

    def _note(self, after_seconds: float, stays: Sequence[Stay]) -> list[None]:
        seen = {stay.entry_id: stay.account_id for stay in stays}
        self._db.transact(staying.see_together, seen, after_seconds)
        return [None] * len(stays)


def _anybody(_group: Sequence[object], _one: object) -> bool:
    return True


class Holds:
    """Places holds, those of the same moment and sale in one transaction (PostgreSQL)."""

    def __init__(self, db: Database, wait_seconds: float) -> None:
        self._db = db
        self._groups: Groups[int, tuple[Rules, Wanted], Held | None] = Groups(
            self._work, _fits, GROUP_MAX, wait_seconds
        )

    def place(self, rules: Rules, wanted: Wanted) -> Held:
        """Hold seats; raise the refusals of `holds.enter_and_place`."""
        if self._db.is_sqlite:
            return self._alone(rules, wanted)
        return self._groups.do(rules.id, (rules, wanted)) or self._alone(rules, wanted)

    def _alone(self, rules: Rules, wanted: Wanted) -> Held:
        return self._db.transact(
            holds.enter_and_place, wanted.admitted, rules, wanted.hold_id, wanted.offers
        )

    def _work(self, _: int, group: Sequence[tuple[Rules, Wanted]]) -> list[Held | None]:
        """Return everybody's hold, None for those who have to go alone."""
        if len(group) == 1:
            return [self._alone(*group[0])]
        rules, left = group[0][0], [wanted for _, wanted in group]
        helds: dict[object, Held] = {}
        while len(left) > 1:
            try:
                helds = {
                    held.id: held
                    for held in self._db.transact(together.place_together, rules, left)
                }
                break
            except NotTogether as others:
                left = [wanted for wanted in left if wanted.hold_id not in others.hold_ids]
        return [helds.get(wanted.hold_id) for _, wanted in group]


def _fits(group: Sequence[tuple[Rules, Wanted]], one: tuple[Rules, Wanted]) -> bool:
    """Whether somebody wants other seats than all before him; who wants the same waits for them."""
    rules, wanted = one
    seats = {offer.seat_no for offer in wanted.offers}
    return rules == group[0][0] and all(
        other.admitted.account_id != wanted.admitted.account_id
        and seats.isdisjoint(offer.seat_no for offer in other.offers)
        for _, other in group
    )
