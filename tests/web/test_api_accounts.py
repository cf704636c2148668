"""Accounts and sessions: who may come in, and what is kept of it."""

from sqlalchemy import select

from tests.builders import make_accounts
from tests.web.contract import Api, refused
from webapp.domain import accounts
from webapp.domain.model import Account, LoginSession, RateLimit
from webapp.web import sessions, throttle

NEW = {"email": "Somebody@Example.COM ", "password": "long enough", "name": " 김자리 "}
SIGN_IN = {"email": "somebody@example.com", "password": "long enough"}


def test_an_account_has_its_address_in_lower_case_and_an_empty_wallet(api: Api) -> None:
    account = api.ok("create_account", json=NEW)
    assert (account["email"], account["name"]) == ("somebody@example.com", "김자리")
    session = api.ok("create_session", json=SIGN_IN | {"email": " SOMEBODY@example.com"})
    bearer = {"Authorization": f"Bearer {session['session_token']}"}
    wallet = api.ok("get_wallet", headers=bearer)
    assert wallet == {"balance_minor": 0, "currency": "KRW"}


def test_neither_password_nor_session_token_is_kept(api: Api) -> None:
    api.ok("create_account", json=NEW)
    token = api.ok("create_session", json=SIGN_IN)["session_token"]
    assert len(token) >= 43
    kept = api.db.read(lambda tx: tx.execute(select(Account.password_hash)).scalar_one())
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    digests = api.db.read(lambda tx: tx.execute(select(LoginSession.digest)).scalars().all())
    assert digests == [accounts.digest(token)]


def test_an_unknown_address_costs_as_much_as_a_wrong_password() -> None:
    assert not sessions.HASHER.check_needs_rehash(sessions._NOBODY)


def test_an_account_without_a_password_cannot_sign_in(api: Api) -> None:
    [who] = make_accounts(api.db)
    for password in ("", "anything"):
        response = api.call("create_session", json={"email": who.email, "password": password})
        refused(response, 401, "bad_credentials")


def test_signing_in_says_no_more_than_that_it_failed(api: Api) -> None:
    for email in ("nobody@example.com", "no address", "", "a\x00b@example.com"):
        response = api.call("create_session", json={"email": email, "password": "long enough"})
        refused(response, 401, "bad_credentials")


def test_too_many_attempts_wait_for_the_window_to_pass(api: Api) -> None:
    api.ok("create_account", json=NEW)
    for _ in range(throttle.SIGN_IN.hits):
        api.call("create_session", json=SIGN_IN | {"password": "guess"})
    problem = refused(api.call("create_session", json=SIGN_IN), 429, "too_many_attempts")
    assert 0 < problem["retry_after"] <= throttle.SIGN_IN.window_seconds
    other = {"email": "other@example.com", "password": "guess"}
    refused(api.call("create_session", json=other), 401, "bad_credentials")
    api.db.clock.advance(problem["retry_after"] + 1)
    api.ok("create_session", json=SIGN_IN)


def test_who_signs_in_often_is_not_kept_out(api: Api) -> None:
    api.ok("create_account", json=NEW)
    for _ in range(throttle.SIGN_IN.hits + 1):
        api.ok("create_session", json=SIGN_IN)


def test_counting_attempts_keeps_no_address(api: Api) -> None:
    refused(api.call("create_session", json=SIGN_IN), 401, "bad_credentials")
    [key] = api.db.read(lambda tx: tx.execute(select(RateLimit.key)).scalars().all())
    assert "somebody" not in key


def test_a_session_ends_when_it_is_closed_or_over(api: Api) -> None:
    first, second = make_accounts(api.db, 2)
    api.ok("end_session", first)
    refused(api.call("get_wallet", first), 401, "session_invalid")
    refused(api.call("end_session", first), 401, "session_invalid")
    api.ok("get_wallet", second)
    api.db.clock.advance(12 * 3600 + 1)
    refused(api.call("get_wallet", second), 401, "session_expired")


MISFITS: list[tuple[str, object]] = [
    ("email", "no address"),
    ("email", "a@b"),
    ("email", "a@@b.co"),
    ("email", "a b@c.co"),
    ("email", "a@b..co"),
    ("email", "@b.co"),
    ("email", "a\x00@b.co"),
    ("email", f"{'a' * 250}@b.co"),
    ("email", f"a@{'İ' * 150}.co"),
    ("email", 5),
    ("email", None),
    ("password", "short"),
    ("password", "x" * 201),
    ("password", 12345678),
    ("name", ""),
    ("name", "   "),
    ("name", "x" * 201),
    ("name", "a\x00b"),
    ("name", ["Kim"]),
]


def test_an_account_that_does_not_fit_says_where(api: Api) -> None:
    for field, value in MISFITS:
        problem = refused(api.call("create_account", json=NEW | {field: value}), 422, "invalid")
        assert [fault["pointer"] for fault in problem["errors"]] == [f"/{field}"], value


def test_all_faults_are_named_at_once(api: Api) -> None:
    problem = refused(api.call("create_account", json={}), 422, "invalid")
    assert [fault["pointer"] for fault in problem["errors"]] == ["/email", "/password", "/name"]
