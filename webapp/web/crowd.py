"""What a crowd asks one process for at the same moment, done together where that is the same."""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from webapp import nowait
from webapp.db import Database, new_id
from webapp.domain import accounts, holds, staying, together, visits, waiting_room
from webapp.domain.accounts import Person
from webapp.domain.catalogue import Rules
from webapp.domain.errors import TurnOver
from webapp.domain.holds import Held
from webapp.domain.together import NotTogether, Wanted
from webapp.domain.visits import Visit
from webapp.domain.waiting_room import Arrival, Stay
from webapp.web import bearers
from webapp.web.groups import Groups
from webapp.web.turns import Turns

log = logging.getLogger("jari.crowd")

GROUP_MAX = 16
LOOKS_MAX = 64
NOTED_WITHIN_SECONDS = 0.25
STAY_CONSTRAINT = "uq_queue_entry_stay"


class Sessions:
    """Looks up whose a session is, all that are asked for at the same moment in one statement (PostgreSQL)."""

    def __init__(self, db: Database, wait_seconds: float) -> None:
        self._db = db
        self._groups: Groups[None, bytes, tuple[Person, str] | None] = Groups(
            lambda _, digests: look_up(db, digests), _anybody, LOOKS_MAX, wait_seconds
        )

    def find(self, digest: bytes) -> tuple[Person, str] | None:
        """Do `accounts.find_session`."""
        if self._db.is_sqlite:
            return self._db.lookup(accounts.find_session, digest)
        return self._groups.do(None, digest)


def look_up(db: Database, digests: Sequence[bytes]) -> list[tuple[Person, str] | None]:
    """Return what is known of sessions, in one statement. More than one at once: on PostgreSQL."""
    if len(digests) == 1:
        return [db.lookup(accounts.find_session, digests[0])]
    return db.lookup(accounts.find_sessions, digests) if digests else []


class Visits:
    """Like `Sessions` for keyed requests, with what is kept under their keys."""

    def __init__(self, db: Database, wait_seconds: float) -> None:
        self._db = db
        self._groups: Groups[None, Visit, visits.Found | None] = Groups(
            self._work, _anybody, LOOKS_MAX, wait_seconds
        )

    def find(self, visit: Visit) -> visits.Found | None:
        """Do `visits.find_visit`."""
        if self._db.is_sqlite:
            return self._db.lookup(visits.find_visit, visit)
        return self._groups.do(None, visit)

    def _work(self, _: None, asked: Sequence[Visit]) -> list[visits.Found | None]:
        if len(asked) == 1:
            return [self._db.lookup(visits.find_visit, asked[0])]
        return self._db.lookup(visits.find_visits, asked)


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Somebody who joins: an account, or the digest of a session that says whose.

    `check` raises for an account that may not; `session_seconds` is set where the room is off.
    """

    performance_id: int
    who: uuid.UUID | bytes
    session_seconds: int | None
    check: Callable[[uuid.UUID], None]


Joined = Stay | Arrival | Exception  # a new stay, somebody who may have one already, why not


class Joins:
    """Begins stays, those of the same moment and room in one transaction (PostgreSQL).

    Their sessions are looked up for all of them, too: each wait for others costs what a request does.
    """

    def __init__(self, db: Database, turns: Turns, wait_seconds: float) -> None:
        self._db = db
        self._turns = turns
        self._groups: Groups[int, Newcomer, Joined] = Groups(
            self._work, _anybody, LOOKS_MAX, wait_seconds
        )

    def join(self, newcomer: Newcomer) -> tuple[Stay, bool]:
        """Return a customer's stay, and whether it is new; raise Rejected (401), or what `check` raises.

        Where nobody may wait the wish is the newcomer, for `join_together`.
        """
        if self._db.is_sqlite:
            [found] = self._meet([newcomer])
            return self.settle(found)
        nowait.check(newcomer)
        return self.settle(self._groups.do(newcomer.performance_id, newcomer))

    def join_together(self, newcomers: Sequence[Newcomer]) -> list[Joined]:
        """Let newcomers of one room join, on PostgreSQL; return for each what `settle` makes the answer of."""
        try:
            return self._work(newcomers[0].performance_id, newcomers)
        except Exception as error:  # noqa: BLE001 - it is raised in each of them
            return [error] * len(newcomers)

    def settle(self, found: Joined) -> tuple[Stay, bool]:
        """Do the rest of `join`: for who has a stay already in a transaction of its own."""
        if isinstance(found, Exception):
            raise found
        if isinstance(found, Stay):
            return found, True
        nowait.check()
        # Who has a stay already: this one may touch it, which his other requests may be about.
        work = waiting_room.join if self._db.is_sqlite else waiting_room.rejoin
        with self._turns.turn(found.account_id):
            return self._db.transact(work, found, instead={STAY_CONSTRAINT: waiting_room.rejoin})

    def _work(self, _: int, group: Sequence[Newcomer]) -> list[Joined]:
        """Return the stays of those who are new, the arrivals of those who are not, and refusals."""
        met = self._meet(group)
        arrivals = [one for one in met if isinstance(one, Arrival)]
        stays = self._db.transact(waiting_room.join_together, arrivals) if arrivals else {}
        return [stays.get(one.entry_id, one) if isinstance(one, Arrival) else one for one in met]

    def _meet(self, group: Sequence[Newcomer]) -> list[Arrival | Exception]:
        """Find out who they are, and whether they may join."""
        digests = [one.who for one in group if isinstance(one.who, bytes)]
        found = iter(look_up(self._db, digests))
        met: list[Arrival | Exception] = []
        for one in group:
            try:
                who = one.who
                account_id = bearers.judge(next(found)).id if isinstance(who, bytes) else who
                one.check(account_id)
            except Exception as refused:  # noqa: BLE001 - this one's alone, the others are let in
                met.append(refused)
            else:
                met.append(Arrival(new_id(), one.performance_id, account_id, one.session_seconds))
        return met


class Stays:
    """Looks stays up, all of the same moment in one statement (PostgreSQL), and notes who is there."""

    def __init__(self, db: Database, wait_seconds: float) -> None:
        self._db = db
        self._looks: Groups[None, uuid.UUID, Stay | TurnOver] = Groups(
            self._look, _anybody, LOOKS_MAX, wait_seconds
        )
        self._mutex = threading.Lock()
        # By how long each is not noted again, from entry to account.
        self._to_note: dict[float, dict[uuid.UUID, uuid.UUID]] = {}
        self._notes_soon = False

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

    def see(self, stay: Stay, after_seconds: float, *, soon: bool) -> None:
        """Do `staying.see`; if `soon` is enough, in a server with all others of the moment, from beside the requests.

        When a crowd is let in these were every third transaction of a sale, in groups of two (measured).
        """
        if not (soon and self._notes_soon):
            self._db.transact(staying.see, stay.entry_id, stay.account_id, after_seconds)
            return
        with self._mutex:
            self._to_note.setdefault(after_seconds, {})[stay.entry_id] = stay.account_id

    def start(self) -> None:
        """Note who is to be noted soon again and again, in a thread that ends with the process."""
        self._notes_soon = True
        threading.Thread(target=self._note_for_ever, name="stays", daemon=True).start()

    def _note_for_ever(self) -> None:
        while True:
            time.sleep(NOTED_WITHIN_SECONDS)
            self.note()

    def note(self) -> None:
        """Note who is to be noted; those whom the database did not take are noted the next time."""
        with self._mutex:
            to_note, self._to_note = self._to_note, {}
        for after_seconds, whose in to_note.items():
            self._note_or_keep(whose, after_seconds)

    def _note_or_keep(self, whose: dict[uuid.UUID, uuid.UUID], after_seconds: float) -> None:
        try:
            self._db.transact(staying.see_together, whose, after_seconds)
        except Exception:  # whatever it was: without this thread nobody would be noted any more
            log.exception("who is there was not noted")
            with self._mutex:
                self._to_note[after_seconds] = whose | self._to_note.get(after_seconds, {})


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
