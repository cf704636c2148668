"""What the service says while it runs: one JSON object a line, on standard error.

Promises:

1. One line for each request (`security`), one for everything else, each with its time in UTC, its level
   and where it comes from. An exception is in its line, not after it.
2. Nothing is said that a customer sent, and nobody is named but by the account's id.
3. A warning is written at once, with all that was said before; the rest within WRITTEN_WITHIN_SECONDS. Who
   is killed without a warning takes that much of it along.
"""

import json
import logging
import sys
import threading
from datetime import UTC, datetime
from typing import TextIO

LOGGERS = ("jari", "webapp")  # ours, and Flask's for this application
WRITTEN_WITHIN_SECONDS = 0.2
TOGETHER_MAX = 4_000  # characters; a pipe takes 4,096 bytes whole, whoever else writes to it


class Lines(logging.Formatter):
    """Makes a line of a record; those of `jari.request` are lines already."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        if record.name == "jari.request":
            return record.getMessage()
        said = {
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
        }
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False)


class Together(logging.StreamHandler[TextIO]):
    """Writes lines of the same moment together.

    By itself each would cost its request a call of the system, and its turn among the threads.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lines: list[str] = []
        self._size = 0
        self._due = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record's line, or write it with those that are kept. The caller has the lock."""
        try:
            line = self.format(record) + self.terminator
            if self._size + len(line) > TOGETHER_MAX:
                self.flush()
            self._lines.append(line)
            self._size += len(line)
            if record.levelno >= logging.WARNING:
                self.flush()
            elif not self._due:
                self._due = True
                timer = threading.Timer(WRITTEN_WITHIN_SECONDS, self._write_what_is_due)
                timer.daemon = True
                timer.start()
        except Exception:  # noqa: BLE001 - as every handler: what cannot be said must not stop a sale
            self.handleError(record)

    def _write_what_is_due(self) -> None:
        self._due = False
        self.flush()

    def flush(self) -> None:
        """Write what is kept."""
        self.acquire()
        try:
            text, self._size = "".join(self._lines), 0
            self._lines.clear()
            self.stream.write(text)
            super().flush()
        finally:
            self.release()


def install(level: str) -> None:
    """Let this process's loggers speak from `level` on; for servers, not for commands."""
    handler = Together(sys.stderr)
    handler.setFormatter(Lines())
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(level.upper())
        logger.handlers = [handler]
        logger.propagate = False
