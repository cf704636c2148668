"""Who somebody is: addresses are unique, sessions end, attempts are counted exactly."""

import uuid
from datetime import timedelta

import pytest
from sqlalchemy import select

from tests.builders import make_accounts
from tests.conftest import AdvancingClock
from tests.faults import Faults
from webapp.db import Database, new_id
from webapp.domain import accounts, wallet
from webapp.domain.accounts import NewAccount
from webapp.domain.errors import EmailTaken
from webapp.domain.model import LoginSession

HOUR = timedelta(hours=1)


def test_an_account_comes_with_its_wallet(db: Database) -> None:
    new = NewAccount(uuid.uuid4(), "a@example.com", "A", balance_minor=700, ledger_id=new_id())
    db.transact(accounts.create, [new], "EUR", HOUR)
    assert db.lookup(wallet.get, new.id) == wallet.Balance(700, "EUR")
    [movement] = db.read(wallet.list_movements, new.id, None, 10)
    assert (movement.kind, movement.amount_minor) == ("top_up", 700)


def test_an_address_is_taken_once_and_nothing_of_the_second_is_kept(db: Database) -> None:
    [known] = make_accounts(db)
    fresh = NewAccount(uuid.uuid4(), "fresh@example.com", "Fresh")
    with pytest.raises(EmailTaken):
        db.transact(
            accounts.create, [fresh, NewAccount(uuid.uuid4(), known.email, "Thief")], "KRW", HOUR
        )
    assert db.lookup(accounts.find_credentials, "fresh@example.com") is None


def test_credentials_are_found_however_the_address_is_written(db: Database) -> None:
    [known] = make_accounts(db)
    found = db.lookup(accounts.find_credentials, f"  {known.email.upper()} ")
    assert found is not None
    assert found.account_id == known.id
    assert db.lookup(accounts.find_credentials, "nobody@example.com") is None


# -- sessions -----------------------------------------------------------------------------------------


def state(db: Database, digest: bytes) -> str | None:
    found = db.lookup(accounts.find_session, digest)
    return found[1] if found else None


def test_a_session_lives_expires_or_is_revoked(db: Database, clock: AdvancingClock) -> None:
    [customer] = make_accounts(db)
    one, other = accounts.digest("one"), accounts.digest("other")
    expires_at = db.transact(accounts.open_session, customer.id, one, HOUR)
    db.transact(accounts.open_session, customer.id, other, HOUR)
    assert timedelta(minutes=59) < expires_at - clock.now() <= HOUR
    db.transact(accounts.close_session, other)
    db.transact(accounts.close_session, other)
    assert (state(db, one), state(db, other)) == ("live", "revoked")
    clock.advance(3_601)
    assert (state(db, one), state(db, other)) == ("expired", "revoked")
    assert state(db, accounts.digest("never")) is None


def test_a_session_says_whose_it_is(db: Database) -> None:
    [steward] = make_accounts(db, role="door")
    found = db.lookup(accounts.find_session, accounts.digest(steward.session))
    assert found is not None
    assert (found[0].id, found[0].email, found[0].role) == (steward.id, steward.email, "door")


def test_of_a_token_only_the_digest_is_kept(db: Database) -> None:
    [customer] = make_accounts(db)
    kept = db.read(lambda tx: tx.execute(select(LoginSession.digest)).scalars().all())
    assert accounts.digest(customer.session) in kept
    assert not any(customer.session.encode() in digest for digest in kept)


@pytest.mark.failure("F44")
def test_signing_in_survives_a_lost_commit(db: Database) -> None:
    """It writes no journal and so has no witness: it is done again, and once is the same as twice."""
    [customer] = make_accounts(db)
    faults = Faults(db)
    for lose in (faults.commit_lost_after, faults.commit_lost_before):
        digest = accounts.digest(lose.__name__)
        lose()
        expires_at = db.transact(accounts.open_session, customer.id, digest, HOUR)
        kept = select(LoginSession.expires_at).where(LoginSession.digest == digest)
        assert db.read(lambda tx, q=kept: tx.execute(q).scalars().all()) == [expires_at]


# -- attempts -----------------------------------------------------------------------------------------


def test_attempts_over_the_limit_wait_for_the_window_to_end(
    db: Database, clock: AdvancingClock
) -> None:
    def attempt(key: str = "k") -> int:
        return db.transact(accounts.count_attempt, key, 3, 60)

    assert [attempt() for _ in range(3)] == [0, 0, 0]
    assert 55 <= attempt() <= 60
    assert attempt("another") == 0
    clock.advance(30)
    assert 25 <= attempt() <= 30
    clock.advance(31)
    assert attempt() == 0


def test_a_success_starts_the_count_anew(db: Database) -> None:
    for _ in range(5):
        db.transact(accounts.count_attempt, "k", 3, 60)
    db.transact(accounts.forget_attempts, "k")
    assert db.transact(accounts.count_attempt, "k", 3, 60) == 0
