"""`flask --app wsgi locks`: who waits for whom, what was undone, which seats everybody wants."""

import json
import re
import threading
import time

import psycopg
from flask import Flask
from sqlalchemy import text

from tests.builders import enter, make_accounts, make_sale, place
from webapp.db import Database, Tx
from webapp.domain import holds


def test_locks_shows_who_waits_for_whom_and_the_busiest_seats(
    app: Flask, db: Database, database_url: str
) -> None:
    sale = make_sale(db)
    for number, customer in enumerate(make_accounts(db, 3)):
        admitted = enter(db, customer, sale)
        held = place(db, admitted, [7, 8] if number else [7])
        db.transact(holds.release, held.id, customer.id)
    place(db, enter(db, make_accounts(db)[0], sale), [8])
    done = app.test_cli_runner().invoke(args=["locks", "--json", "--seconds", "0.1"])
    found = json.loads(done.output)
    assert found["blocked"] == []
    assert [seat["holds"] for seat in found["busiest_seats"]] == [3, 3]
    if db.is_sqlite:
        return
    assert found["commits"] >= 0
    with psycopg.connect(database_url) as blocking, psycopg.connect(database_url) as blocked:
        pids = (str(blocked.info.backend_pid), str(blocking.info.backend_pid))
        blocking.execute("SELECT 1 FROM seat WHERE seat_no = 1 FOR UPDATE")
        waiting = threading.Thread(
            target=lambda: blocked.execute("SELECT 1 FROM seat WHERE seat_no = 1 FOR UPDATE")
        )
        waiting.start()
        while not db.read(_somebody_waits):
            time.sleep(0.02)
        done = app.test_cli_runner().invoke(args=["locks", "--seconds", "0.1"])
        blocking.rollback()
        waiting.join()
    assert re.findall(r"(\d+) has waited [\d.]+ s for (\d+)", done.output) == [pids]


def _somebody_waits(tx: Tx) -> bool:
    query = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    return bool(tx.execute(query).scalar())
