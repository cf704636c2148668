"""What the service says while it runs: one JSON object a line, on standard error.

Promises:

1. One line for each request (`security`), one for everything else, each with its time in UTC, its level
   and where it comes from. An exception is in its line, not after it.
2. Nothing is said that a customer sent, and nobody is named but by the account's id.
"""

import json
import logging
import sys
from datetime import UTC, datetime

LOGGERS = ("jari", "webapp")  # ours, and Flask's for this application


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


def install(level: str) -> None:
    """Let this process's loggers speak from `level` on; for servers, not for commands."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(level.upper())
        logger.handlers = [handler]
        logger.propagate = False
