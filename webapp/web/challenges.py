"""What may be asked of somebody before they join: off unless JOIN_WORK_BITS is set.

Another kind of challenge is another class with the two methods of `Challenge`. The one that is here needs no
third party and keeps nothing: a proof of work, which costs a browser a moment and a crowd of programs a
crowd of moments.
"""

import hashlib
import hmac
import uuid
from typing import Any, Protocol

from webapp.clock import Clock
from webapp.web.failures import Rejected

HEADER = "Challenge-Answer"
WINDOW_SECONDS = 600  # an answer is good in its window and the next
NONCE_MAX = 40


class Challenge(Protocol):
    """Something to do before joining."""

    def issue(self, account_id: uuid.UUID, performance_id: int) -> dict[str, Any]:
        """Say what is to be done, as the client is told."""

    def accepts(self, account_id: uuid.UUID, performance_id: int, answer: str) -> bool:
        """Whether `answer` shows that it was done."""


class ProofOfWork:
    """Find a nonce for which SHA-256 of `challenge:nonce` begins with `bits` zero bits."""

    def __init__(self, clock: Clock, secret: str, bits: int) -> None:
        self._clock = clock
        self._key = hashlib.sha256(b"jari work " + secret.encode()).digest()
        self._bits = bits

    def issue(self, account_id: uuid.UUID, performance_id: int) -> dict[str, Any]:
        """Make a challenge that belongs to this customer, performance and time."""
        window = int(self._clock.now().timestamp()) // WINDOW_SECONDS
        challenge = self._challenge(account_id, performance_id, window)
        return {"kind": "proof_of_work", "challenge": challenge, "bits": self._bits}

    def accepts(self, account_id: uuid.UUID, performance_id: int, answer: str) -> bool:
        """Check an answer `challenge:nonce` without having kept the challenge."""
        challenge, _, nonce = answer.partition(":")
        if not 1 <= len(nonce) <= NONCE_MAX or not answer.isascii():
            return False
        window = int(self._clock.now().timestamp()) // WINDOW_SECONDS
        known = (self._challenge(account_id, performance_id, w) for w in (window, window - 1))
        if not any(hmac.compare_digest(challenge, one) for one in known):
            return False
        digest = int.from_bytes(hashlib.sha256(answer.encode()).digest())
        return digest >> (256 - self._bits) == 0

    def _challenge(self, account_id: uuid.UUID, performance_id: int, window: int) -> str:
        text = f"{account_id} {performance_id} {window}".encode()
        return hmac.digest(self._key, text, "sha256").hex()[:32]


def refuse_unanswered(
    challenge: Challenge | None, account_id: uuid.UUID, performance_id: int, answer: str
) -> None:
    """Raise Rejected (403) with what is to be done, unless nothing is or it was."""
    if challenge is not None and not challenge.accepts(account_id, performance_id, answer):
        asked = challenge.issue(account_id, performance_id)
        raise Rejected(403, "challenge_required", challenge=asked)
