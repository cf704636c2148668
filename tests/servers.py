"""The service as it runs in earnest: gunicorn and schedulers as processes, and a line that can be cut.

Promises:

1. Every process is the checkout's own `gunicorn wsgi` (or an `application` that wraps it) or `python -m jobs`,
   in a session of its own; at the end of the `with` block nothing of it is left, however it was treated meanwhile.
2. `kill` is SIGKILL to a whole family at once; `workers` says who its children are now.
3. `Line` stands between the service and PostgreSQL and cuts connections on either side of the instant at
   which a COMMIT is applied, as a network does that fails at the wrong moment.
"""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import urllib3

from tests.conftest import SECRET
from tests.postgres import free_port

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 90.0
STOP_SECONDS = 35.0


def until(condition: Callable[[], Any], seconds: float = START_SECONDS, what: str = "") -> Any:
    """Wait for `condition` to become true and return it; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, what or "waited in vain"
        time.sleep(0.02)
    return found


class Family:
    """A process with its children."""

    def __init__(self, command: list[str], environment: Mapping[str, str], log: Path) -> None:
        self.command = command
        self.environment = {**os.environ, **environment}
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Run it."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return self

    @property
    def pid(self) -> int:
        """The first process of the family."""
        assert self.process is not None
        return self.process.pid

    def workers(self) -> list[int]:
        """Return the children's ids, oldest first."""
        try:
            text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        except FileNotFoundError:
            return []
        return [int(child) for child in text.split()]

    def kill(self) -> None:
        """End the whole family at once, without a last word."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self.process.wait()

    def stop(self) -> None:
        """Ask it to end; after STOP_SECONDS no longer ask."""
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGCONT)
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
        self.kill()

    def said(self) -> str:
        """Return what it has printed."""
        return self.log.read_text(errors="replace")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class Web(Family):
    """The web server, at a free port of 127.0.0.1."""

    def __init__(
        self,
        url: str,
        log: Path,
        *,
        workers: int = 2,
        threads: int = 4,
        application: str = "wsgi",
        **settings: object,
    ) -> None:
        self.port = free_port()
        environment = {
            "DATABASE_URL": url,
            "SECRET_KEY": SECRET,
            "PORT": str(self.port),
            "WEB_WORKERS": str(workers),
            "WEB_THREADS": str(threads),
            "TOPUPS": "self",
            "COOKIE_SECURE": "0",
        } | {name: str(value) for name, value in settings.items()}
        super().__init__([sys.executable, "-m", "gunicorn", application], environment, log)
        self.http = urllib3.HTTPConnectionPool(
            "127.0.0.1", self.port, maxsize=64, retries=False, timeout=20.0
        )

    def start(self) -> Self:
        """Run it and wait until it answers."""
        super().start()
        until(lambda: self.status("/healthz") == 200, what=str(self.log))
        return self

    def status(self, path: str, seconds: float = 20.0) -> int:
        """Ask for a path; return the status, 0 when there was no answer."""
        try:
            return int(self.http.request("GET", path, timeout=seconds).status)
        except (urllib3.exceptions.HTTPError, OSError):
            return 0


class Scheduler(Family):
    """`python -m jobs`."""

    def __init__(self, url: str, log: Path, **settings: object) -> None:
        environment = {"DATABASE_URL": url, "SECRET_KEY": SECRET}
        environment |= {name: str(value) for name, value in settings.items()}
        super().__init__([sys.executable, "-m", "jobs"], environment, log)


class Line:
    """A TCP line to PostgreSQL that cuts a share of the connections at their COMMIT.

    Half of the cuts come before the server has seen the COMMIT, half after it has answered; whoever sent
    it hears the same in both cases: nothing.
    """

    def __init__(self, port: int, rng: random.Random | None = None) -> None:
        self.share = 0.0  # of all COMMITs that are cut
        self.cuts = 0
        self._target = port
        self._rng = rng or random.Random(0)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Hang up on everybody."""
        self._listener.close()
        for one in list(self._open):
            self._hang_up(one)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.add(one)
        silent = threading.Event()
        back = threading.Thread(target=self._pump, args=(server, client, silent), daemon=True)
        back.start()
        self._listen_for_commits(client, server, silent)

    def _listen_for_commits(
        self, client: socket.socket, server: socket.socket, silent: threading.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65_536):
                if b"COMMIT\0" in data and self._rng.random() < self.share:
                    self.cuts += 1
                    if self._rng.random() < 0.5:
                        silent.set()  # what the server says from now on is lost
                        server.sendall(data)
                        time.sleep(0.05)
                    break
                server.sendall(data)
        self._hang_up(client)
        self._hang_up(server)

    def _pump(self, source: socket.socket, target: socket.socket, silent: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if not silent.is_set():
                    target.sendall(data)
        self._hang_up(source)
        self._hang_up(target)

    def _hang_up(self, one: socket.socket) -> None:
        self._open.discard(one)
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
