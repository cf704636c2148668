"""What gunicorn.conf.py adds to gunicorn: who is answered first, and which connection has waited too long."""

import runpy
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
_numbers = count()  # or two connections would be equal


@pytest.fixture(scope="module")
def server() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "gunicorn.conf.py"))


def test_a_certificate_is_refused_at_the_start(server: dict[str, Any]) -> None:
    """No time limit would reach whoever stops in the middle of an encrypted request."""
    with pytest.raises(SystemExit, match="proxy"):
        server["on_starting"](SimpleNamespace(cfg=SimpleNamespace(is_ssl=True)))


def come(*, begun: bool) -> SimpleNamespace:
    """Return a connection that has asked something before, or has not."""
    return SimpleNamespace(begun=begun, was_new=not begun, number=next(_numbers))


class Till:
    """One thread at work; the first request keeps it until `open` is set."""

    def __init__(self, make_threads: Callable[..., Any]) -> None:
        self.open, self.lateness = threading.Event(), threading.local()
        self.order: list[SimpleNamespace] = []
        self.waited: list[float] = []
        self.threads = make_threads(1, self.lateness)
        self.busy = threading.Event()
        self.first = self.threads.submit(self._keep_busy, come(begun=True))
        assert self.busy.wait(60)

    def _keep_busy(self, _: SimpleNamespace) -> None:
        self.busy.set()
        self.open.wait(60)

    def serve(self, conn: SimpleNamespace) -> str:
        self.order.append(conn)
        self.waited.append(self.lateness.seconds)
        return "served"


@pytest.fixture
def till(server: dict[str, Any]) -> Iterator[Till]:
    till = Till(server["Threads"])
    yield till
    till.open.set()
    till.threads.shutdown()


def test_who_has_begun_goes_first_and_every_fourth_is_new(
    till: Till, server: dict[str, Any]
) -> None:
    share = server["NEWCOMER_EVERY"]
    new = [come(begun=False) for _ in range(4)]
    begun = [come(begun=True) for _ in range(2 * share)]
    told = [till.threads.submit(till.serve, conn) for conn in (*new, *begun)]
    till.open.set()
    assert [one.result(60) for one in told] == ["served"] * len(told)
    assert [conn for conn in till.order if conn.was_new] == new
    assert [conn for conn in till.order if not conn.was_new] == begun
    places = [place for place, conn in enumerate(till.order) if conn.was_new]
    assert all(conn.begun for conn in new)  # next time
    assert places[:2] == [share - 1, 2 * share - 1]  # while both waited
    assert places[2:] == [2 * share + 2, 2 * share + 3]  # and when nobody else did


def test_who_has_waited_elsewhere_goes_ahead_of_their_own_kind(till: Till) -> None:
    new, late, begun = come(begun=False), come(begun=False), come(begun=True)
    told = [till.threads.submit(till.serve, conn) for conn in (begun, new)]
    told.append(till.threads.submit(till.serve, late, ahead=True))
    till.open.set()
    assert [one.result(60) for one in told] == ["served"] * 3
    assert till.order == [begun, late, new]


def test_it_is_known_how_long_each_has_waited(till: Till) -> None:
    told = till.threads.submit(till.serve, come(begun=False))
    time.sleep(0.2)
    till.open.set()
    told.result(60)
    soon = till.threads.submit(till.serve, come(begun=False))
    soon.result(60)
    assert till.waited[0] >= 0.2 > till.waited[1]


def test_what_goes_wrong_is_told_and_the_thread_goes_on(till: Till) -> None:
    def fail(_: SimpleNamespace) -> None:
        raise ValueError("wrong")

    till.open.set()
    with pytest.raises(ValueError, match="wrong"):
        till.threads.submit(fail, come(begun=True)).result(60)
    assert till.threads.submit(till.serve, come(begun=True)).result(60) == "served"


def test_threads_end_when_they_are_told_to(till: Till) -> None:
    till.open.set()
    till.first.result(60)
    till.threads.shutdown()
    for thread in till.threads._threads:
        thread.join(60)
        assert not thread.is_alive()


def test_connections_are_found_wherever_they_stand(server: dict[str, Any]) -> None:
    kept = server["Connections"]()
    first, second, third = come(begun=True), come(begun=True), come(begun=True)
    conns = [Keyed(conn) for conn in (first, second, third)]
    for conn in conns:
        kept.append(conn)
    kept.remove(conns[1])
    assert (len(kept), list(kept), kept[0]) == (2, [conns[0], conns[2]], conns[0])
    assert kept.popleft() is conns[0]
    assert kept.popleft() is conns[2]
    assert not kept


def test_who_never_asked_is_not_waited_for_as_long(server: dict[str, Any]) -> None:
    silent = server["Connections"](server["SILENT_SECONDS"])
    conn = Keyed(come(begun=False))
    silent.append(conn)
    left = conn.timeout - time.monotonic()
    assert 0 < left <= server["SILENT_SECONDS"] < server["keepalive"]


class Keyed:
    """A connection, known by itself."""

    timeout = 0.0

    def __init__(self, conn: SimpleNamespace) -> None:
        self.conn = conn
