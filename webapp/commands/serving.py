"""One process that runs the whole house: the web server and the scheduler, until it is told to stop.

Promises:

1. Nothing is started before the schema is there and the port is free; what is printed as the address
   has answered /readyz.
2. SIGINT, SIGTERM and SIGHUP end everything, requests under way first; a second signal does not wait.
3. When one child ends by itself, the other is stopped too and the exit status is 1.
4. No process outlives this one, however it ends. A small shell, the guard, reads a pipe whose other end
   only we hold. When we die (kill -9 included) the pipe ends and the guard stops our children. Linux
   could do that with PR_SET_PDEATHSIG; a pipe works wherever there is a shell.

Each child leads a session of its own, so that Ctrl-C in a terminal, which signals the whole foreground
group, reaches this process alone and the order of ending stays ours.
"""

import http.client
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

import click
from flask import Flask, current_app
from flask.cli import with_appcontext

from webapp.commands.demo_house import logins, make_demo
from webapp.commands.schema import migrate_to
from webapp.commands.speaking import Operation, refused, say
from webapp.config import Config
from webapp.web.house import house

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 60.0
STOP_SECONDS = 35.0  # more than gunicorn's graceful_timeout
LOOK_SECONDS = 0.1
PORT_MAX = 65_535

# Reads our children's process ids, one a line, until the pipe ends. Gunicorn's workers need no line:
# they end when their master does. Plain words only, for shells differ about process groups.
GUARD = f"""
while read -r child; do children="$children $child"; done
kill -TERM $children
alive() {{ for child in $children; do kill -0 $child && return; done; return 1; }}
waited=0
while alive && [ $waited -lt {STOP_SECONDS:.0f} ]; do sleep 1; waited=$((waited + 1)); done
kill -KILL $children
"""


class Children:
    """Processes that end with us."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def start(self, name: str, *arguments: str) -> None:
        """Run a Python module in a session of its own, known to the guard."""
        child = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._running[name] = child
        pipe: IO[bytes] | None = self._guard.stdin
        assert pipe is not None
        pipe.write(b"%d\n" % child.pid)
        pipe.flush()

    def find_ended(self) -> str | None:
        """Return the name of a child that has ended, if one has."""
        for name, child in self._running.items():
            if child.poll() is not None:
                return name
        return None

    def stop(self, signals: "Signals") -> None:
        """End all of them: politely, then after STOP_SECONDS or at the next signal not so."""
        for child in self._running.values():
            child.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        heard = signals.count
        while time.monotonic() < deadline and signals.count == heard:
            if all(child.poll() is not None for child in self._running.values()):
                break
            time.sleep(LOOK_SECONDS)
        for child in self._running.values():
            # The whole group: gunicorn's workers may be left where their master was killed.
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        self._guard.kill()
        self._guard.communicate()


class Signals:
    """How often we were asked to stop. A number, because a handler must not wait for any lock."""

    def __init__(self) -> None:
        self.count = 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._hear)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # which is what nohup asks for
            signal.signal(signal.SIGHUP, self._hear)

    def _hear(self, _signal: int, _frame: FrameType | None) -> None:
        self.count += 1


@dataclass(frozen=True, slots=True)
class Address:
    """Where the web server listens."""

    host: str
    port: int

    @classmethod
    def from_env(cls, environment: Mapping[str, str]) -> "Address":
        """Read HOST and PORT; raise click.ClickException."""
        port = environment.get("PORT") or "8000"
        if not port.isascii() or not port.isdigit() or not 1 <= int(port) <= PORT_MAX:
            raise refused("config", f"PORT must be a whole number from 1 to {PORT_MAX}")
        return cls((environment.get("HOST") or "127.0.0.1").strip("[]"), int(port))

    @property
    def is_ipv6(self) -> bool:
        """Whether the host needs brackets before a port."""
        return ":" in self.host

    @property
    def reachable_host(self) -> str:
        """A host that a client on this machine can ask."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)

    @property
    def url(self) -> str:
        """What to type into a browser on this machine."""
        host = f"[{self.reachable_host}]" if self.is_ipv6 else self.reachable_host
        return f"http://{host}:{self.port}"

    def refuse_taken(self) -> None:
        """Raise click.ClickException when nobody can listen there.

        Gunicorn would try for five seconds, and meanwhile a stranger's server could answer for ours.
        """
        family = socket.AF_INET6 if self.is_ipv6 else socket.AF_INET
        try:
            socket.create_server((self.host, self.port), family=family).close()
        except OSError as error:
            reason = str(error.strerror).partition(" (")[0]
            title = f"{self.host}:{self.port}: {reason}. Another PORT may be free."
            raise refused("address", title) from error

    def is_ready(self) -> bool:
        """Ask /readyz."""
        connection = http.client.HTTPConnection(self.reachable_host, self.port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


@click.command(cls=Operation)
@click.option(
    "--demo",
    "with_demo",
    is_flag=True,
    help="Make the demo first; choose a SECRET_KEY, TOPUPS=self and COOKIE_SECURE=0 where unset.",
)
@click.option(
    "--with-parent",
    is_flag=True,
    help="End also when the process that started this one is gone, however it ended.",
)
@with_appcontext
def serve(with_demo: bool, with_parent: bool) -> None:
    """Run web server and scheduler in the foreground, until Ctrl-C.

    Migrates first. Listens on HOST (127.0.0.1) and PORT (8000); gunicorn.conf.py has the other
    settings. When one of the two processes ends by itself, the other is stopped and the status is 1.
    """
    parent = (
        os.getppid() if with_parent else None
    )  # asked before the work below, in which it may end
    environment = _make_environment(with_demo)
    address = Address.from_env(environment)
    environment |= {"HOST": f"[{address.host}]" if address.is_ipv6 else address.host}
    environment |= {"PORT": str(address.port)}
    address.refuse_taken()
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    migrate_to(app)
    made = make_demo(house()) if with_demo else {}
    house().db.writer.dispose()  # from here on this process only watches
    house().db.reader.dispose()
    text = f"\nJari is at {address.url} (Ctrl-C ends it)\n"
    _watch(
        Children(environment),
        address,
        {"address": address.url} | made,
        f"{text}\n{logins()}\n" if with_demo else text,
        parent,
    )


def _make_environment(with_demo: bool) -> dict[str, str]:
    """Say what the children see; raise ConfigError when they could not start with it."""
    environment = {k: v for k, v in os.environ.items() if k != "FLASK_RUN_FROM_CLI"}
    if with_demo:
        environment = {"TOPUPS": "self", "COOKIE_SECURE": "0"} | environment
        if not environment.get("SECRET_KEY"):
            environment["SECRET_KEY"] = secrets.token_hex(32)
    Config.from_env(environment)
    # With the whole path of a SQLite file: the children run in another directory than we may.
    url = house().db.writer.url.render_as_string(hide_password=False)
    return environment | {"DATABASE_URL": url}


def _watch(
    children: Children,
    address: Address,
    facts: Mapping[str, object],
    text: str,
    parent: int | None,
) -> None:
    """Start the two processes, say when they serve, return when asked to stop or without `parent`.

    Raises click.ClickException when one ended by itself or does not serve in time.
    """
    signals = Signals()
    ready = False
    deadline = time.monotonic() + READY_SECONDS
    try:
        gunicorn = ["gunicorn", "--config", str(ROOT / "gunicorn.conf.py"), "wsgi:application"]
        children.start("web server", *gunicorn)
        while not signals.count and parent in (None, os.getppid()):
            if ended := children.find_ended():
                raise refused("ended", f"The {ended} has ended by itself; its own words are above.")
            if not ready and (ready := address.is_ready()):
                children.start("scheduler", "jobs")
                say(facts, text)
            if not ready and time.monotonic() > deadline:
                raise refused("not_ready", f"{address.url}/readyz has not answered in time.")
            time.sleep(LOOK_SECONDS)
    finally:
        children.stop(signals)
