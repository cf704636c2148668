"""What the tests of the web share."""

import pytest
from flask import Flask

from tests.web.contract import Api


@pytest.fixture
def api(app: Flask) -> Api:
    """The API, every answer of which is held to its document."""
    return Api(app)
