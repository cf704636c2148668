"""Connections of the crowd: each client has one, and keeps it between its requests as a browser does.

The load shares its processors with the service. An HTTP client for every purpose took a quarter of them, as
much as half of what the service used, for twenty thousand people (docs/benchmarks.md); this is a parser and a
socket.
"""

import asyncio
import gzip
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import httptools

HOST = "127.0.0.1"


@dataclass(slots=True)
class Answer:
    """An HTTP answer, unpacked; header names in lower case."""

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""


def compose(method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> bytes:
    """Return a request as it is sent."""
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {HOST}",
        "Accept: */*",
        "Accept-Encoding: gzip, deflate",
        "User-Agent: jari-rush",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


class Line:
    """One client's connection: opened when it is needed, closed when nothing was asked for `kept_seconds`."""

    def __init__(self, port: int, kept_seconds: float) -> None:
        self._port, self._kept_seconds = port, kept_seconds
        self._connection: _Connection | None = None
        self._hanging_up: asyncio.TimerHandle | None = None

    async def ask(self, request: bytes, patience_seconds: float) -> Answer:
        """Send one request and return its answer; raise OSError when there is none, or none in time."""
        if self._hanging_up is not None:
            self._hanging_up.cancel()
        try:
            async with asyncio.timeout(patience_seconds):
                if self._connection is None or self._connection.is_closed:
                    loop = asyncio.get_running_loop()
                    _, self._connection = await loop.create_connection(
                        _Connection, HOST, self._port
                    )
                answer = await self._connection.ask(request)
        except BaseException:
            self.hang_up()
            raise
        loop = asyncio.get_running_loop()
        self._hanging_up = loop.call_later(self._kept_seconds, self.hang_up)
        return answer

    def hang_up(self) -> None:
        """Close the connection, if there is one."""
        if self._hanging_up is not None:
            self._hanging_up.cancel()
        if self._connection is not None:
            self._connection.close()


class _Connection(asyncio.Protocol):
    """One answer after the other, as a parser tells them."""

    def __init__(self) -> None:
        self.is_closed = False
        self._parser = httptools.HttpResponseParser(self)
        self._answered: asyncio.Future[Answer] | None = None
        self._answer = Answer()
        self._pieces: list[bytes] = []

    async def ask(self, request: bytes) -> Answer:
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answered

    def close(self) -> None:
        self.is_closed = True
        self._transport.close()

    def _lose(self, error: Exception) -> None:
        self.close()
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(error)

    # -- what the socket tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._lose(ConnectionError(str(error)))

    def connection_lost(self, error: Exception | None) -> None:
        self._lose(error or ConnectionError("closed by the service"))

    # -- what the parser tells

    def on_message_begin(self) -> None:
        self._answer, self._pieces = Answer(), []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._answer.headers[name.lower()] = value

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        answer = self._answer
        answer.status = self._parser.get_status_code()
        answer.body = b"".join(self._pieces)
        if answer.headers.get(b"content-encoding") == b"gzip":
            answer.body = gzip.decompress(answer.body)
        if not self._parser.should_keep_alive():
            self.close()
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(answer)
