"""`flask --app wsgi locks`: who waits for whom, what was run again, which seats everybody wants."""

import json
import re
import threading
import time
from pathlib import Path

import psycopg
import pytest
from flask import Flask
from sqlalchemy import text

from tests.builders import enter, make_accounts, make_sale, place
from tests.conftest import AdvancingClock, config_for, dispose
from tests.faults import CONFLICTS, Faults
from tests.servers import Scheduler, Web, until
from webapp import create_app
from webapp.db import Database, Tx, new_id
from webapp.domain import holds, retries
from webapp.metrics import RetryTeller

LOCK_TIMEOUT_SECONDS = 3.0


def test_locks_shows_who_waits_for_whom_and_the_busiest_seats(
    app: Flask, db: Database, database_url: str
) -> None:
    sale = make_sale(db)
    for number, customer in enumerate(make_accounts(db, 3)):
        admitted = enter(db, customer, sale)
        held = place(db, admitted, [7, 8] if number else [7])
        db.transact(holds.release, held.id, customer.id)
    place(db, enter(db, make_accounts(db)[0], sale), [8])
    done = app.test_cli_runner().invoke(args=["locks", "--json"])
    found = json.loads(done.output)
    assert found["blocked"] == []
    assert [seat["holds"] for seat in found["busiest_seats"]] == [3, 3]
    if db.is_sqlite:
        return
    with psycopg.connect(database_url) as blocking, psycopg.connect(database_url) as blocked:
        pids = (str(blocked.info.backend_pid), str(blocking.info.backend_pid))
        blocking.execute("SELECT 1 FROM seat WHERE seat_no = 1 FOR UPDATE")
        waiting = threading.Thread(
            target=lambda: blocked.execute("SELECT 1 FROM seat WHERE seat_no = 1 FOR UPDATE")
        )
        waiting.start()
        while not db.read(_count_who_wait):
            time.sleep(0.02)
        done = app.test_cli_runner().invoke(args=["locks"])
        blocking.rollback()
        waiting.join()
    assert re.findall(r"(\d+) has waited [\d.]+ s for (\d+)", done.output) == [pids]


def conflicts(app: Flask, *words: str) -> dict[tuple[str, str, int], int]:
    done = app.test_cli_runner().invoke(args=["locks", "--json", *words])
    rows = json.loads(done.output)["conflicts"]
    return {(row["code"], row["function"], row["attempt"]): row["times"] for row in rows}


def test_locks_tells_the_conflicts_of_the_last_minutes_although_nobody_watched(
    app: Flask, db: Database, clock: AdvancingClock
) -> None:
    sale, faults, teller = make_sale(db), Faults(db), RetryTeller(db)
    code = CONFLICTS[db.writer.dialect.name][0]

    def lose(times: int) -> None:
        [customer] = make_accounts(db)
        inside = enter(db, customer, sale)
        faults.at_statement(1, code, times=times)
        db.transact(holds.release, place(db, inside, [1]).id, customer.id)
        teller.tell()

    lose(2)
    lose(1)
    found = conflicts(app)
    [(_, function, _), _] = found
    assert found == {(code, function, 1): 2, (code, function, 2): 1}
    clock.advance(180)
    assert conflicts(app, "--minutes", "1") == {}
    assert conflicts(app) == found
    lose(1)
    assert conflicts(app, "--minutes", "1") == {(code, function, 1): 1}
    assert conflicts(app)[code, function, 1] == 3
    text = app.test_cli_runner().invoke(args=["locks"]).output
    assert re.search(rf"3 ×  {code}  .*place.*, attempt 1", text)


def test_processes_tell_of_themselves_and_what_they_said_twice_counts_once(
    app: Flask, db: Database
) -> None:
    cause, minute = ("40001", "place", 1), db.clock.now()
    processes = [new_id(), new_id()]
    for process_id, times in zip(processes, (3, 4), strict=True):
        for _ in range(2):
            db.transact(retries.tell, process_id, minute, {cause: times})
    assert conflicts(app) == {cause: 7}


def test_retries_that_could_not_be_told_are_told_the_next_time(
    app: Flask, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    teller, faults = RetryTeller(db), Faults(db)
    code = CONFLICTS[db.writer.dialect.name][0]
    faults.at_statement(1, code)
    make_accounts(db)
    faults.at_statement(1, code)
    with monkeypatch.context() as patched:
        patched.setattr(db, "_budget", -1.0)
        teller.tell_or_wait()
    assert faults.fired == 1
    assert conflicts(app) == {}
    teller.tell_or_wait()
    assert sum(conflicts(app).values()) == 2  # the customer's, and the telling's own


@pytest.mark.slow
@pytest.mark.postgres
def test_web_workers_and_schedulers_tell_by_themselves(postgres_url: str, tmp_path: Path) -> None:
    app = create_app(config_for(postgres_url))
    db: Database = app.extensions["jari"].db
    [customer] = make_accounts(db)
    headers = customer.bearer | {"Idempotency-Key": "k", "Content-Type": "application/json"}

    def top_up() -> None:
        url = "/api/v1/wallet/top-ups"
        web.http.request("POST", url, headers=headers, body=b'{"amount_minor": 5}')

    def told() -> set[str]:
        return {function for code, function, _ in conflicts(app) if code == "55P03"}

    with (
        Web(postgres_url, tmp_path / "web.log", workers=1) as web,
        Scheduler(postgres_url, tmp_path / "jobs.log"),
        psycopg.connect(postgres_url) as stranger,
    ):
        stranger.execute("SELECT 1 FROM wallet, job_lease FOR UPDATE")
        asking = threading.Thread(target=top_up)
        asking.start()
        until(lambda: db.read(_count_who_wait) > 1)  # the customer, and a job
        time.sleep(LOCK_TIMEOUT_SECONDS + 0.5)
        stranger.rollback()
        asking.join()
        assert until(lambda: len(told()) > 1 and told(), 15) >= {"_top_up", "acquire"}
    dispose(app)


def _count_who_wait(tx: Tx) -> int:
    query = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    return int(tx.execute(query).scalar_one())
