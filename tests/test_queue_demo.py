"""The demonstration of a rush: a small one goes through the real processes, and is told of."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import ROOT

FEW = "--arrivals 30 --capacity 30 --rate 600 --early-seconds 5 --rush-seconds 5"


@pytest.mark.slow
@pytest.mark.postgres
def test_a_small_rush_ends_with_a_summary(tmp_path: Path) -> None:
    out = tmp_path / "summary" / "demo.html"
    done = subprocess.run(
        [sys.executable, "-m", "tests.queue_demo", *FEW.split(), "--out", str(out)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert re.search(r"were told an estimate: \d+% came in within the range", done.stdout)
    ends = re.findall(r"\b\d+\b", done.stdout.split("Ends: ")[1].splitlines()[0])
    assert sum(map(int, ends)) == 30
    page = out.read_text("utf-8")
    assert "were told an estimate" in page
    assert page.count("<polyline") == 4
