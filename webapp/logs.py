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
import time
from collections import deque
from datetime import UTC, datetime
from typing import TextIO

from pydantic_core import PydanticSerializationError, to_json

LOGGERS = ("jari", "webapp")  # ours, and Flask's for this application
WRITTEN_WITHIN_SECONDS = 0.2
TOGETHER_MAX = 4_000  # characters; a pipe takes 4,096 bytes whole, whoever else writes to it


class Lines(logging.Formatter):
    """Makes a line of a record, with what its `said` says besides."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        moment = datetime.fromtimestamp(record.created, UTC).replace(tzinfo=None)
        said = {
            **getattr(record, "said", {}),
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": f"{moment.isoformat(timespec='microseconds')}Z",
        }
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        try:
            return to_json(said).decode()
        except PydanticSerializationError:  # half of a character, which is no text
            return json.dumps(said)


class Together(logging.StreamHandler[TextIO]):
    """Writes lines of the same moment together, from a thread of its own.

    By itself each would cost its request a call of the system; and whoever writes with the handler's lock,
    as handlers do, lets the other threads run meanwhile, up to that lock: a sixth of the time of 24 threads
    that answered polls (measured). So to say something takes no lock.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lines: deque[str] = deque()
        self._writing = threading.RLock()  # a signal may speak in the midst of writing
        threading.Thread(target=self._write_for_ever, name="log", daemon=True).start()

    def createLock(self) -> None:
        """Have none: `deque` takes a line whole."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record's line, and write it now if it is a warning."""
        try:
            self._lines.append(self.format(record) + self.terminator)
            if record.levelno >= logging.WARNING:
                self.flush()
        except Exception:  # noqa: BLE001 - as every handler: what cannot be said must not stop a sale
            self.handleError(record)

    def flush(self) -> None:
        """Write what is kept."""
        with self._writing:
            while self._lines:
                text = self._lines.popleft()
                while self._lines and len(text) + len(self._lines[0]) <= TOGETHER_MAX:
                    text += self._lines.popleft()
                self.stream.write(text)
                self.stream.flush()

    def _write_for_ever(self) -> None:
        while True:
            time.sleep(WRITTEN_WITHIN_SECONDS)
            try:
                self.flush()
            except (OSError, ValueError):  # the disk is full, or the stream is closed
                with self._writing:
                    self._lines.clear()


def install(level: str) -> None:
    """Let this process's loggers speak from `level` on; for servers, not for commands."""
    # No line says from which place or thread it comes. To find that out was a fifth of what a request's line cost
    # (logging's documentation, "Optimization"). gunicorn's lines say the process.
    logging._srcfile = None
    logging.logThreads = logging.logMultiprocessing = False
    handler = Together(sys.stderr)
    handler.setFormatter(Lines())
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(level.upper())
        logger.handlers = [handler]
        logger.propagate = False
