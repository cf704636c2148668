"""Refusals that follow from what a call needs: a session, a token, a body, a key, a database.

Each is provoked in one way for every call that declares it.
"""

import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
from werkzeug.test import TestResponse

from tests.builders import Customer, make_accounts, make_sale
from tests.faults import Faults, sqlite_error
from tests.web.contract import BY_NAME, Api
from tests.web.given import Given, given
from tests.web.visitors import expired_session, expired_token, new_key
from webapp.db import Database
from webapp.web.snapshots import Snapshots


def _with(**changes: Any) -> Callable[[Api, str], TestResponse]:
    return lambda api, name: api.call(name, **(given(api, name) | changes))


def _bearer(token: str) -> Customer:
    return Customer(uuid.uuid4(), "nobody@example.com", token)


def _expired_session(api: Api, name: str) -> TestResponse:
    one = given(api, name)
    who = one.get("who") or make_accounts(api.db)[0]
    return api.call(name, **(one | {"who": expired_session(api.db, who)}))


def _token(change: Callable[[Api, str, str], str]) -> Callable[[Api, str], TestResponse]:
    def provoke(api: Api, name: str) -> TestResponse:
        kind = str(BY_NAME[name].token)
        one = given(api, name)
        return api.call(name, **(one | {kind: change(api, kind, one[kind])}))

    return provoke


def _of_somebody_else(api: Api, name: str) -> TestResponse:
    return api.call(name, **(given(api, name) | {"who": make_accounts(api.db)[0]}))


def _of_another_performance(api: Api, name: str) -> TestResponse:
    return api.call(name, **(given(api, name) | {"path": {"performance_id": make_sale(api.db)}}))


def _role_missing(api: Api, name: str) -> TestResponse:
    return api.call(name, **(given(api, name) | {"who": make_accounts(api.db)[0]}))


def _invalid(api: Api, name: str) -> TestResponse:
    operation, one = BY_NAME[name], given(api, name)
    if operation.body:
        return api.call(name, **(one | {"json": {}}))
    if operation.query:
        parameter = next(iter(operation.query.model_fields))
        return api.call(name, **(one | {"query": {parameter: "x" * 100}}))
    return api.call(name, **(one | {"key": "k" * 256}))


def _key_reused(api: Api, name: str) -> TestResponse:
    one = given(api, name) | {"key": new_key()}
    assert api.call(name, **one).status_code < 300
    return api.call(name, **(one | {"json": {"another": "body"}}))


def _not_found(api: Api, name: str) -> TestResponse:
    one = given(api, name)
    strangers = {
        "slug": "no-such-event",
        "performance_id": 2**31 - 1,
        "hold_id": uuid.uuid4(),
        "reference": "NOSUCH22",
        "code": "NOSUCH22",
    }
    if "path" in one and name != "place_hold":
        return api.call(name, **(one | {"path": {part: strangers[part] for part in one["path"]}}))
    return api.call(
        name, **(one | {"json": {part: strangers[part] for part in one["json"]} | _whose(name)})
    )


def _whose(name: str) -> Given:
    return {"hold_id": str(uuid.uuid4())} if name == "pay" else {}


def _busy(api: Api, name: str) -> TestResponse:
    """All connections are taken, and nothing is remembered."""
    one = given(api, name)
    for cache in vars(api.house).values():
        if isinstance(cache, Snapshots):
            cache.forget()
    with ExitStack() as stack:
        for engine in (api.db.writer, api.db.reader):
            for _ in range(engine.pool.size()):
                stack.enter_context(engine.connect())
        return api.call(name, **one)


def _outcome_unknown(api: Api, name: str) -> TestResponse:
    """COMMIT's answer is lost, and its witness cannot be asked in time."""
    one = given(api, name)
    api.db.clock.now()
    with witness_out_of_reach(api.db):
        return api.call(name, **one)


@contextmanager
def witness_out_of_reach(db: Database) -> Iterator[None]:
    faults, address = Faults(db), db.writer.url
    stranger: Any = (
        sqlite3.connect(str(address.database), isolation_level=None)
        if db.is_sqlite
        else psycopg.connect(
            address.set(drivername="postgresql").render_as_string(hide_password=False),
            autocommit=True,
        )
    )

    def lose(connection: Any) -> None:
        connection.commit()
        stranger.execute("BEGIN IMMEDIATE" if db.is_sqlite else "BEGIN")
        if db.is_sqlite:
            raise sqlite_error("SQLITE_IOERR")
        stranger.execute("LOCK TABLE journal_entry IN EXCLUSIVE MODE")
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    faults.at_commit(lose)
    try:
        yield
    finally:
        stranger.close()
    assert faults.fired == 1


ALIKE: dict[str, Callable[[Api, str], TestResponse]] = {
    "session_missing": _with(who=None),
    "session_invalid": _with(who=_bearer("never-given-out-" + "x" * 30)),
    "session_expired": _expired_session,
    "role_missing": _role_missing,
    "token_missing": _token(lambda api, kind, text: ""),
    "token_malformed": _token(lambda api, kind, text: text.replace(".", "")),
    "token_invalid": _token(lambda api, kind, text: text[:-8] + "AAAAAAAA"),
    "token_expired": _token(lambda api, kind, text: expired_token(api.house.tokens, kind, text)),
    "token_wrong_customer": _of_somebody_else,
    "token_wrong_performance": _of_another_performance,
    "malformed": _with(json=None, data=b"{", content_type="application/json"),
    "too_large": _with(json={"filler": "x" * 70_000}),
    "invalid": _invalid,
    "not_found": _not_found,
    "idempotency_key_missing": _with(key=None),
    "idempotency_key_reused": _key_reused,
    "idempotency_key_refused": _with(key="any"),
    "busy": _busy,
    "outcome_unknown": _outcome_unknown,
}
