"""What a crowd asks one process for at the same moment, done together where that is the same."""

from collections.abc import Sequence

from webapp.db import Database
from webapp.domain import accounts, holds, together
from webapp.domain.accounts import Person
from webapp.domain.catalogue import Rules
from webapp.domain.holds import Held
from webapp.domain.together import NotTogether, Wanted
from webapp.web.groups import Groups

GROUP_MAX = 16
LOOKS_MAX = 64


class Sessions:
    """Looks up whose a session is, all that are asked for at the same moment in one statement (PostgreSQL)."""

    def __init__(self, db: Database, wait_seconds: float) -> None:
        self._db = db
        self._groups: Groups[None, bytes, tuple[Person, str] | None] = Groups(
            self._work, lambda _group, _digest: True, LOOKS_MAX, wait_seconds
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
