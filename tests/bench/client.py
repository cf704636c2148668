"""A load generator that costs little: prepared requests over kept connections, one thread each."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Result:
    """What came back, and how fast."""

    statuses: Counter[int] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def per_second(self) -> float:
        """Requests answered per second."""
        return len(self.milliseconds) / self.seconds

    def percentile(self, share: float) -> float:
        """The latency that `share` of the requests stayed below, in milliseconds."""
        ordered = sorted(self.milliseconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """Prepare one HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: bench"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def run(
    port: int, requests: Sequence[bytes], connections: int, keep_bodies: bool = False
) -> Result:
    """Send all requests over `connections` kept connections; each takes the next when it is free."""
    result = Result()
    queue = iter(requests)
    lock = threading.Lock()
    start = threading.Barrier(connections + 1)
    threads = [
        threading.Thread(target=_work, args=(port, queue, lock, start, result, keep_bodies))
        for _ in range(connections)
    ]
    for thread in threads:
        thread.start()
    start.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    result.seconds = time.perf_counter() - began
    return result


def _work(
    port: int, queue: Any, lock: Any, start: threading.Barrier, result: Result, keep_bodies: bool
) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        start.wait()
        answers: list[tuple[int, float, bytes]] = []
        while True:
            with lock:
                prepared = next(queue, None)
            if prepared is None:
                break
            began = time.perf_counter()
            connection.sendall(prepared)
            status, body = _answer(connection)
            answers.append((status, (time.perf_counter() - began) * 1000, body))
    with lock:
        for status, milliseconds, body in answers:
            result.statuses[status] += 1
            result.milliseconds.append(milliseconds)
            if keep_bodies:
                result.bodies.append(body)


def _answer(connection: socket.socket) -> tuple[int, bytes]:
    data = connection.recv(65_536)
    while b"\r\n\r\n" not in data:
        data += _more(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    if head[9:12] == b"204":
        return 204, b""
    marker = head.lower().index(b"content-length: ") + 16
    length = int(head[marker:].split(b"\r\n", 1)[0])
    if len(body) < length:  # in one call, or reading a large answer costs more than answering it
        body += connection.recv(length - len(body), socket.MSG_WAITALL)
    if len(body) < length:
        raise ConnectionError("the server closed the connection")
    return int(head[9:12]), body


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65_536)
    if not data:
        raise ConnectionError("the server closed the connection")
    return data
