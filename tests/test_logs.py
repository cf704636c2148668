"""Log lines are written together, whole, in order, and soon."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from tests.servers import until
from webapp import logs


class Pipe(io.StringIO):
    """Remembers what was written at once."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        self.writes += [text] if text else []
        return super().write(text)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    log.handlers, log.propagate = [logs.Together(pipe)], False
    log.setLevel("INFO")
    yield pipe
    log.handlers = []


log = logging.getLogger("tests.logs")


def test_lines_of_the_same_moment_are_one_write_soon(pipe: Pipe) -> None:
    for number in range(20):
        log.info("line %d", number)
    told = "".join(f"line {number}\n" for number in range(20))
    until(lambda: "".join(pipe.writes) == told)
    assert len(pipe.writes) <= 2  # two when the writing began in their midst
    log.info("later")
    until(lambda: pipe.writes[-1] == "later\n")


def test_a_warning_is_written_at_once_after_what_was_said_before(pipe: Pipe) -> None:
    log.info("before")
    log.warning("now")
    assert "".join(pipe.writes) == "before\nnow\n"


def test_no_line_is_cut_where_others_write_to_the_same_pipe(pipe: Pipe) -> None:
    lines = [f"{number} " + "x" * (number % 700) for number in range(300)]
    for line in lines:
        log.info(line)
    log.handlers[0].flush()
    assert "".join(pipe.writes).splitlines() == lines
    assert all(text.endswith("\n") and len(text) <= 4_096 for text in pipe.writes)
    assert len(pipe.writes) < 60


def test_half_a_character_is_said_too() -> None:
    """It is no text, and what a driver says of an error may quote one."""
    record = logging.makeLogRecord({"msg": "half of \ud800", "said": {"more": "\udfff"}})
    said = json.loads(logs.Lines().format(record))
    assert (said["event"], said["more"]) == ("half of \ud800", "\udfff")
