"""The booking path's health: counted in the process, reported, and felt by admission."""

import uuid

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, update

from jobs import usher
from tests.builders import make_accounts, make_sale
from tests.conftest import AdvancingClock
from tests.faults import Faults
from tests.web.contract import Api
from tests.web.visitors import visitor
from webapp.db import Busy, Database, new_id
from webapp.domain import leases, pace, rooms, waiting_room
from webapp.domain.model import Pace, ProcessHealth
from webapp.domain.pace import Health
from webapp.domain.waiting_room import Arrival
from webapp.web import actions
from webapp.web.health import Meter


@pytest.fixture
def api(app: Flask) -> Api:
    return Api(app)


def reported(db: Database) -> list[tuple[int, int]]:
    query = select(ProcessHealth.requests, ProcessHealth.errors)
    return db.read(lambda tx: [(row.requests, row.errors) for row in tx.execute(query)])


def test_requests_of_the_booking_path_are_counted_and_no_others(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = api.house.health
    someone = visitor(api).join().choose("ST-A-1")  # one hold
    api.ok("get_wallet", someone.who)
    health = meter.take()
    assert (health.requests, health.errors) == (1, 0)

    def busy(*_: object) -> None:
        raise Busy("test")

    monkeypatch.setattr(actions, "place_hold", busy)
    json = {"seats": ["ST-A-2"]}
    more = {"path": someone.path, "access": someone.access, "json": json}
    assert api.call("place_hold", someone.who, **more).status_code == 503
    health = meter.take()
    assert (health.requests, health.errors) == (2, 1)


def test_a_report_is_stored_in_one_row_and_nothing_is_no_report(db: Database) -> None:
    meter = Meter(db)
    meter.report()
    assert reported(db) == []
    for requests in (30, 50):
        for number in range(requests):
            meter.note(0.01 * number, failed=number == 0)
        meter.report()
        assert reported(db) == [(requests, 1)]


def test_a_report_goes_back_until_it_is_enough_to_tell_and_ten_seconds_at_most(
    db: Database,
) -> None:
    meter = Meter(db)
    for requests, told in ((30, 30), (12, 12), (6, 18), (4, 10), (0, 10), (1, 11), (0, 11), (0, 5)):
        for _ in range(requests):
            meter.note(0.01, failed=False)
        assert meter.take().requests == told


def test_a_process_that_serves_nobody_takes_its_report_back_and_is_silent(db: Database) -> None:
    meter = Meter(db)
    meter.note(0.01, failed=True)
    for _ in range(5):
        meter.report()
    assert reported(db) == [(1, 1)]
    meter.report()
    assert reported(db) == [(0, 0)]
    faults = Faults(db)
    meter.report()
    assert faults.statements == []


def test_latency_is_told_by_its_p95(db: Database) -> None:
    meter = Meter(db)
    for number in range(100):
        meter.note(number / 1000, failed=False)
    assert meter.take() == Health(100, 0, 0, 95)


def test_the_p95_of_several_reports_is_that_of_all_their_requests(db: Database) -> None:
    meter = Meter(db)
    for milliseconds in (9_000, 10, 20, 30, 40):
        meter.note(milliseconds / 1000, failed=False)
        health = meter.take()
    assert health == Health(5, 0, 0, 9_000)
    for _ in range(9):
        meter.note(0.01, failed=False)
    assert meter.take() == Health(10, 0, 0, 40)


def test_a_pool_in_full_use_is_a_sign(db: Database) -> None:
    meter = Meter(db)
    pool = db.writer.pool
    held = [pool.connect() for _ in range(pool.size())]
    meter.note(0.01, failed=False)
    for connection in held:
        connection.close()
    meter.note(0.01, failed=False)
    assert meter.take().pool_full == 1


def test_admission_stops_while_booking_fails_and_comes_back_slowly(
    db: Database, clock: AdvancingClock
) -> None:
    sale = make_sale(db, capacity=1_000, rate_per_minute=100, session_seconds=3_600)
    for person in make_accounts(db, 60):
        db.transact(waiting_room.join, Arrival(new_id(), sale, person.id))
    fence = db.transact(leases.acquire, "usher")
    assert fence is not None
    clock.advance(10)
    meter = Meter(db)
    for number in range(20):
        meter.note(0.01, failed=number < 10)
    meter.report()
    admitted = [usher.run(db, fence)]
    for _ in range(4):
        clock.advance(11)
        admitted.append(usher.run(db, fence))
    assert admitted == [0, 10, 10, 10, 10]


def test_a_small_house_is_slowed_and_comes_back_too(db: Database, clock: AdvancingClock) -> None:
    """Two processes, four requests each in two seconds: too few in any one report."""
    meters, paces = [Meter(db), Meter(db)], []
    clock.advance(10)
    for second in range(0, 100, 2):
        for meter in meters:
            for _ in range(4):
                meter.note(20.0 if second < 20 else 0.01, failed=second < 20)
            meter.report()
        db.transact(pace.adjust)
        paces.append(db.read(pace.get).percent)
        clock.advance(2)
    ill, well = paces[:10], paces[10:]
    assert 0 in ill[:5]
    assert ill[5:] == [0] * 5
    assert well.index(10) <= 4
    assert well[-1] == 100


@pytest.mark.parametrize(("percent", "admitted"), [(100, 10), (80, 8), (1, 1), (0, 0)])
def test_a_slower_pace_lets_fewer_inside(db: Database, percent: int, admitted: int) -> None:
    """However high the rate is: it is those inside who make it slow. A guest comes in as ever."""
    sale = make_sale(db, capacity=10, rate_per_minute=100_000)
    people = make_accounts(db, 20)
    for person in people:
        db.transact(waiting_room.join, Arrival(new_id(), sale, person.id))
    reason = None if percent == 100 else "slow"
    db.transact(
        lambda tx: tx.execute(
            update(Pace).values(percent=percent, reason=reason, changed_at=tx.now)
        )
    )
    fence = db.transact(leases.acquire, "usher")
    assert fence is not None
    assert [usher.run(db, fence) for _ in range(2)] == [admitted, 0]
    db.transact(rooms.invite, sale, None, people[-1].email)
    assert usher.run(db, fence) == (admitted < 10)


def test_latency_is_what_the_customer_waits_for(api: Api) -> None:
    """With the wait for a thread: under too much load that is nearly all of it."""
    someone = visitor(api).join()
    api.house.lateness.seconds = 1_000.0
    try:
        someone.choose("ST-A-1")
    finally:
        api.house.lateness.seconds = 0.0
    assert 1_000_000 <= api.house.health.take().p95_milliseconds < 1_900_000


# -- what the operator's machines are told ------------------------------------------------------------


def gauge(client: FlaskClient, name: str, sale: int) -> float:
    text = client.get("/metrics").text
    line = next(
        line for line in text.splitlines() if line.startswith(f'{name}{{performance="{sale}"')
    )
    return float(line.split()[-1])


@pytest.mark.failure("F19")
def test_there_is_an_alert_when_people_wait_and_nobody_moves(
    client: FlaskClient, db: Database, clock: AdvancingClock
) -> None:
    sale = make_sale(db, capacity=0, seats=5)
    assert gauge(client, "jari_queue_still_seconds", sale) == 0
    for person in make_accounts(db, 3):
        db.transact(waiting_room.join, Arrival(uuid.uuid4(), sale, person.id))
    clock.advance(90)
    assert gauge(client, "jari_queue_waiting", sale) == 3
    assert 89 < gauge(client, "jari_queue_still_seconds", sale) < 100
    db.transact(pace.report, uuid.uuid4(), Health(10, 9, 0, 1))
    db.transact(pace.adjust)
    assert "jari_pace_percent 0.0" in client.get("/metrics").text
