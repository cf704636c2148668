"""The usher: keeps the house's pace, draws lotteries, numbers newcomers, admits, ends turns that are over.

A room that cannot be tended stops no other room: the round goes on, and has failed at its end.
"""

import logging
from collections.abc import Callable
from functools import lru_cache

from webapp.db import Busy, Database, OutcomeUnknown, Tx
from webapp.domain import admission, catalogue, leases, lottery, pace, seatmap
from webapp.domain.catalogue import Rules

log = logging.getLogger("jari.usher")

BATCHES_MAX = 50  # 100,000 newcomers a tick; the rest are numbered in the next one


_order_of = lru_cache(maxsize=1)(lottery.order_of)  # round after round the same


class RoomsFailed(Exception):
    """Some rooms could not be tended in this round; why is in the log."""


def run(db: Database, fence: int) -> int:
    """Make one round of all rooms; return how many were admitted. Raises LeaseLost, and RoomsFailed at the end."""
    wanted = db.read(pace.judge)
    if wanted is not None and db.transact(_fenced, fence, pace.adjust):
        log.warning("admission at %s %%: %s", wanted.percent, wanted.reason or "well")
    admitted = [_tend_or_tell(db, fence, rules) for rules in db.read(catalogue.list_rules)]
    if None in admitted:
        raise RoomsFailed(f"{admitted.count(None)} of {len(admitted)} rooms")
    return sum(filter(None, admitted))


def _tend_or_tell(db: Database, fence: int, rules: Rules) -> int | None:
    """Do what a room needs; None if that failed, for the log to say why."""
    try:
        return _tend(db, fence, rules)
    except leases.LeaseLost:
        raise
    except (Busy, OutcomeUnknown) as error:
        log.warning("room %s: %s, trying again", rules.id, type(error).__name__)
    except Exception:
        log.exception("room %s failed", rules.id)
    return None


def _tend(db: Database, fence: int, rules: Rules) -> int:
    """Do what a room needs. An idle room costs a read and no write."""
    settled = _draw(db, fence, rules)
    needs = db.read(admission.look_for_work, rules)
    for reason, over in needs.over.items():
        if over:
            db.transact(_fenced, fence, admission.retire, rules, reason)
    if needs.ended:
        db.transact(_fenced, fence, admission.tidy, rules.id)
    if needs.newcomers and settled:
        for _ in range(BATCHES_MAX):
            numbered = db.transact(_fenced, fence, admission.number_newcomers, rules.id)
            if numbered < admission.NUMBERED_PER_BATCH:
                break
    if not (needs.newcomers or needs.waiting or needs.guests):
        return 0
    sold_out = db.lookup(seatmap.has_sold_out, rules.id)
    if rules.status(db.clock.now(), sold_out=sold_out) != "open":
        return 0
    return db.transact(_fenced, fence, admission.admit, rules.id)


def _draw(db: Database, fence: int, rules: Rules) -> bool:
    """Take the lottery's next steps; return whether newcomers may be numbered now."""
    step = db.read(lottery.find_step, rules)
    if step == "seal":
        sealing = lottery.seal, rules.id, lottery.new_seed()
        db.transact(_fenced, fence, *sealing, instead=lottery.SEALED_ALREADY)
        step = db.read(lottery.find_step, rules)
    if step == "close":
        db.transact(_fenced, fence, lottery.close, rules.id)
        step = db.read(lottery.find_step, rules)
    if step == "draw":
        db.transact(_fenced, fence, lottery.draw, rules.id)
        step = "number"
    if step == "number":
        _number_participants(db, fence, rules)
        step = db.read(lottery.find_step, rules)
    return step == "none"


def _number_participants(db: Database, fence: int, rules: Rules) -> None:
    """Hand out numbers along the drawn order, from where the last round ended."""
    first, drawn = db.read(lottery.read_drawn, rules.id)
    order = _order_of(*drawn)
    last = db.read(admission.get_last_number, rules.id)
    for _ in range(BATCHES_MAX):
        start = last + 1 - first
        batch = order[start : start + admission.NUMBERED_PER_BATCH]
        if batch:
            last += db.transact(_fenced, fence, admission.number_in_order, rules.id, last, batch)
        if last + 1 - first >= len(order):
            _order_of.cache_clear()  # a million entries are 130 MB (measured)
            break


def _fenced(tx: Tx, fence: int, work: Callable[..., int], *args: object) -> int:
    leases.confirm(tx, "usher", fence)
    return work(tx, *args)
