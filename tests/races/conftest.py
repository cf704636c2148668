"""The crowd, started once: each of its processes takes a second to import the service."""

from collections.abc import Iterator

import pytest

from tests.races.crowd import Crowd


@pytest.fixture(scope="session")
def crowd() -> Iterator[Crowd]:
    with Crowd(processes=4) as crowd:
        yield crowd
