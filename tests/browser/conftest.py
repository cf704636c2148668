"""A running service and a real Chromium. A missing browser fails these tests; it skips none."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser.live import Live, serve
from tests.browser.visitor import launched


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with serve(tmp_path_factory.mktemp("live")) as running:
        yield running


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with launched() as running:
        yield running
