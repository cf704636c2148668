"""The service as it runs for people: web workers and the scheduler, real processes, on SQLite."""

import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

from tests.conftest import config_for, dispose
from webapp import create_app
from webapp.commands import migrate_to
from webapp.db import Database
from webapp.web.house import House

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60.0
STOP_SECONDS = 20.0


@dataclass(frozen=True)
class Live:
    """A running service: its address, and its database for a test's own use."""

    address: str
    db: Database
    house: House


@contextmanager
def serve(folder: Path, **settings: str) -> Iterator[Live]:
    """Run the service on a new database in `folder` until the block ends; `settings` are of its environment."""
    url = f"sqlite:///{folder / 'jari.sqlite3'}"
    app = create_app(config_for(url))
    migrate_to(app)
    port = _free_port()
    environment = os.environ | {
        "DATABASE_URL": url,
        "SECRET_KEY": secrets.token_hex(32),
        "TOPUPS": "self",
        "COOKIE_SECURE": "0",
        "PORT": str(port),
        "LOG_LEVEL": "warning",
        **settings,
    }
    with (folder / "server.log").open("wb") as log:
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", *command], cwd=ROOT, env=environment, stdout=log, stderr=log
            )
            for command in (["gunicorn", "wsgi"], ["jobs"])
        ]
        try:
            _wait_until_ready(f"http://127.0.0.1:{port}/readyz", processes[0])
            house: House = app.extensions["jari"]
            yield Live(f"http://127.0.0.1:{port}", house.db, house)
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(STOP_SECONDS)
            dispose(app)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_until_ready(address: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"the server ended with {server.returncode}")
        try:
            with urllib.request.urlopen(address, timeout=2) as answer:
                if answer.status == 200:
                    return
        except (URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise RuntimeError("the server did not become ready")
