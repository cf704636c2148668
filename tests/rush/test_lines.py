"""The crowd's connections: one for each client, kept, opened again, and never taken for answered."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest

from tests.rush.lines import Answer, Line, compose

T = TypeVar("T")

PATIENCE = 5.0


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run it in a thread of its own: a browser's test may have left a loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def answer(body: bytes, *headers: str) -> bytes:
    head = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


class House:
    """Answers each request with what `say` returns for its number; counts connections."""

    def __init__(self, say: Callable[[int], bytes]) -> None:
        self.say = say
        self.connections = self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.requests += 1
                said = self.say(self.requests)
                for piece in (said[:20], said[20:]):  # it may come apart anywhere
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                if b"Connection: close" in said:
                    await reader.read()  # who was told so closes; nobody closes for him
                    break
                if said == b"":
                    break
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1]


def ask(
    house: House, times: int = 1, kept: float = 30.0, pause: float = 0.0, patience: float = PATIENCE
) -> list[Answer | OSError]:
    async def go() -> list[Answer | OSError]:
        async with house.open() as port:
            line, got = Line(port, kept), list[Answer | OSError]()
            for _ in range(times):
                try:
                    got.append(await line.ask(compose("GET", "/", {}), patience))
                except OSError as error:
                    got.append(error)
                await asyncio.sleep(pause)
            line.hang_up()
            return got

    return run(go())


def test_requests_of_one_client_share_a_connection() -> None:
    house = House(lambda number: answer(b"%d" % number))
    got = ask(house, 3)
    assert [told.body for told in got if isinstance(told, Answer)] == [b"1", b"2", b"3"]
    assert house.connections == 1


def test_after_a_pause_or_a_farewell_there_is_a_new_connection() -> None:
    paused = House(lambda _: answer(b"x"))
    assert len(ask(paused, 2, kept=0.05, pause=0.2)) == paused.connections == 2
    leaving = House(lambda _: answer(b"x", "Connection: close"))
    assert all(isinstance(told, Answer) for told in ask(leaving, 2, patience=1.0))
    assert leaving.connections == 2


def test_packed_answers_are_unpacked() -> None:
    [told] = ask(House(lambda _: answer(gzip.compress(b"seats" * 99), "Content-Encoding: gzip")))
    assert isinstance(told, Answer)
    assert told.body == b"seats" * 99


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nhalf",
        b"no HTTP at all" * 9,
    ],
)
def test_half_an_answer_is_none(said: bytes) -> None:
    house = House(lambda number: said if number == 1 else answer(b"whole"))
    lost, told = ask(house, 2)
    assert isinstance(lost, OSError)
    assert isinstance(told, Answer)
    assert told.body == b"whole"


def test_patience_ends() -> None:
    [lost] = ask(House(lambda _: answer(b"half")[:-2]), patience=0.2)
    assert isinstance(lost, TimeoutError)


def test_nobody_listens() -> None:
    async def go() -> None:
        with pytest.raises(ConnectionRefusedError):
            await Line(1, 1.0).ask(compose("GET", "/", {}), PATIENCE)

    run(go())


def test_a_body_is_measured() -> None:
    request = compose("POST", "/a", {"X": "y"}, b"{}")
    assert request.startswith(b"POST /a HTTP/1.1\r\n")
    assert b"\r\nX: y\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}" in request
