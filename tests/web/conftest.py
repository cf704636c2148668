"""What the tests of the web share."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from tests.web.contract import Api
from webapp.web.fastlane import FastLane


@pytest.fixture
def api(app: Flask) -> Api:
    """The API, every answer of which is held to its document."""
    return Api(app)


@pytest.fixture
def passed(app: Flask) -> list[str]:
    """What went past the fast lane: what Flask was asked, by path."""
    lane, seen = app.wsgi_app, []
    assert isinstance(lane, FastLane)
    flask = lane._wsgi

    def listen(environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        seen.append(environ["PATH_INFO"])
        return flask(environ, start)

    lane._wsgi = listen
    return seen
