"""Every query of the audit's invariants finds what it is for.

The tables are temporary copies without constraints, broken one way at a time: what the schema refuses is
tried here as well, because the audit is there for the day when something got past it.
"""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from flask import Flask
from sqlalchemy import Uuid, bindparam, insert, select, text, update

from tests.busy import play
from tests.conftest import AdvancingClock
from webapp.db import Database, Tx
from webapp.domain.audit.invariants import INVARIANTS, REFERENCES
from webapp.domain.audit.invariants.invariant import Query
from webapp.domain.model import Account, Base, IdempotencyKey, Instant

ONE_TICKET = "(SELECT id FROM ticket WHERE voided_at IS NULL ORDER BY id LIMIT 1)"
ONE_BOOKING = "(SELECT booking_id FROM ticket WHERE voided_at IS NULL ORDER BY id LIMIT 1)"
OPEN_HOLD = "(SELECT hold_id FROM seat WHERE hold_id IS NOT NULL ORDER BY seat_no LIMIT 1)"
NOBODY = uuid.UUID(int=7)
LATER = datetime(2099, 1, 1, tzinfo=UTC)
# The beginning of each sentence, and what makes it true.
BROKEN = {
    "performance {performance}: {sold} sold": "DELETE FROM seat WHERE seat_no = 17",
    "seatmap {seatmap} has": "DELETE FROM seat_place WHERE seat_no = 17",
    "seat {performance}/{seat} has {tickets} live": f"""
        INSERT INTO ticket (id, booking_id, performance_id, seat_no, price_minor, code)
        SELECT :nobody, booking_id, performance_id, seat_no, price_minor, 'X' FROM ticket
        WHERE id = {ONE_TICKET}""",
    "seat {performance}/{seat} is not one person's": "UPDATE seat SET blocked = true",
    "ticket {ticket} is live": "UPDATE seat SET ticket_id = NULL",
    "seat {performance}/{seat} has ticket": f"""
        UPDATE ticket SET seat_no = 18 WHERE id = {ONE_TICKET}""",
    "seat {performance}/{seat} is held until": "UPDATE seat SET held_until = :later "
    "WHERE hold_id IS NOT NULL",
    "hold {hold} was swept": f"UPDATE hold SET swept_at = :later WHERE id = {OPEN_HOLD}",
    "booking {booking} was paid at": "UPDATE hold SET expires_at = ended_at "
    "WHERE end_reason = 'paid'",
    "booking {booking} differs from": f"""
        UPDATE booking SET total_minor = total_minor + 1 WHERE id = {ONE_BOOKING}""",
    "hold {hold} was paid and there is no": f"DELETE FROM booking WHERE id = {ONE_BOOKING}",
    "booking {booking} cost {total}, its tickets": f"""
        UPDATE ticket SET price_minor = price_minor + 1 WHERE id = {ONE_TICKET}""",
    "booking {booking} cost {total} at": "DELETE FROM ledger_entry WHERE kind = 'spend'",
    "booking {booking} was paid {times}": """
        INSERT INTO ledger_entry (id, account_id, kind, amount_minor, booking_id, at)
        SELECT :nobody, account_id, kind, amount_minor, booking_id, at FROM ledger_entry
        WHERE kind = 'spend' ORDER BY id LIMIT 1""",
    "booking {booking} over {total}": f"""
        UPDATE booking SET cancelled_at = paid_at WHERE id = {ONE_BOOKING}""",
    "booking {booking} was refunded": """
        INSERT INTO ledger_entry (id, account_id, kind, amount_minor, booking_id, at)
        SELECT :nobody, account_id, kind, amount_minor, booking_id, at FROM ledger_entry
        WHERE kind = 'refund' ORDER BY id LIMIT 1""",
    "booking {booking}, cancelled at": "UPDATE ticket SET voided_at = NULL "
    "WHERE voided_at IS NOT NULL",
    "wallet {wallet} holds": "UPDATE wallet SET balance_minor = 0",
    "customer {account} at performance {performance}: counted": """
        UPDATE allowance SET seats_bought = seats_bought + 1""",
    "customer {account} at performance {performance} has": "DELETE FROM allowance",
    "hold {hold} is open": "UPDATE allowance SET hold_id = NULL",
    "performance {performance} gave": "UPDATE room_progress SET last_number = last_number + 1",
    "customer {account} waits": """
        UPDATE queue_entry SET ended_at = NULL, end_reason = NULL, retired_at = NULL""",
    "queue entry {entry} cannot be": "UPDATE queue_entry SET end_reason = NULL",
    "queue entry {entry} ended as paid": """
        UPDATE hold SET end_reason = 'left' WHERE end_reason = 'paid'""",
    "hold {hold}, placed at": "UPDATE queue_entry SET holds_end_at = admitted_at",
    "hold {hold} lives": "UPDATE queue_entry SET ended_at = :later, end_reason = 'left'",
    "hold {hold} was paid at": "UPDATE queue_entry SET ended_at = :later WHERE end_reason = 'paid'",
    "queue entry {entry} has an end": "DELETE FROM hold",
}


@pytest.fixture
def sandbox(app: Flask, db: Database, clock: AdvancingClock) -> Iterator[Tx]:
    """A busy sale's tables as temporary copies, which hide the real ones and have no constraints."""
    play(app, db, clock)
    real = "main" if db.is_sqlite else "public"
    with db.writer.connect() as connection, connection.begin() as transaction:
        for name in Base.metadata.tables:
            connection.exec_driver_sql(f"CREATE TEMP TABLE {name} AS SELECT * FROM {real}.{name}")
        yield Tx(connection, db.clock.now())
        transaction.rollback()


def found(tx: Tx, query: Query) -> int:
    return len(tx.execute(query, {"instant": tx.now}).all())


def test_every_query_of_every_invariant_finds_what_it_is_for(sandbox: Tx) -> None:
    parameters = [bindparam("nobody", NOBODY, Uuid), bindparam("later", LATER, Instant)]
    untried = set(BROKEN)
    for invariant in INVARIANTS:
        for query, sentence in invariant.broken if invariant is not REFERENCES else ():
            [beginning] = [key for key in BROKEN if sentence.startswith(key)]
            untried.remove(beginning)
            assert found(sandbox, query) == 0, sentence
            with sandbox.connection.begin_nested() as savepoint:
                statement = text(BROKEN[beginning])
                used = [p for p in parameters if f":{p.key}" in BROKEN[beginning]]
                sandbox.execute(statement.bindparams(*used))
                assert found(sandbox, query) >= 1, sentence
                savepoint.rollback()
    assert not untried


def test_every_dangling_reference_is_found(sandbox: Tx) -> None:
    sandbox.execute(
        insert(IdempotencyKey).values(
            account_id=select(Account.id).limit(1).scalar_subquery(),
            method="POST",
            path="/",
            key="k",
            request_digest=b"",
            status=201,
            answer={},
            expires_at=sandbox.now,
        )
    )
    for query, sentence in REFERENCES.broken:
        [reference] = query.selected_columns[0].base_columns
        nothing = NOBODY if isinstance(reference.type, Uuid) else 777
        assert found(sandbox, query) == 0, sentence
        with sandbox.connection.begin_nested() as savepoint:
            sandbox.execute(update(reference.table).values({reference.name: nothing}))
            assert found(sandbox, query) == 1, sentence
            savepoint.rollback()


def test_every_reference_has_a_foreign_key_or_is_checked() -> None:
    """A column named like a table's key refers to it; nobody may forget to prove it."""
    checked = {
        f"{column.table.name}.{column.name}"
        for query, _ in REFERENCES.broken
        for column in query.selected_columns[0].base_columns
    }
    for table in Base.metadata.tables.values():
        for column in table.columns:
            name = f"{table.name}.{column.name}"
            if column.name.endswith("_id") and not column.foreign_keys and name not in NO_REFERENCE:
                assert name in checked


# The transaction's own name, and a process's.
NO_REFERENCE = {"journal_entry.attempt_id", "process_health.process_id", "retry_count.process_id"}
