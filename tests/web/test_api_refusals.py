"""Every refusal that the document declares is provoked here, for every call, on both databases.

Most follow from what a call needs (tests/web/needs.py), the others have a scenario each
(tests/web/scenarios.py). The first test says which are missing.
"""

from collections.abc import Iterator

import pytest
from flask import Flask

from tests.conftest import AdvancingClock, config_for, dispose
from tests.web.contract import BY_NAME, Api, refused
from tests.web.given import GIVEN, given
from tests.web.needs import ALIKE
from tests.web.scenarios import SCENARIOS
from webapp import create_app
from webapp.web import contract, guards
from webapp.web.api import described
from webapp.web.contract import Operation


def test_every_declared_refusal_is_provoked_and_no_other() -> None:
    declared = {(name, code) for name, op in BY_NAME.items() for code in op.refused_with()}
    specific = set(SCENARIOS)
    assert specific <= declared
    missing = {(name, code) for name, code in declared - specific if code not in ALIKE}
    assert missing == set()
    assert set(GIVEN) == set(BY_NAME)


@pytest.fixture
def hasty_api(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """The API of a process that gives up soon, so that what takes time here takes little."""
    monkeypatch.setattr("webapp.db.WITNESS_LOCK_TIMEOUT", "50ms")
    monkeypatch.setattr("webapp.engines.BEGIN_WAIT_SECONDS", 0.05)
    app = create_app(
        config_for(
            database_url,
            self_top_ups=True,
            pool_size=4,
            pool_timeout_seconds=0.05,
            transaction_seconds=5.0,
        )
    )
    api = Api(app)
    api.db.clock = AdvancingClock(api.db)
    api.house.tokens._clock = api.db.clock
    yield api
    dispose(app)


@pytest.mark.failure("F36")
@pytest.mark.parametrize("name", BY_NAME)
def test_a_call_refuses_as_declared(hasty_api: Api, name: str) -> None:
    operation: Operation = BY_NAME[name]
    assert hasty_api.call(name, **given(hasty_api, name)).status_code in operation.answers
    for code in operation.refused_with():
        scenario = SCENARIOS.get((name, code))
        response = scenario(hasty_api) if scenario else ALIKE[code](hasty_api, name)
        refused(response, contract.status_of(code), code)


def test_the_guards_are_those_of_the_document(app: Flask) -> None:
    for name, operation in BY_NAME.items():
        view = app.view_functions[f"api.{name}"]
        assert view.guard == operation.guard.__name__
        security = described()["paths"][operation.path][operation.method]
        assert ("session" in str(security.get("security"))) == (
            operation.guard is not guards.public
        )
