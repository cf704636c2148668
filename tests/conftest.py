"""Real databases for every test: a file for SQLite, a server of our own for PostgreSQL.

Each test gets its own copy of a migrated template, so tests commit for real and share nothing.
"""

import shutil
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import settings

from tests import failures
from tests.postgres import Postgres
from webapp import create_app
from webapp.clock import Clock
from webapp.commands import migrate_to
from webapp.config import Config
from webapp.db import Database
from webapp.web.house import House

# A case that takes long on a machine that stands still for a moment is no failure.
settings.register_profile("jari", deadline=None)
settings.load_profile("jari")

SECRET = "test-secret-" + "k" * 40


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """End `pytest -m failure` with the rows of the table of failures and what became of each."""
    if terminalreporter.config.option.markexpr != "failure":
        return
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            if outcome == "passed" and report.when != "call":
                continue
            for row in dict(report.user_properties).get("failures", ()):
                outcomes[row][outcome] += 1
    terminalreporter.section("failures of others")
    for row, (wrong, _) in failures.ROWS.items():
        counts = ", ".join(f"{count} {name}" for name, count in outcomes[row].items())
        terminalreporter.write_line(f"{row:<4} {wrong[:70]:<70} {counts or '-'}")


@pytest.fixture(autouse=True)
def _rows(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    """Let a test's report say which failures it is about."""
    rows = [mark.args[0] for mark in request.node.iter_markers("failure")]
    if rows:
        record_property("failures", rows)


def config_for(url: str, **changes: object) -> Config:
    values: dict[str, object] = {
        "database_url": url,
        "secret_key": SECRET,
        "self_top_ups": True,
        "cookie_secure": False,
    }
    return Config(**(values | changes))


class AdvancingClock(Clock):
    """The database's clock, which a test may move. Time is never patched."""

    def __init__(self, db: Database) -> None:
        super().__init__(db.clock._ask)
        self.ahead_seconds = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(super().now().timestamp() + self.ahead_seconds, UTC)

    def advance(self, seconds: float) -> None:
        self.ahead_seconds += seconds


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        server.create_database("jari_template")
        app = create_app(config_for(server.url("jari_template")))
        migrate_to(app)
        dispose(app)
        yield server


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "jari.sqlite3"
    app = create_app(config_for(f"sqlite:///{path}"))
    migrate_to(app)
    dispose(app)
    return path


def dispose(app: Flask) -> None:
    db: Database = app.extensions["jari"].db
    db.writer.dispose()
    db.reader.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of an empty, migrated database; every test with it runs on both."""
    yield from make_database(request, request.param)


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest) -> Iterator[str]:
    yield from make_database(request, "postgresql")


@pytest.fixture
def sqlite_url(request: pytest.FixtureRequest) -> Iterator[str]:
    yield from make_database(request, "sqlite")


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a database without a single table, as a newcomer has it; on both."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'var' / 'empty.sqlite3'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = f"t_{uuid.uuid4().hex[:12]}"
    yield server.create_database(name)
    server.drop_database(name)


def make_database(request: pytest.FixtureRequest, kind: str) -> Iterator[str]:
    if kind == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        path = request.getfixturevalue("tmp_path") / "jari.sqlite3"
        shutil.copy(template, path)
        yield f"sqlite:///{path}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = f"t_{uuid.uuid4().hex[:12]}"
    server.create_database(name, template="jari_template")
    yield server.url(name)
    server.drop_database(name)


def let_snapshots_last(house: House) -> None:
    """Let what the process knows of a sale grow old only when a test says so, however slow the machine is."""
    for snapshots in (house.sales, house.availability, house.rooms, house.numbers, house.events):
        snapshots._max_age = 3_600.0


@pytest.fixture
def app(database_url: str) -> Iterator[Flask]:
    """The application on a database of its own, for which time passes when the test says so."""
    app = create_app(config_for(database_url))
    house: House = app.extensions["jari"]
    house.db.clock = AdvancingClock(house.db)
    house.tokens._clock = house.db.clock
    let_snapshots_last(house)
    yield app
    dispose(app)


@pytest.fixture
def db(app: Flask) -> Database:
    database: Database = app.extensions["jari"].db
    return database


@pytest.fixture
def clock(db: Database) -> AdvancingClock:
    assert isinstance(db.clock, AdvancingClock)
    return db.clock


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()
