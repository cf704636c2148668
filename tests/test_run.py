"""`make run`, as a newcomer has it: from nothing to a served demo, and back to no process at all."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.postgres import free_port

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 60
STOP_SECONDS = 30


class Served:
    """A running `flask serve`, with everything it started."""

    def __init__(
        self,
        directory: Path,
        database_url: str,
        *words: str,
        below_shell: bool = False,
        **environment: str,
    ) -> None:
        self.port = free_port()
        self._said = directory / "said"
        self._seen: dict[int, str] = {}
        settings = {"DATABASE_URL": database_url, "PORT": str(self.port)} | environment
        inherited = {k: v for k, v in os.environ.items() if k not in ("SECRET_KEY", "TOPUPS")}
        command = [sys.executable, "-m", "flask", "--app", "wsgi", "serve", *words]
        shell = ["/bin/sh", "-c", '"$@"; exit', "sh"] if below_shell else []
        with self._said.open("w") as file:
            self.process = subprocess.Popen(
                shell + command,
                cwd=ROOT,
                env=inherited | settings,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # its group is what a terminal would signal
            )

    @property
    def said(self) -> str:
        return self._said.read_text()

    def wait_for_address(self) -> "Served":
        wait_until(lambda: "Jari is at " in self.said or self.process.poll() is not None)
        assert f"Jari is at http://127.0.0.1:{self.port} " in self.said, self.said
        return self

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def family(self) -> dict[int, str]:
        """Return the process ids of everything below `serve`, with their command lines."""
        rows = [row for row in processes() if "Z" not in row[2]]
        family = {pid: args for pid, _, _, args in rows if pid == self.process.pid}
        for _ in range(3):  # make and serve; gunicorn, scheduler and guard; gunicorn's workers
            family |= {pid: args for pid, parent, _, args in rows if parent in family}
        self._seen |= family
        return family

    def member(self, pattern: str) -> int:
        return min(pid for pid, args in self.family().items() if re.search(pattern, args))

    def press_ctrl_c(self) -> int:
        """Signal the whole foreground group, as a terminal does; return the exit status."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(STOP_SECONDS)

    def clean_up(self) -> None:
        """End what a failing test has left."""
        self.family()
        for pid in alive(self._seen):
            os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def assert_nothing_left(self, family: dict[int, str]) -> None:
        wait_until(lambda: not alive(family), STOP_SECONDS)
        assert alive(family) == {}
        socket.create_server(("127.0.0.1", self.port)).close()


def processes() -> list[tuple[int, int, str, str]]:
    """List every process: id, parent, state, command line."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True
    )
    rows = (line.split(None, 3) for line in listed.stdout.splitlines())
    return [(int(row[0]), int(row[1]), row[2], row[3]) for row in rows if len(row) == 4]


def alive(family: dict[int, str]) -> dict[int, str]:
    """Return those of a family that are still running as what they were."""
    now = {pid: args for pid, _, state, args in processes() if "Z" not in state}
    return {pid: args for pid, args in family.items() if now.get(pid) == args}


def wait_until(done: Callable[[], bool], seconds: float = START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Start `flask serve`; end whatever a failing test leaves."""
    started: list[Served] = []

    def start(database_url: str, *words: str, **more: Any) -> Served:
        started.append(Served(tmp_path, database_url, *words, **more))
        return started[-1]

    yield start
    for served in started:
        served.clean_up()


def test_a_newcomer_signs_in_and_ctrl_c_ends_it_all(
    serve: Callable[..., Served], empty_url: str
) -> None:
    served = serve(empty_url, "--demo").wait_for_address()
    family = served.family()
    assert any("gunicorn" in args for args in family.values())
    assert any(args.endswith("-m jobs") for args in family.values())
    for email in ("buyer@example.com", "organiser@example.com", "door@example.com"):
        assert re.search(rf"{email}.*jari-demo", served.said)
    for path in ("/healthz", "/readyz", "/metrics", "/"):
        assert served.ask("GET", path)[0] == 200
    login = {"email": "buyer@example.com", "password": "jari-demo"}
    status, body = served.ask("POST", "/api/v1/sessions", login)
    assert (status, "session_token" in json.loads(body)) == (201, True)
    assert served.press_ctrl_c() == 0
    served.assert_nothing_left(family)


def test_sigterm_ends_it_all(serve: Callable[..., Served], tmp_path: Path) -> None:
    served = serve(
        f"sqlite:///{tmp_path}/jari.sqlite3", SECRET_KEY="0123456789abcdef" * 2
    ).wait_for_address()
    assert "jari-demo" not in served.said  # which was not asked for
    family = served.family()
    served.process.terminate()
    assert served.process.wait(STOP_SECONDS) == 0
    served.assert_nothing_left(family)


def test_kill_9_of_serve_leaves_no_child(serve: Callable[..., Served], tmp_path: Path) -> None:
    served = serve(f"sqlite:///{tmp_path}/jari.sqlite3", "--demo").wait_for_address()
    family = served.family()
    assert len(family) >= 6  # serve, guard, gunicorn, two workers, scheduler
    served.process.kill()
    served.process.wait()
    served.assert_nothing_left(family)


def test_kill_9_of_make_leaves_no_child(serve: Callable[..., Served], tmp_path: Path) -> None:
    served = serve(
        f"sqlite:///{tmp_path}/jari.sqlite3", "--demo", "--with-parent", below_shell=True
    )
    family = served.wait_for_address().family()
    served.process.kill()
    served.process.wait()
    served.assert_nothing_left(family)


@pytest.mark.parametrize("victim", ["gunicorn", "-m jobs$"])
def test_when_one_child_dies_the_other_is_stopped(
    serve: Callable[..., Served], tmp_path: Path, victim: str
) -> None:
    served = serve(f"sqlite:///{tmp_path}/jari.sqlite3", "--demo").wait_for_address()
    family = served.family()
    os.kill(served.member(victim), signal.SIGKILL)
    assert served.process.wait(STOP_SECONDS) == 1
    assert "Error: ended: " in served.said
    served.assert_nothing_left(family)


def test_a_taken_port_is_said_before_anything_starts(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = str(stranger.getsockname()[1])
        served = serve(f"sqlite:///{tmp_path}/jari.sqlite3", "--demo", PORT=port)
        assert served.process.wait(START_SECONDS) == 1
    assert served.said.startswith(f"Error: address: 127.0.0.1:{port}: ")


def test_only_the_demo_chooses_a_secret_key(serve: Callable[..., Served], tmp_path: Path) -> None:
    served = serve(f"sqlite:///{tmp_path}/jari.sqlite3")
    assert served.process.wait(START_SECONDS) == 1
    assert served.said.startswith("Error: config: SECRET_KEY ")
