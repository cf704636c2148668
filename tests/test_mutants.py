"""The table of guards fits the code: each text stands where it is said to, each named test exists."""

import ast
import shlex
from pathlib import Path

from tests.mutants.table import MUTANTS, ROOT
from tests.test_house import SECOND_WALL


def test_every_guard_stands_where_the_table_says() -> None:
    lost = [
        f"{mutant.file}: {mutant.guard}"
        for mutant in MUTANTS
        if (ROOT / mutant.file).read_text("utf-8").count(mutant.old) != 1
    ]
    assert lost == [], "the code has changed: bring tests/mutants/table.py up to date"


def test_every_named_test_is_there() -> None:
    for mutant in MUTANTS:
        file, _, name = shlex.split(mutant.tests)[0].partition("::")
        tree = ast.parse(Path(ROOT / file).read_text("utf-8"))
        tests = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert not name or name in tests, f"{mutant.guard}: {mutant.tests}"


def test_every_wall_of_the_schema_is_among_them() -> None:
    assert set(SECOND_WALL.values()) - {mutant.guard for mutant in MUTANTS} <= {
        "pk_idempotency_key"  # a primary key: without it the table could not be made
    }
