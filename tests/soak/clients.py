"""Customers who do everything that customers do, and some things that they should not.

Each is a thread with a random source of its own, made of the seed and its number: a run's choices are
repeated by its seed, as far as the answers are the same.
"""

import random
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import urllib3

from tests.builders import Customer
from tests.servers import Web
from tests.shoppers import Reply, Shopper
from tests.soak.history import API, History, Told

IMPATIENT_SECONDS = 0.004  # then the client is gone, whatever the server does
PATIENT_SECONDS = 15.0
REMEMBERED = 30

MIX = {
    "join": 8,
    "poll": 6,
    "look": 2,
    "hold": 24,
    "hold_best": 8,
    "release": 4,
    "pay": 22,
    "pay_an_older_hold": 4,
    "cancel": 4,
    "top_up": 8,
    "leave": 2,
    "scan": 3,
    "ask_again": 10,
}


@dataclass
class Errand:
    """A request that can be sent again as it was."""

    kind: str
    method: str
    path: str
    subject: str
    body: object = None
    key: str | None = None
    access: str = ""


@dataclass
class Client:
    """One customer; several clients may be tabs of the same one."""

    number: int
    seed: str
    customer: Customer
    door: Customer
    sales: Sequence[tuple[int, Sequence[str]]]  # id, seat labels
    webs: Sequence[Web]
    history: History
    stop: threading.Event
    limit: int
    holds: list[tuple[str, str]] = field(default_factory=list)  # id, access token
    bookings: list[tuple[str, int, list[str]]] = field(default_factory=list)
    sent: list[Errand] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(f"{self.seed}/{self.number}")
        self.shoppers = [Shopper(self._pool(), self.customer, sale) for sale, _ in self.sales]
        self.here = 0

    def _pool(self) -> urllib3.HTTPConnectionPool:
        return self.rng.choice(self.webs).http

    @property
    def me(self) -> Shopper:
        """Where this customer is shopping now, by whichever server answers next."""
        shopper = self.shoppers[self.here]
        shopper.http = self._pool()
        return shopper

    def run(self) -> None:
        """Shop until asked to stop, or until everybody together has done enough."""
        kinds, weights = list(MIX), list(MIX.values())
        while not self.stop.is_set() and self.history.operations < self.limit:
            if self.rng.random() < 0.05:
                self.here = self.rng.randrange(len(self.sales))
            getattr(self, self.rng.choices(kinds, weights)[0])()

    # -- what customers do

    def join(self) -> None:
        """Come in, or stand in line."""
        reply = self.me.join()
        self.history.note("join", self.customer.id, "", None, "", reply)
        if reply.code in ("sold_out", "lost", "busy"):
            time.sleep(self.rng.uniform(0, 0.1))

    def poll(self) -> None:
        """Ask where one stands."""
        if self.me.waiting:
            self.history.note("poll", self.customer.id, "", None, "", self.me.poll())

    def look(self) -> None:
        """Look at the map."""
        reply = self.me.ask("GET", f"/performances/{self.me.performance_id}/availability")
        self.history.note("look", self.customer.id, "", None, "", reply)

    def hold(self) -> None:
        """Choose one to three seats, mostly where others choose too."""
        labels = self.sales[self.here][1]
        crowd = labels[: len(labels) // 3] if self.rng.random() < 0.5 else labels
        seats = self.rng.sample(list(crowd), self.rng.randint(1, 3))
        self._hold({"seats": seats}, " ".join(seats))

    def hold_best(self) -> None:
        """Leave the choice to the house."""
        quantity = self.rng.randint(1, 3)
        self._hold({"best_available": {"quantity": quantity}}, f"best {quantity}")

    def _hold(self, wish: object, subject: str) -> None:
        if not self.me.access:
            return
        key = str(uuid.UUID(int=self.rng.getrandbits(128))) if self.rng.random() < 0.5 else None
        path = f"/performances/{self.me.performance_id}/holds"
        reply = self._send(Errand("hold", "POST", path, subject, wish, key, self.me.access))
        if reply.ok:
            self.holds = [*self.holds[-REMEMBERED:], (reply.body["id"], self.me.access)]

    def release(self) -> None:
        """Give the newest hold up."""
        if self.holds:
            hold_id, _ = self.holds[-1]
            self._send(Errand("release", "DELETE", f"/holds/{hold_id}", hold_id))

    def pay(self) -> None:
        """Pay the newest hold."""
        if self.holds:
            self._pay(*self.holds[-1])

    def pay_an_older_hold(self) -> None:
        """Pay what may have been replaced, paid or expired long ago."""
        if self.holds:
            self._pay(*self.rng.choice(self.holds))

    def _pay(self, hold_id: str, access: str) -> None:
        key = f"{hold_id}-{self.rng.randrange(2)}"  # two keys for one hold is a client's mistake
        errand = Errand("pay", "POST", "/bookings", hold_id, {"hold_id": hold_id}, key, access)
        twins = []
        if self.rng.random() < 0.1:
            twins = [threading.Thread(target=self._send, args=(errand,)) for _ in range(2)]
        for twin in twins:
            twin.start()
        self._keep(self._send(errand))
        for twin in twins:
            twin.join()

    def _keep(self, reply: Reply) -> None:
        if reply.ok and "tickets" in reply.body:
            codes = [ticket["code"] for ticket in reply.body["tickets"]]
            booking = (reply.body["reference"], reply.body["performance_id"], codes)
            self.bookings = [*self.bookings[-REMEMBERED:], booking]

    def cancel(self) -> None:
        """Give a booking back."""
        if self.bookings:
            reference, _, _ = self.rng.choice(self.bookings)
            path = f"/bookings/{reference}/cancellation"
            self._send(Errand("cancel", "POST", path, reference, key=f"cancel-{reference}"))

    def top_up(self) -> None:
        """Put money into the wallet."""
        amount, key = self.rng.randint(1, 5_000), str(uuid.UUID(int=self.rng.getrandbits(128)))
        body = {"amount_minor": amount}
        self._send(Errand("top_up", "POST", "/wallet/top-ups", str(amount), body, key))

    def leave(self) -> None:
        """Give everything up."""
        path = f"/performances/{self.me.performance_id}/queue"
        self._send(Errand("leave", "DELETE", path, ""))

    def scan(self) -> None:
        """Go to the door with a ticket."""
        if self.bookings and self.rng.random() < 0.3:
            _, performance_id, codes = self.rng.choice(self.bookings)
            code = self.rng.choice(codes)
            body = {"performance_id": performance_id, "code": code}
            gate = Shopper(self._pool(), self.door, performance_id)
            reply = gate.ask("POST", "/scans", body, seconds=PATIENT_SECONDS)
            self.history.note("scan", self.door.id, f"{API}/scans", None, code, reply)

    def ask_again(self) -> None:
        """Send something again that was sent a while ago, with the same key."""
        if self.sent:
            self._keep(self._send(self.rng.choice(self.sent)))

    # -- sending

    def _send(self, errand: Errand) -> Reply:
        seconds = IMPATIENT_SECONDS if self.rng.random() < 0.03 else PATIENT_SECONDS
        reply = self._ask(errand, seconds)
        if errand.key is not None:
            self.sent = [*self.sent[-REMEMBERED:], errand]
        if reply.code in ("not_admitted", "token_expired"):
            self.me.access = ""
        if reply.code in ("lost", "busy"):
            time.sleep(self.rng.uniform(0, 0.1))
        return reply

    def _ask(self, errand: Errand, seconds: float) -> Reply:
        ask = partial(self.me.ask, errand.method, errand.path, errand.body, key=errand.key)
        reply = ask(seconds=seconds, Access_Token=errand.access)
        path = API + errand.path
        self.history.note(errand.kind, self.customer.id, path, errand.key, errand.subject, reply)
        return reply

    def settle(self, told: Told, errand: Errand) -> Reply:
        """Ask once more for what nobody knew, until there is an answer."""
        for _ in range(50):
            reply = self._ask(errand, PATIENT_SECONDS)
            if reply.status not in (0, 503):
                return reply
            time.sleep(0.2)
        raise AssertionError(f"{told.kind} {told.subject} is never answered")
