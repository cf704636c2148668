"""How often one may try: counted in the database, so that any number of workers count as one.

Promises:

1. Over the limit is refused (429) by every process, exactly where the batch is 1, and at most
   `batch - 1` tries per process later where it is more: then the database hears of every batch only.
2. Who has been refused costs nothing until the window ends: each process remembers that much.
3. What is stored is a keyed hash: no address and no e-mail.
4. Addresses that are not public are not counted: a proxy that does not say for whom it asks must not make
   one suspect of all customers. TRUSTED_PROXIES says how many proxies to believe.
"""

import hmac
import ipaddress
import math
import threading
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TypeVar

from webapp.db import Database
from webapp.domain import accounts
from webapp.domain.errors import TooManyAttempts

V = TypeVar("V")

REMEMBERED_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Limit:
    """So many `hits` within `window_seconds`; a process counts `batch` of them before it says so."""

    name: str
    hits: int
    window_seconds: int
    batch: int = 1


SIGN_IN = Limit("sign-in", 10, 300)
SIGN_IN_FROM = Limit("sign-in from", 100, 300)
SIGN_UP = Limit("sign-up", 5, 3600)
SIGN_UP_FROM = Limit("sign-up from", 50, 3600)
# Joining is the rush itself: an honest customer joins once or twice and costs no count, a family or an
# office behind one address joins together, and no row is written by all who share an address each time.
JOIN = Limit("join", 60, 60, batch=5)
JOIN_FROM = Limit("join from", 3_000, 60, batch=50)


@lru_cache(REMEMBERED_MAX)
def public_address(text: str | None) -> str | None:
    """Return whom an address stands for: itself, its /64 in IPv6; None when it is not a public one."""
    try:
        address = ipaddress.ip_address(text or "")
    except ValueError:
        return None
    if not address.is_global:
        return None
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network(f"{address}/64", strict=False))


class Throttle:
    """Counts tries and refuses those over a limit."""

    def __init__(self, db: Database, secret: str) -> None:
        self._db = db
        self._secret = secret.encode()
        self._mutex = threading.Lock()
        self._pending: OrderedDict[str, int] = OrderedDict()
        self._shut: OrderedDict[str, datetime] = OrderedDict()

    def key(self, limit: Limit, who: str) -> str:
        """Return under which key somebody's tries are counted."""
        digest = hmac.digest(self._secret, who.encode("utf-8", "surrogatepass"), "sha256")
        return f"{limit.name} {digest.hex()}"

    def count(self, limit: Limit, who: str | None) -> None:
        """Count one try; raise TooManyAttempts with how long to wait. None is nobody in particular."""
        if who is None:
            return
        key, now = self.key(limit, who), self._db.clock.now()
        with self._mutex:
            until = self._shut.get(key, now)
            hits = self._pending.pop(key, 0) + 1
            if now >= until and hits < limit.batch:
                _remember(self._pending, key, hits)
                return
        if now < until:
            raise TooManyAttempts(retry_after=math.ceil((until - now).total_seconds()))
        wait = self._db.transact(
            accounts.count_attempt, key, limit.hits, limit.window_seconds, hits
        )
        if wait:
            with self._mutex:
                _remember(self._shut, key, now + timedelta(seconds=wait))
            raise TooManyAttempts(retry_after=wait)

    def count_joining(self, account_id: uuid.UUID, address: str | None) -> None:
        """Count one try to join a waiting room; raise TooManyAttempts."""
        self.count(JOIN_FROM, public_address(address))
        self.count(JOIN, str(account_id))


def _remember(kept: OrderedDict[str, V], key: str, value: V) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > REMEMBERED_MAX:
        kept.popitem(last=False)
