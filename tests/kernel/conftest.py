"""What the tests of the kernel share: faults on the writing connections, and counters read as numbers."""

import pytest
from flask import Flask

from tests.conftest import AdvancingClock
from tests.faults import Faults
from tests.kernel.operations import Stage
from webapp.db import Database


@pytest.fixture
def faults(db: Database) -> Faults:
    return Faults(db)


@pytest.fixture
def stage(app: Flask, clock: AdvancingClock) -> Stage:
    return Stage(app.extensions["jari"], clock)
