"""What operators see: the numbers are right, the lines are JSON, and nothing waits for a lost database."""

import json
import re
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from jobs import JOBS
from jobs.__main__ import RUNS, Runner
from tests.builders import enter, make_accounts, make_sale, pay, place
from tests.conftest import AdvancingClock, config_for, dispose
from tests.faults import CONFLICTS, Faults
from tests.kernel.counted import Rise
from tests.servers import Web
from tests.shoppers import Shopper
from tests.web.contract import Api
from tests.web.visitors import ush, visitor
from webapp import create_app
from webapp.db import Database, new_id
from webapp.domain import bookings, holds, leases
from webapp.metrics import BOOKINGS, HOLDS, QUEUE
from webapp.web.house import House


def numbers(client: FlaskClient) -> dict[str, float]:
    """Read /metrics: what each line is called, with its labels, and its value."""
    text = client.get("/metrics").text
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def test_what_happened_is_counted_once_it_is_committed(db: Database, clock: AdvancingClock) -> None:
    sale = make_sale(db, hold_seconds=60)
    one, other, late = make_accounts(db, 3)
    admitted = enter(db, one, sale)
    with Rise(HOLDS) as of_holds, Rise(BOOKINGS) as of_bookings, Rise(QUEUE) as of_queue:
        place(db, admitted, [1])
        booked = pay(db, admitted, place(db, admitted, [2]))
        db.transact(bookings.cancel, booked, new_id())
        held = place(db, enter(db, other, sale), [3])
        db.transact(holds.release, held.id, other.id)
        dead = place(db, enter(db, late, sale), [4])
        clock.advance(61)
        db.transact(holds.expire, [dead.id])
    assert of_holds.by == {
        ("placed",): 4,
        ("replaced",): 1,
        ("paid",): 1,
        ("released",): 1,
        ("expired",): 1,
    }
    assert of_bookings.by == {("paid",): 1, ("cancelled",): 1}
    assert of_queue.by == {("joined",): 2}


def test_rooms_jobs_and_pools_are_in_the_metrics(api: Api, clock: AdvancingClock) -> None:
    sale = make_sale(api.db, capacity=1)
    for _ in range(3):
        visitor(api, sale).join()
    clock.advance(5)
    ush(api)
    found = numbers(api.client)
    assert found["jari_database_up"] == 1
    assert found[f'jari_queue_waiting{{performance="{sale}"}}'] == 2
    assert found[f'jari_queue_active{{performance="{sale}"}}'] == 1
    assert found[f'jari_queue_admitted_last_minute{{performance="{sale}"}}'] == 1
    assert 5 <= found[f'jari_queue_oldest_wait_seconds{{performance="{sale}"}}'] < 60
    assert {f'jari_job_lease_seconds{{job="{job.name}"}}' for job in JOBS} <= found.keys()
    with api.db.writer.connect():
        in_use = numbers(api.client)['jari_pool_connections_in_use{pool="writer"}']
    assert numbers(api.client)['jari_pool_connections_in_use{pool="writer"}'] == in_use - 1


def test_metrics_are_those_of_all_workers(sqlite_url: str, tmp_path: Path) -> None:
    counted = 'jari_request_seconds_count{method="GET",route="/healthz",status="200"}'

    def read(web: Web) -> float:
        text = web.http.request("GET", "/metrics", headers={"Connection": "close"}).data.decode()
        return float(re.search(rf"^{re.escape(counted)} (\S+)$", text, re.M)[1])

    with Web(sqlite_url, tmp_path / "web.log", workers=2) as web:
        first = read(web)
        for _ in range(40):
            web.http.request("GET", "/healthz", headers={"Connection": "close"})
        assert {read(web) for _ in range(10)} == {first + 40}  # whichever worker is asked


def test_waiting_for_a_connection_is_measured(database_url: str) -> None:
    app = create_app(config_for(database_url, pool_size=1, pool_timeout_seconds=0.02))
    db: Database = app.extensions["jari"].db
    counted = 'jari_pool_wait_seconds_count{pool="reader"}'
    before = numbers(app.test_client()).get(counted, 0)
    with db.reader.connect():
        assert app.test_client().get("/").status_code == 503
    assert numbers(app.test_client())[counted] > before
    dispose(app)


def test_job_runs_are_counted_by_how_they_ended(db: Database, clock: AdvancingClock) -> None:
    first, second = (Runner(db, JOBS[1]) for _ in range(2))
    name = JOBS[1].name
    with Rise(RUNS) as runs:
        first.run()
        second.run()
        clock.advance(leases.LIFETIME_SECONDS + 1)
        second.run()
        first.run()
    assert runs.by == {(name, "done"): 2, (name, "stood by"): 1, (name, "lost"): 1}


@pytest.mark.failure("F34")
def test_metrics_are_there_without_a_database(tmp_path: Path) -> None:
    app = create_app(config_for(f"sqlite:///{tmp_path / 'no' / 'jari.sqlite3'}"))
    found = numbers(app.test_client())
    assert found["jari_database_up"] == 0


def test_each_request_is_one_line_of_json(postgres_url: str, tmp_path: Path) -> None:
    app = create_app(config_for(postgres_url))
    house: House = app.extensions["jari"]
    sale = make_sale(house.db)
    [customer] = make_accounts(house.db)
    with Web(postgres_url, tmp_path / "web.log", workers=1) as web:
        shopper = Shopper(web.http, customer, sale)
        request_id = shopper.join().headers["X-Request-Id"]
    said = web.said()  # it writes what it has kept when it ends
    dispose(app)
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    [line] = [line for line in lines if line.get("request_id") == request_id]
    assert line["account_id"] == str(customer.id)
    assert line["route"] == "/api/v1/performances/<int:performance_id>/queue"
    assert (line["method"], line["status"], line["retries"]) == ("POST", 201, 0)
    assert line["milliseconds"] > 0
    assert re.match(r"\d{4}-\d\d-\d\dT.*Z$", line["timestamp"])


def test_retries_are_in_the_line(app: Flask, api: Api, caplog: pytest.LogCaptureFixture) -> None:
    one = visitor(api).join()
    faults = Faults(api.db)
    faults.at_statement(1, CONFLICTS[api.db.writer.dialect.name][0], times=2)
    with caplog.at_level("INFO", "jari.request"):
        one.choose("ST-A-1")
        one.pay()
    retries = [record.said["retries"] for record in caplog.records]
    assert retries == [2, 0]
