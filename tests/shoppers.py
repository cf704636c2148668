"""A customer over HTTP, as a client program that means well: keeps its tokens, repeats with the same key."""

import json
import uuid
from dataclasses import dataclass
from typing import Any

import urllib3

from tests.builders import Customer

API = "/api/v1"


@dataclass(frozen=True)
class Reply:
    """What came back: status 0 and no body when nothing did."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def code(self) -> str:
        """The refusal's code, "" for a success, "lost" when there was no answer."""
        return "lost" if not self.status else str(self.body.get("code", ""))

    @property
    def ok(self) -> bool:
        """Whether the service said yes."""
        return 200 <= self.status < 300


class Shopper:
    """One customer at one performance."""

    def __init__(
        self, http: urllib3.HTTPConnectionPool, customer: Customer, performance_id: int
    ) -> None:
        self.http = http
        self.customer = customer
        self.performance_id = performance_id
        self.access = ""
        self.waiting = ""

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        seconds: float = 20.0,
        **headers: str,
    ) -> Reply:
        """Make a request; `headers` are names with _ for -."""
        sent = {**self.customer.bearer, **{k.replace("_", "-"): v for k, v in headers.items() if v}}
        if key is not None:
            sent["Idempotency-Key"] = key
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        try:
            answer = self.http.request(method, API + path, body=data, headers=sent, timeout=seconds)
        except (urllib3.exceptions.HTTPError, OSError):
            return Reply(0, {}, {})
        found = json.loads(answer.data) if answer.data[:1] == b"{" else {}
        return Reply(answer.status, found, dict(answer.headers))

    def join(self) -> Reply:
        """Come in or stand in line; keeps the tokens."""
        return self._keep(self.ask("POST", f"/performances/{self.performance_id}/queue"))

    def poll(self) -> Reply:
        """Ask where one stands; keeps the tokens."""
        path = f"/performances/{self.performance_id}/queue"
        return self._keep(self.ask("GET", path, Waiting_Token=self.waiting))

    def _keep(self, reply: Reply) -> Reply:
        self.access = reply.body.get("access_token") or self.access
        self.waiting = reply.body.get("waiting_token") or self.waiting
        return reply

    def leave(self) -> Reply:
        """Give everything up."""
        return self.ask("DELETE", f"/performances/{self.performance_id}/queue")

    def hold(self, *seats: str, key: str | None = None) -> Reply:
        """Ask for named seats."""
        return self._hold({"seats": list(seats)}, key)

    def hold_best(self, quantity: int, key: str | None = None) -> Reply:
        """Ask for the best there are."""
        return self._hold({"best_available": {"quantity": quantity}}, key)

    def _hold(self, wish: dict[str, Any], key: str | None) -> Reply:
        path = f"/performances/{self.performance_id}/holds"
        return self.ask("POST", path, wish, key=key, Access_Token=self.access)

    def pay(self, hold_id: str, key: str | None = None) -> Reply:
        """Pay a hold, by default with a key that says which."""
        body = {"hold_id": hold_id}
        return self.ask("POST", "/bookings", body, key=key or hold_id, Access_Token=self.access)

    def cancel(self, reference: str, key: str | None = None) -> Reply:
        """Give a booking back."""
        path = f"/bookings/{reference}/cancellation"
        return self.ask("POST", path, key=key or f"cancel-{reference}")

    def top_up(self, amount_minor: int, key: str | None = None) -> Reply:
        """Put money into the wallet."""
        body = {"amount_minor": amount_minor}
        return self.ask("POST", "/wallet/top-ups", body, key=key or str(uuid.uuid4()))

    def buy(self, *seats: str) -> Reply:
        """Join, hold and pay; return the first answer that is no success, or the booking."""
        for reply in (self.join(), self.hold(*seats)):
            if not reply.ok:
                return reply
        return self.pay(reply.body["id"])
