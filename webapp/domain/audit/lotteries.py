"""Did the lotteries' numbers follow from what was published? Everything is recomputed."""

from sqlalchemy import select

from webapp.db import Tx
from webapp.domain import lottery
from webapp.domain.audit.findings import Findings, Result
from webapp.domain.model import Lottery


def check_lotteries(tx: Tx, shown: int) -> Result:
    """Draw every lottery again and compare the numbers that were given so far."""
    findings, checked = Findings(shown), 0
    drawn = select(Lottery.performance_id, Lottery.participants_digest, Lottery.participants).where(
        Lottery.drawn_at.is_not(None)
    )
    for row in tx.execute(drawn).all():
        checked += len(row.participants) // lottery.ID_BYTES
        if row.participants_digest != lottery.digest_of(row.participants):
            findings.note(f"the lottery of performance {row.performance_id} has another digest")
        for difference in lottery.find_misplaced(tx, row.performance_id):
            findings.note(difference)
    return findings.result("lotteries", "participants", checked)
