"""What must be true of the tables at any instant, as statements that return only what is wrong.

Most of it is guarded by a keyed update and by a constraint as well; here it is proven from outside.
"""

from collections.abc import Iterator
from datetime import datetime

from webapp.db import Tx
from webapp.domain.audit.findings import Findings, Result
from webapp.domain.audit.invariants.of_bookings import (
    BALANCES,
    BOOKING_TOTALS,
    BOOKINGS_OF_HOLDS,
    REFUNDS,
    SPENDS,
)
from webapp.domain.audit.invariants.of_customers import ALLOWANCES, HOLDS_OF_STAYS, NUMBERS, STAYS
from webapp.domain.audit.invariants.of_seats import CAPACITY, HELD_SEATS, ONE_OWNER, SOLD_SEATS
from webapp.domain.audit.invariants.references import REFERENCES

INVARIANTS = (
    CAPACITY,
    ONE_OWNER,
    SOLD_SEATS,
    HELD_SEATS,
    BOOKINGS_OF_HOLDS,
    BOOKING_TOTALS,
    SPENDS,
    REFUNDS,
    BALANCES,
    ALLOWANCES,
    NUMBERS,
    STAYS,
    HOLDS_OF_STAYS,
    REFERENCES,
)


def check_invariants(tx: Tx, instant: datetime, shown: int) -> Iterator[Result]:
    """Check every invariant as of `instant`."""
    for invariant in INVARIANTS:
        findings = Findings(shown)
        for query, sentence in invariant.broken:
            for row in tx.execute(query.limit(shown + 1), {"instant": instant}):
                findings.note(sentence.format_map(row._mapping))
        counted = tx.execute(invariant.counted).scalar_one()
        yield findings.result(invariant.name, invariant.things, counted)
