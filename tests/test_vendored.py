"""What others made is what they made: docs/vendored.md names every file, its licence and its hash."""

import hashlib
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (ROOT / "webapp/static/vendor", ROOT / "webapp/vendor", ROOT / "tests/vendor")


def test_the_table_is_what_there_is() -> None:
    text = (ROOT / "docs/vendored.md").read_text("utf-8")
    named = dict(
        re.findall(r"^\| `([^`]+)` \|[^|]+\|[^|]+\| `([0-9a-f]{64})` \|$", text, re.MULTILINE)
    )
    files = [path for folder in FOLDERS for path in folder.rglob("*") if path.is_file()]
    found = {
        path.relative_to(ROOT).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }
    assert found == named


def test_every_package_has_its_licence() -> None:
    for folder in FOLDERS:
        for package in folder.iterdir():
            assert list(package.glob("LICENSE*")), package
