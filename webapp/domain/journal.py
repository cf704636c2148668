"""The append-only record of what happened, written last in the transaction that did it.

Ids are not commit order in general. For two transactions that touched the same row they are: the second
got the row's lock after the first committed, and drew its id after that. Replaying one seat, hold,
wallet or entry by id is therefore exact; delivering effects by `id > last` would not be.

One entry per kind and transaction, with lists for the many. Together with `at`, the transaction's
instant, the facts are enough to make the rows anew (`audit` does so), except for what must not stand
here: names, addresses, ticket codes. An id is text, an instant is RFC 3339, money is in minor units.

    kind                facts
    accounts_opened     accounts currency credits
    wallet_topped_up    account_id ledger_id amount_minor
    performance_opened  performance_id seat_count blocked settings
    sale_paused         performance_id by
    sale_resumed        performance_id by
    single_seat_rule    performance_id rule by
    room_changed        performance_id changes by
    guest_invited       performance_id account_id by
    guest_disinvited    performance_id account_id by
    lottery_sealed      performance_id seed_hash beacon_source
    lottery_closed      performance_id participants participants_digest
    lottery_beacon      performance_id beacon by
    lottery_drawn       performance_id seed first_number
    queue_joined        performance_id entry_id account_id access_expires_at
    queue_numbered      performance_id first entries
    queue_admitted      performance_id entries access_expires_at
    guests_admitted     performance_id entries access_expires_at
    queue_retired       performance_id entries reason by
    queue_left          performance_id entry_id account_id
    access_shared       performance_id entry_id account_id
    pace_changed        percent reason
    hold_placed         performance_id hold_id entry_id account_id seats total_minor currency expires_at
                        holds_end_at displaced replaced replaced_reason freed
    hold_released       performance_id hold_id reason seats
    holds_expired       holds freed
    booking_paid        performance_id booking_id hold_id entry_id account_id ledger_id reference
                        total_minor currency tickets
    booking_cancelled   performance_id booking_id account_id ledger_id refund_minor tickets seats
    ticket_scanned      performance_id ticket_id seat_no

accounts, entries, holds: ids; the entries of `queue_numbered` in the order of their numbers, from `first`.
credits: [[account_id, ledger_id, amount_minor], …], the wallets that open with money in them.
settings: {name: value}, how sale and room were set when the performance was made. changes: the same of what
was set anew.
by: the account that did it; null for an operator's command, and for a stay that the house ended by itself.
Entries from before these were recorded lack `by` and `settings`; nothing is made anew from them.
seed, seed_hash, participants_digest: hex digits. participants: how many.
reason: of `queue_retired`, expired, no_show, idle or revoked; of `pace_changed`, as in `pace`.
`access_shared`: an access token was used from elsewhere than where it was used first.
access_expires_at: of `queue_joined`, null unless the customer was admitted at once.
seats: of `hold_placed`, [[seat_no, price_minor], …]; of a release or cancellation, the seat_nos that
became free by it, which are those that the update returned.
displaced: {seat_no: hold_id}, the dead holds from which seats were taken; their ends follow, by the sweeper.
replaced, replaced_reason: the customer's own hold that this one ended, and whether it was still alive
(`replaced`) or not (`expired`); null if there was none. freed: the seat_nos that it gave up by that.
freed: of `holds_expired`, {performance_id: [seat_no, …]}, without the seats that others had taken since.
tickets: of `booking_paid`, [[ticket_id, seat_no, price_minor], …]; of `booking_cancelled`, ids.

What is noted along the way (`swept_at`, `seen_at`, where an access was used first) changes nothing for
anybody and is not recorded.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

from webapp.db import Tx
from webapp.domain.model import JournalEntry, table_of
from webapp.domain.rows import inserting_many
from webapp.statements import Prepared, inserting

_JOURNAL = table_of(JournalEntry)
_OWN = ("attempt_id", "kind", "facts")  # what each entry of a transaction has of its own
_INSERT_MANY = inserting_many(_JOURNAL, ("at", *_OWN))


def write(tx: Tx) -> None:
    """Store `tx.journal` in one INSERT; the kernel calls this after the work and all its locks."""
    if len(tx.journal) > 1 and tx.connection.dialect.name == "postgresql":
        columns = {name: [getattr(entry, name) for entry in tx.journal] for name in _OWN}
        tx.fetch(_INSERT_MANY, at=[tx.now] * len(tx.journal), **columns)
        return
    parameters: dict[str, Any] = {"at": tx.now}
    for place, entry in enumerate(tx.journal):
        parameters[f"attempt_id_{place}"] = entry.attempt_id
        parameters[f"kind_{place}"] = entry.kind
        parameters[f"facts_{place}"] = entry.facts
    tx.fetch(_insert(len(tx.journal)), **parameters)


def as_facts(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as they stand here."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in settings.items()
    }


def told_by(organiser_id: uuid.UUID | None) -> str | None:
    """Return how `by` names who steers a sale; None is an operator."""
    return None if organiser_id is None else str(organiser_id)


@cache
def _insert(quantity: int) -> Prepared:
    rows = [{"at": "at"} | {name: f"{name}_{place}" for name in _OWN} for place in range(quantity)]
    return Prepared(inserting(_JOURNAL, *rows))
