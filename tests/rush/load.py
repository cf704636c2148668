"""The load: requests over kept connections, each of them measured and held to the contract.

Promises:

1. Every request counts, whatever became of it: its name, when it began, how long it took, what it got.
2. An answer that the API's document does not declare for that call is `undeclared`; a declared refusal is
   not a failure. What had no answer at all is `lost`, and both are failures, as is any 5xx. Who is told
   429 or 503 without being told when to come back is counted, too.
3. A customer who is told to wait waits as long as was said, and asks again.
"""

import asyncio
import gc
import json
import time
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.rush.lines import Line, compose
from tests.web.contract import BY_NAME
from webapp.web import contract
from webapp.web.contract import Operation

PATIENCE_SECONDS = 30.0
CONFLICT = "409 "  # how the name of what happened to somebody begins who was refused with it
KEPT_SECONDS = 74.0  # a connection outlasts its last request; longer than between two polls


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; status 0 when there was none, and then the code says why."""

    status: int
    body: dict[str, Any]
    retry_after: float

    @property
    def ok(self) -> bool:
        """Whether the service said yes."""
        return 200 <= self.status < 300

    @property
    def code(self) -> str:
        """The refusal's code; "" for a success, "lost" without an answer."""
        return str(self.body.get("code", "")) if self.status else "lost"


@dataclass(frozen=True, slots=True)
class Party:
    """Who let the service choose: when they asked and heard, how many they are, and whether they got seats."""

    asked: float
    heard: float
    quantity: int
    seated: bool


@dataclass
class Measured:
    """All requests of one name."""

    began: "array[float]" = field(default_factory=lambda: array("d"))  # seconds since the run began
    milliseconds: "array[float]" = field(default_factory=lambda: array("d"))
    busy_milliseconds: "array[float]" = field(default_factory=lambda: array("d"))  # of 503 alone
    outcomes: Counter[str] = field(default_factory=Counter)  # "201", "409 seats_taken", "lost …"
    failed: int = 0
    undeclared: int = 0
    lost: int = 0
    without_retry_after: int = 0

    def add(self, other: "Measured") -> None:
        """Count what was measured elsewhere."""
        self.began += other.began
        self.milliseconds += other.milliseconds
        self.busy_milliseconds += other.busy_milliseconds
        self.outcomes += other.outcomes
        for count in ("failed", "undeclared", "lost", "without_retry_after"):
            setattr(self, count, getattr(self, count) + getattr(other, count))


def collect_seldom() -> None:
    """Let this process look for garbage seldom: while it does it notices no answer."""
    gc.set_threshold(50_000, 10, 10)


def _declared(operation: Operation) -> frozenset[tuple[int, str]]:
    successes = {(status, "") for status in operation.answers}
    refusals = {(contract.status_of(code), code) for code in operation.refused_with()}
    return frozenset(successes | refusals)


# What is asked with tokens that are none counts apart: its quick refusals would pass for quick holds and polls.
FORGED = {"forged_hold": BY_NAME["place_hold"], "forged_poll": BY_NAME["poll_queue"]}
CALLS = BY_NAME | FORGED
DECLARED = {name: _declared(operation) for name, operation in BY_NAME.items()} | {
    name: frozenset(
        (status, code)
        for status, code in _declared(operation)
        if status in (401, 503) or code == "token_wrong_performance"
    )
    for name, operation in FORGED.items()
}


class Load:
    """Everything that was asked."""

    def __init__(self, port: int, kept_seconds: float) -> None:
        self._port, self._kept_seconds = port, kept_seconds
        self.calls: dict[str, Measured] = {}
        # What happened to people, in seconds since the start.
        self.events: dict[str, array[float]] = {}
        self.parties: list[Party] = []  # seated, or refused for want of seats
        self.began = time.perf_counter()
        self._spare: list[Line] = []

    def line(self) -> Line:
        """Return a connection for somebody's own use."""
        return Line(self._port, self._kept_seconds)

    @property
    def now(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self.began

    def restart(self, began: float | None = None) -> None:
        """Let the run begin now, or when that of another process began."""
        self.began = time.perf_counter() if began is None else began

    def add(self, calls: "Mapping[str, Measured]", events: Mapping[str, "array[float]"]) -> None:
        """Count what another process asked."""
        for name, measured in calls.items():
            self.calls.setdefault(name, Measured()).add(measured)
        for event, moments in events.items():
            self.events.setdefault(event, array("d")).extend(moments)

    def note(self, event: str) -> None:
        """Write down that something happened to somebody."""
        self.events.setdefault(event, array("d")).append(self.now)

    async def ask(
        self,
        name: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        line: Line | None = None,
    ) -> Reply:
        """Make one request of the operation `name`, over the `line` of whoever asks, or over one for everybody.

        A refusal of the moment is waited out by others.
        """
        used = line or (self._spare.pop() if self._spare else self.line())
        data = None if body is None else json.dumps(body).encode()
        request = compose(CALLS[name].method.upper(), f"/api/v1{path}", headers or {}, data)
        began = self.now
        try:
            answer = await used.ask(request, PATIENCE_SECONDS)
            told = json.loads(answer.body) if answer.body[:1] == b"{" else {}
            reply = Reply(answer.status, told, float(answer.headers.get(b"retry-after", 0)))
        except OSError as error:
            reply = Reply(0, {"code": f"{type(error).__name__} {error}".strip()}, 1.0)
        self._measure(name, began, reply)
        if line is None:
            self._spare.append(used)
        return reply

    def _measure(self, name: str, began: float, reply: Reply) -> None:
        measured = self.calls.setdefault(name, Measured())
        measured.began.append(began)
        measured.milliseconds.append((self.now - began) * 1000)
        if reply.status == 503:
            measured.busy_milliseconds.append(measured.milliseconds[-1])
        code = "" if reply.ok else reply.body.get("code", "")
        measured.outcomes[f"{reply.status or 'lost'} {code}".strip()] += 1
        if reply.status == 409:
            self.note(f"{CONFLICT}{code}")
        undeclared = bool(reply.status) and (reply.status, code) not in DECLARED[name]
        measured.undeclared += undeclared
        measured.lost += reply.status == 0
        measured.without_retry_after += reply.status in (429, 503) and not reply.retry_after
        measured.failed += undeclared or reply.status == 0 or reply.status >= 500

    async def insist(
        self,
        name: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        line: Line | None = None,
        tries: int = 10,
    ) -> Reply:
        """Like `ask`, and again when the service is busy or was not heard, after as long as it said."""
        reply = await self.ask(name, path, headers, body, line)
        for _ in range(tries - 1):
            if reply.status not in (0, 429, 503):
                break
            await asyncio.sleep(max(reply.retry_after, 0.5))
            reply = await self.ask(name, path, headers, body, line)
        return reply
