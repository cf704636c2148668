"""A PostgreSQL that a test may kill, and the service beside it."""

from collections.abc import Iterator

import pytest

from tests.conftest import config_for, dispose
from tests.postgres import Postgres
from webapp import create_app
from webapp.commands import migrate_to

DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


@pytest.fixture
def frail() -> Iterator[Postgres]:
    """A server of one's own with a migrated database "jari", which may be killed and started again."""
    with Postgres(DURABLE) as server:
        server.create_database("jari")
        app = create_app(config_for(server.url("jari")))
        migrate_to(app)
        dispose(app)
        yield server
