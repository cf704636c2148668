"""Take out one guard after the other and see its test go red: `python -m tests.mutants [-j N] [WORD …]`.

Works in copies of the checkout, never in the checkout itself. First all named tests must pass with every
guard in place; then each must fail without its own. The exit status is 1 when one does not notice.
"""

import argparse
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue

from tests.mutants.table import MUTANTS, ROOT, Mutant

COPIED = ("webapp", "jobs", "tests", "templates", "docs", "deploy")
FILES = ("setup.cfg", "pyproject.toml", "wsgi.py", "gunicorn.conf.py", "README.md")
TEST_SECONDS = 600
FAILED, PASSED = 1, 0


def copy_to(target: Path) -> Path:
    """Copy what the tests need."""
    for name in COPIED:
        if (ROOT / name).exists():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, target / name, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, target / name)
    return target


def run(directory: Path, words: Sequence[str]) -> tuple[int, str]:
    """Run pytest there; return its status and what it said."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    if not any("fuzz" in word for word in words):
        command += ["-p", "no:schemathesis"]  # takes longer to import than most tests run
    try:
        done = subprocess.run(
            [*command, *words],
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=TEST_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return FAILED, "hung, which a test suite notices too"
    return done.returncode, done.stdout[-3_000:] + done.stderr[-1_000:]


class Trial:
    """Tries mutants in several copies at once."""

    def __init__(self, mutants: Sequence[Mutant]) -> None:
        self.todo: SimpleQueue[Mutant] = SimpleQueue()
        for mutant in mutants:
            self.todo.put(mutant)
        self.survivors: list[str] = []
        self._mutex = threading.Lock()

    def work(self, directory: Path) -> None:
        """Take mutants until none is left."""
        while True:
            try:
                mutant = self.todo.get_nowait()
            except Empty:
                return
            self._try(mutant, directory)

    def _try(self, mutant: Mutant, directory: Path) -> None:
        path = directory / mutant.file
        whole, began = path.read_text("utf-8"), time.monotonic()
        mutant.apply(directory)
        status, said = run(directory, shlex.split(mutant.tests))
        path.write_text(whole, "utf-8")
        verdict = {FAILED: "noticed", PASSED: "NOT NOTICED"}.get(status, f"BROKEN ({status})")
        with self._mutex:
            seconds = time.monotonic() - began
            print(f"{verdict:<12}{seconds:5.1f} s  {mutant.file}: {mutant.guard}", flush=True)
            if status != FAILED:
                self.survivors.append(f"{mutant.guard} ({mutant.tests})")
                if status != PASSED:
                    print(said, flush=True)


def main() -> int:
    """Try all mutants, or those whose guard or file has one of the words."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("-j", "--jobs", type=int, default=2)
    parser.add_argument("words", nargs="*")
    options = parser.parse_args()
    chosen = [
        mutant
        for mutant in MUTANTS
        if not options.words
        or any(word in f"{mutant.file} {mutant.guard}" for word in options.words)
    ]
    with tempfile.TemporaryDirectory(prefix="jari-mutants-") as root:
        copies = [copy_to(Path(root) / str(number)) for number in range(options.jobs)]
        named = sorted({shlex.split(mutant.tests)[0] for mutant in chosen})
        status, said = run(copies[0], named)
        if status != PASSED:  # once more: a test of timing may fail on a machine that is busy
            status, said = run(copies[0], named)
        if status != PASSED:
            print(said)
            print("with every guard in place these tests must pass")
            return 1
        print(f"{len(named)} tests pass with every guard in place", flush=True)
        trial = Trial(chosen)
        threads = [threading.Thread(target=trial.work, args=(copy,)) for copy in copies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(f"{len(chosen) - len(trial.survivors)} of {len(chosen)} guards are proven")
    for survivor in trial.survivors:
        print(f"NOT PROVEN  {survivor}")
    return 1 if trial.survivors else 0


if __name__ == "__main__":
    sys.exit(main())
