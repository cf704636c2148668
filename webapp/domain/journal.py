"""The append-only record of what happened, written last in the transaction that did it.

Ids are not commit order in general. For two transactions that touched the same row they are: the second
got the row's lock after the first committed, and drew its id after that. Replaying one seat, hold,
wallet or entry by id is therefore exact; delivering effects by `id > last` would not be.
"""

from typing import Any

from sqlalchemy import insert

from webapp.db import Tx
from webapp.domain.model import JournalEntry, table_of

_INSERT = insert(table_of(JournalEntry))


def write(tx: Tx) -> None:
    """Store `tx.journal` in one INSERT; the kernel calls this after the work and all its locks."""
    rows: list[dict[str, Any]] = [
        {"attempt_id": tx.attempt_id, "at": tx.now, "kind": entry.kind, "facts": entry.facts}
        for entry in tx.journal
    ]
    if len(rows) == 1:
        tx.execute(_INSERT, rows[0])
    else:
        tx.execute(insert(JournalEntry).values(rows))
