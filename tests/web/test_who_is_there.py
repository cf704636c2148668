"""Who comes in and stays is noted, with all others of the moment, and before it matters."""

import runpy
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from flask import Flask
from psycopg.errors import ReadOnlySqlTransaction

from tests.builders import make_accounts, make_sale
from tests.web.watching import Watch
from webapp.db import Busy, Database, new_id
from webapp.domain import waiting_room
from webapp.domain.waiting_room import Arrival, Stay
from webapp.web import queue
from webapp.web.crowd import NOTED_WITHIN_SECONDS
from webapp.web.house import House

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def house(app: Flask) -> House:
    return cast(House, app.extensions["jari"])


def join_at_once(db: Database, sale: int, count: int) -> list[Stay]:
    """Let people in who were not seen inside yet."""
    arrivals = [Arrival(new_id(), sale, one.id, 600) for one in make_accounts(db, count)]
    stays = [db.transact(waiting_room.join, arrival)[0] for arrival in arrivals]
    return [replace(stay, seen_at=None) for stay in stays]


def seen(db: Database, stays: list[Stay]) -> list[bool]:
    """Whether each was seen again since they came."""
    now = [db.read(waiting_room.get_stay, stay.entry_id).seen_at for stay in stays]
    return [at is not None and at > stay.joined_at for at, stay in zip(now, stays, strict=True)]


@pytest.fixture
def noting(house: House, monkeypatch: pytest.MonkeyPatch) -> House:
    """A house that notes soon who is there, when the test says."""
    monkeypatch.setattr(threading, "Thread", lambda **_: SimpleNamespace(start=lambda: None))
    house.stays.start()
    monkeypatch.undo()
    return house


def test_who_is_there_is_noted_with_all_others_of_the_moment(noting: House) -> None:
    db = noting.db
    stays = join_at_once(db, make_sale(db), 4)
    with Watch(db) as watch:
        for stay in stays[:3]:
            noting.stays.see(stay, 0.0, soon=True)
        noting.stays.see(stays[0], 0.0, soon=True)
        assert watch.idle
        noting.stays.note()
    assert seen(db, stays) == [True, True, True, False]
    assert len([text for text in watch.statements if not text.startswith("BEGIN")]) == 1
    with Watch(db) as watch:
        noting.stays.note()
    assert watch.idle


def test_who_came_in_the_last_moment_of_a_process_is_noted(noting: House, app: Flask) -> None:
    stays = join_at_once(noting.db, make_sale(noting.db), 1)
    noting.stays.see(stays[0], 0.0, soon=True)
    server = runpy.run_path(str(ROOT / "gunicorn.conf.py"))
    server["worker_exit"](None, SimpleNamespace(wsgi=app))
    assert seen(noting.db, stays) == [True]


@pytest.mark.parametrize("trouble", [Busy("test"), ReadOnlySqlTransaction("a standby")])
def test_who_could_not_be_noted_is_noted_the_next_time(
    noting: House,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    trouble: Exception,
) -> None:
    db = noting.db
    stays = join_at_once(db, make_sale(db), 2)

    def fail(*_: object) -> None:
        noting.stays.see(stays[1], 0.0, soon=True)  # who comes meanwhile
        raise trouble

    noting.stays.see(stays[0], 0.0, soon=True)
    monkeypatch.setattr(db, "transact", fail)
    noting.stays.note()
    monkeypatch.undo()
    assert seen(db, stays) == [False, False]
    assert "was not noted" in caplog.text
    noting.stays.note()
    assert seen(db, stays) == [True, True]


def test_who_would_soon_be_taken_for_gone_is_noted_at_once(noting: House) -> None:
    """Also where nobody notes soon: in a command, or a test."""
    db = noting.db
    stays = join_at_once(db, make_sale(db), 1)
    noting.stays.see(stays[0], 0.0, soon=False)
    assert seen(db, stays) == [True]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    ("silent", "seen_before", "idle", "noted"),
    [
        (0, False, None, "soon"),
        (79, False, None, "soon"),
        (81, False, None, "at once"),
        (81, False, 60, "at once"),
        (90, True, None, None),
        (15, True, 80, None),
        (21, True, 80, "soon"),
        (69, True, 80, "soon"),
        (71, True, 80, "at once"),
    ],
)
def test_when_who_is_there_is_noted(
    house: House, known: bool, silent: int, seen_before: bool, idle: int | None, noted: str | None
) -> None:
    sale = make_sale(house.db, room={"idle_seconds": idle} if idle else None)
    [stay] = join_at_once(house.db, sale, 1)
    now = house.db.clock.now()
    before, still = now - timedelta(seconds=silent), SimpleNamespace(now=lambda: now)
    stay = replace(stay, admitted_at=before, seen_at=before if seen_before else None)
    calls: list[str] = []
    told = SimpleNamespace(see=lambda *_, soon: calls.append("soon" if soon else "at once"))
    room = SimpleNamespace(arrival_seconds=90) if known else None
    rooms = SimpleNamespace(find_last=lambda _: room)
    config = SimpleNamespace(transaction_seconds=5 - NOTED_WITHIN_SECONDS)
    db = SimpleNamespace(clock=still)
    seen = {"sales": house.sales, "db": db, "stays": told, "rooms": rooms, "config": config}
    queue.note_seen(cast(House, SimpleNamespace(**seen)), stay)
    assert calls == ([noted] if noted else [])
