"""Who asked when, in this process: enough to turn away those who ignore `poll_after_ms`.

Bounded and losable: a forgotten client may ask once too often, which harms nobody.
"""

import math
import threading
import time
import uuid
from collections import OrderedDict

from webapp.web.failures import Rejected

TOO_SOON_SHARE = 0.4  # asking before this share of the wait is over counts as ignoring it


class Pacing:
    """Remembers, for each stay, before when asking again is too soon."""

    def __init__(self, kept_max: int = 100_000) -> None:
        self._not_before: OrderedDict[uuid.UUID, float] = OrderedDict()
        self._kept_max = kept_max
        self._mutex = threading.Lock()

    def refuse_hasty(self, entry_id: uuid.UUID) -> None:
        """Raise 429 poll_too_soon with how long to wait."""
        if self.is_hasty(entry_id):
            left = self._not_before.get(entry_id, 0.0) - time.monotonic()
            seconds = max(1, math.ceil(left))  # rounded down it would invite the next 429
            raise Rejected(429, "poll_too_soon", retry_after=seconds)

    def is_hasty(self, entry_id: uuid.UUID) -> bool:
        """Whether this client was told to wait longer."""
        return self._not_before.get(entry_id, 0.0) > time.monotonic()

    def told(self, entry_id: uuid.UUID, poll_after_ms: int) -> None:
        """Remember what this client was told."""
        with self._mutex:
            self._not_before[entry_id] = time.monotonic() + poll_after_ms / 1000 * TOO_SOON_SHARE
            self._not_before.move_to_end(entry_id)
            if len(self._not_before) > self._kept_max:
                self._not_before.popitem(last=False)
