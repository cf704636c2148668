"""The usher: numbers newcomers, admits the first in line, retires who is over."""

from collections.abc import Callable

from webapp.db import Database, Tx
from webapp.domain import catalogue, leases, seatmap, waiting_room
from webapp.domain.catalogue import Rules

BATCHES_MAX = 50  # 100,000 newcomers a tick; the rest are numbered in the next one


def run(db: Database, fence: int) -> int:
    """Make one round of all rooms; return how many were admitted. Raises LeaseLost."""
    return sum(_tend(db, fence, rules) for rules in db.read(catalogue.list_rules))


def _tend(db: Database, fence: int, rules: Rules) -> int:
    """Do what a room needs. An idle room costs a read and no write."""
    needs = db.read(waiting_room.look_for_work, rules.id)
    if needs.newcomers and rules.capacity is not None:
        for _ in range(BATCHES_MAX):
            numbered = db.transact(_fenced, fence, waiting_room.number_newcomers, rules.id)
            if numbered < waiting_room.NUMBERED_PER_BATCH:
                break
    if needs.over:
        db.transact(_fenced, fence, waiting_room.retire_over, rules.id)
    if not (needs.newcomers or needs.waiting):
        return 0
    sold_out = seatmap.is_sold_out(db.lookup(seatmap.states, rules.id))
    if rules.status(db.clock.now(), sold_out=sold_out) != "open":
        return 0
    return db.transact(_fenced, fence, waiting_room.admit, rules)


def _fenced(tx: Tx, fence: int, work: Callable[..., int], *args: object) -> int:
    leases.confirm(tx, "usher", fence)
    return work(tx, *args)
