"""The till: what customers pay at the same moment, paid in one transaction (PostgreSQL).

SQLite has one writer, and each customer pays alone there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from webapp.db import Database
from webapp.domain import paid_together
from webapp.domain.bookings import Booked
from webapp.domain.idempotency import Answer
from webapp.domain.paid_together import Payer
from webapp.domain.together import NotTogether
from webapp.web.groups import Groups

GROUP_MAX = 16


@dataclass(frozen=True, slots=True)
class Asking:
    """Somebody who pays, what he is answered then, and how he pays alone."""

    payer: Payer
    answer: Callable[[Booked], Answer]
    alone: Callable[[], Answer]


class Till:
    """Takes payments, those of the same moment and sale together."""

    def __init__(self, db: Database, wait_seconds: float) -> None:
        self._db = db
        self._groups: Groups[int, Asking, Answer | None] = Groups(
            self._work, fits, GROUP_MAX, wait_seconds
        )

    def pay(
        self, payer: Payer, answer: Callable[[Booked], Answer], alone: Callable[[], Answer]
    ) -> Answer:
        """Pay a hold and keep the `answer`; `alone` does that too, and raises the refusals."""
        if self._db.is_sqlite:
            return alone()
        asking = Asking(payer, answer, alone)
        return self._groups.do(payer.admitted.performance_id, asking) or alone()

    def _work(self, performance_id: int, group: Sequence[Asking]) -> list[Answer | None]:
        """Return everybody's answer, None for those who have to go alone."""
        if len(group) == 1:
            return [group[0].alone()]
        left = [asking.payer for asking in group]
        answers: dict[Payer, Answer] = {}
        while len(left) > 1:
            try:
                paid = self._db.transact(
                    paid_together.pay_together, performance_id, left, group[0].answer
                )
                answers = dict(zip(left, paid, strict=True))
                break
            except NotTogether as others:
                left = [payer for payer in left if payer.hold_id not in others.hold_ids]
        return [answers.get(asking.payer) for asking in group]


def fits(group: Sequence[Asking], one: Asking) -> bool:
    """Whether somebody is another customer than all before him, and pays with another's stay."""
    mine = one.payer.admitted
    return all(
        mine.account_id != other.payer.admitted.account_id
        and mine.entry_id != other.payer.admitted.entry_id
        for other in group
    )
