"""The audit job: what `flask verify` finds, as numbers and in the log; one process does it for all."""

import logging

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import update

from jobs import audit
from tests.builders import enter, make_accounts, make_sale, pay, place
from tests.conftest import AdvancingClock
from webapp.db import Database
from webapp.domain import leases
from webapp.domain.leases import LeaseLost
from webapp.domain.model import Wallet


def lead(db: Database) -> int:
    fence = db.transact(leases.acquire, "audit")
    assert fence is not None
    return fence


def metric(name: str, check: str | None = None) -> float | None:
    return REGISTRY.get_sample_value(name, {"check": check} if check else {})


def test_a_clean_house_has_no_differences(db: Database, clock: AdvancingClock) -> None:
    sale = make_sale(db)
    [customer] = make_accounts(db)
    inside = enter(db, customer, sale)
    pay(db, inside, place(db, inside, [1, 2]))
    clock.advance(60)
    before = clock.now().timestamp()
    assert audit.run(db, lead(db)) == 0
    assert metric("jari_audit_differences", "balances") == 0
    assert metric("jari_audit_checked", "journal_tickets") == 2
    finished = metric("jari_audit_finished_at_seconds")
    assert finished is not None
    assert before <= finished <= clock.now().timestamp()


def test_a_difference_is_counted_and_named(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    [customer] = make_accounts(db)
    with db.writer.begin() as connection:
        connection.execute(
            update(Wallet).where(Wallet.account_id == customer.id).values(balance_minor=1)
        )
    with caplog.at_level(logging.ERROR, "jari.audit"):
        assert audit.run(db, lead(db)) == 1
    assert metric("jari_audit_differences", "balances") == 1
    assert metric("jari_audit_differences", "capacity") == 0
    assert f"balances: wallet {customer.id} holds 1, its ledger says 1000000" in caplog.text
    assert customer.email not in caplog.text


def test_one_process_audits_for_all(db: Database, clock: AdvancingClock) -> None:
    fence = lead(db)
    audit.run(db, fence)
    clock.advance(audit.INTERVAL_SECONDS)
    assert db.transact(leases.acquire, "audit") is None, "a standby must not use the pause"
    audit.run(db, fence)
    clock.advance(audit.LEASE_SECONDS + 1)
    lead(db)
    with pytest.raises(LeaseLost):
        audit.run(db, fence)
