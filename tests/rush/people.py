"""What the people of a rush do, each for themselves: come, wait, look, choose, and pay or not."""

import asyncio
import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.builders import Customer
from tests.rush.load import Load, Party, Reply
from webapp.web.tokens import Kind


@dataclass(frozen=True)
class Habits:
    """How people behave. Times in seconds."""

    party: tuple[int, ...] = (1, 2, 2, 4)
    reads: tuple[str, ...] = ()  # of READS, before the line and before choosing
    looks: int = 2  # at the seats before choosing
    look_seconds: float = 1.0  # from one look to the next
    tries: int = 5  # to get seats
    best_share: float = 0.0  # of people who let the service choose
    wanted: float = 1.0  # everybody wants one of this share of the seats, from the first one on
    think_seconds: float = 2.0  # between holding and paying
    stays_seconds: float = 0.0  # how long one watches the map when there is nothing left on it
    pay_share: float = 1.0  # the others let their seats go
    returns_after: float | None = None  # who let them go comes back after so long, and pays


# What people read besides: the call and its path; {event} and {sale} are the paths of these.
READS = {
    "get_event": "{event}",  # with the dates of its performances
    "list_seats": "{sale}/seats?status=free&limit=50",
}

ELSEWHERE = "arrived elsewhere"

# Refusals that say: look again, somebody else was quicker.
GONE = ("seats_taken", "not_enough_seats")

# Random seats that one looks at before taking the next free one: else all would choose the same.
GLANCES = 64

THINK_MAX = 5.0  # times the mean: people see how long their hold still lasts


def wanted_of(seats: int, share: float) -> int:
    """Return how many of so many seats are wanted, if it is this share of them."""
    return max(1, round(seats * share))


class Hall:
    """A performance as a client knows it: seats by name, each row's after each other."""

    def __init__(
        self, performance_id: int, labels: Sequence[str], rows: Sequence[str], slug: str = ""
    ) -> None:
        self.path = f"/performances/{performance_id}"
        self.event_path = f"/events/{slug}"
        self.labels = labels
        self.rows = rows

    def choose(self, states: str, quantity: int, wanted: float, rng: random.Random) -> list[str]:
        """Return free seats next to each other, from a random one on; fewer when nothing else is."""
        limit = wanted_of(len(states), wanted)
        starts = (rng.randrange(limit) for _ in range(GLANCES))
        start = next((seat for seat in starts if states[seat] == "f"), rng.randrange(limit))
        best = range(0)
        for first, last in ((start, limit), (0, start)):
            seat = states.find("f", first, last)
            while seat >= 0 and len(best) < quantity:
                group = self._group(states, seat, quantity, limit)
                best = max(best, group, key=len)
                seat = states.find("f", group.stop, last)
        return [self.labels[seat] for seat in best]

    def _group(self, states: str, first: int, quantity: int, limit: int) -> range:
        """Return the free seats of one row from `first` on, at most `quantity`."""
        end = first + 1
        while (
            end < min(first + quantity, limit)
            and states[end] == "f"
            and self.rows[end] == self.rows[first]
        ):
            end += 1
        return range(first, end)


@dataclass(frozen=True)
class Forgery:
    """What is sent instead of a token of this kind, and of what sort it is (tests/forgeries.py)."""

    kind: Kind
    sort: str
    token: str


class Person:
    """One customer in one sale."""

    def __init__(
        self, load: Load, hall: Hall, customer: Customer, habits: Habits, seed: object
    ) -> None:
        self.load, self.hall, self.habits = load, hall, habits
        self.rng = random.Random(f"{seed}")
        self.session = customer.bearer
        self.line = load.line()
        self.quantity = self.rng.choice(habits.party)
        self.tokens: dict[str, str] = {}

    async def come(self) -> None:
        """Do everything once, and note how it ended."""
        self.load.note("arrived")
        try:
            end = await self._sale(self.habits.pay_share)
            if end == "abandoned" and self.habits.returns_after is not None:
                self.load.note("let go")
                await asyncio.sleep(self.habits.returns_after)
                end = await self._sale(1.0)
        finally:
            self.line.hang_up()  # as a closed page does: so many open files a process may not have
        self.load.note(end)

    async def _sale(self, pay_share: float) -> str:
        await self._read("get_event")
        refused = await self.wait()
        if refused:
            return refused
        self.load.note("admitted")
        await self._read("list_seats")
        held = await self._hold()
        if held is None:
            return "no_seats"
        self.load.note("held")
        think = self.habits.think_seconds
        await asyncio.sleep(min(self.rng.expovariate(1 / think), THINK_MAX * think))
        if self.rng.random() >= pay_share:
            return "abandoned"
        return await self._pay(held)

    async def _read(self, name: str) -> None:
        if name in self.habits.reads:
            path = READS[name].format(event=self.hall.event_path, sale=self.hall.path)
            await self._insist(name, path)

    async def _insist(
        self, name: str, path: str, headers: dict[str, str] | None = None, body: Any = None
    ) -> Reply:
        return await self.load.insist(name, path, headers, body, self.line)

    async def wait(self) -> str:
        """Join and poll until it is one's turn; return why it will not be, or nothing."""
        path = f"{self.hall.path}/queue"
        reply = await self._insist("join_queue", path, self.session)
        while reply.ok and reply.body["status"] != "admitted":
            self._keep(reply)
            await asyncio.sleep(reply.body["poll_after_ms"] / 1000)
            reply = await self._insist("poll_queue", path, self._with("Waiting-Token"))
        self._keep(reply)
        return "" if reply.ok else f"queue: {reply.code}"

    async def wait_for_ever(self) -> None:
        """Wait until one's turn or until cancelled, and note how it ended."""
        self.load.note(ELSEWHERE)
        why = "never answered"
        try:
            why = await self.wait() or "admitted"
        except asyncio.CancelledError:
            why = "in line" if self.tokens else why
        finally:
            self.line.hang_up()
            self.load.note(f"elsewhere: {why}")

    def _keep(self, reply: Reply) -> None:
        for name, field in (("Waiting-Token", "waiting_token"), ("Access-Token", "access_token")):
            if reply.body.get(field):
                self.tokens[name] = reply.body[field]

    def _with(self, token: str) -> dict[str, str]:
        return self.session | {token: self.tokens[token]}

    async def _hold(self) -> Reply | None:
        """Get seats; who finds none watches the map as long as their patience lasts."""
        until = self.load.now + self.habits.stays_seconds
        reply = await self._choose(self.habits.looks)
        while (reply is None or reply.code in GONE) and self.load.now < until:
            await self._pause()
            reply = await self._choose(1)
        if reply is None or reply.ok:
            return reply
        self.load.note(f"hold: {reply.code}")
        return None

    async def _choose(self, looks: int) -> Reply | None:
        """Look, choose and try some times; then take what the service finds. None: nothing to try for."""
        seats: list[str] = []
        if self.rng.random() >= self.habits.best_share:
            for number in range(self.habits.tries):
                seats = await self._look(looks if number == 0 else 1)
                if not seats:
                    break
                reply = await self._ask_for({"seats": seats})
                if reply.code != "seats_taken":
                    return reply
        if self.habits.wanted < 1 or (self.habits.stays_seconds and not seats):
            return None  # those seats or none; or it is seen that there are none
        asked = self.load.now
        reply = await self._ask_for({"best_available": {"quantity": self.quantity}})
        if reply.ok or reply.code == "not_enough_seats":
            party = Party(asked, self.load.now, self.quantity, reply.ok)
            self.load.parties.append(party)
        return reply

    async def _ask_for(self, wish: dict[str, Any]) -> Reply:
        path, headers = f"{self.hall.path}/holds", self._with("Access-Token")
        return await self._insist("place_hold", path, headers, wish)

    async def _pause(self) -> None:
        await asyncio.sleep(self.habits.look_seconds * self.rng.uniform(0.5, 1.5))

    async def _look(self, times: int) -> list[str]:
        states = ""
        for number in range(times):
            if number:
                await self._pause()
            reply = await self._insist("get_availability", f"{self.hall.path}/availability")
            states = reply.body.get("states", "")
        return (
            self.hall.choose(states, self.quantity, self.habits.wanted, self.rng) if states else []
        )

    async def _pay(self, held: Reply) -> str:
        headers = self._with("Access-Token") | {"Idempotency-Key": uuid.uuid4().hex}
        reply = await self._insist("pay", "/bookings", headers, {"hold_id": held.body["id"]})
        if not reply.ok:
            return f"pay: {reply.code}"
        return "booked"


async def forge(load: Load, hall: Hall, customer: Customer, forgery: Forgery) -> None:
    """Ask with a token that opens nothing here, as a broken or a hostile client does."""
    if forgery.kind == "access":
        headers = customer.bearer | {"Access-Token": forgery.token}
        seats = {"seats": hall.labels[:1]}
        reply = await load.ask("forged_hold", f"{hall.path}/holds", headers, seats)
    else:
        headers = {"Waiting-Token": forgery.token}
        reply = await load.ask("forged_poll", f"{hall.path}/queue", headers)
    load.note(f"forged, {forgery.sort}: {reply.status}")
