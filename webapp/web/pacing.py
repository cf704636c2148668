"""Who asked when, in this process: enough to turn away those who ignore `poll_after_ms`.

Bounded and losable: a forgotten client may ask once too often, which harms nobody.

The API, the waiting page and its script share a stay's pace. People are not programs: they press "Look again
now", reload by hand and open a second tab, so EARLY_LOOKS of them at the page are let through before one is
due. These postpone nothing, so that the page's script or own refresh, which keeps to what it was told, is
never turned away for them; whoever looks more often than that costs no look at the session.
"""

import math
import threading
import time
import uuid
from collections import OrderedDict

from webapp.web.failures import Rejected

TOO_SOON_SHARE = 0.4  # asking before this share of the wait is over counts as ignoring it
EARLY_LOOKS = 2  # at the page, for each one that is due


class Pacing:
    """Remembers, for each stay, before when asking again is too soon, and who did nevertheless."""

    def __init__(self, kept_max: int = 100_000) -> None:
        self._not_before: OrderedDict[uuid.UUID, float] = OrderedDict()
        self._early_looks: dict[uuid.UUID, int] = {}  # of those above
        self._kept_max = kept_max
        self._mutex = threading.Lock()

    def refuse_hasty(self, entry_id: uuid.UUID) -> None:
        """Raise 429 poll_too_soon with how long to wait."""
        if self.is_hasty(entry_id):
            left = self._not_before.get(entry_id, 0.0) - time.monotonic()
            seconds = max(1, math.ceil(left))  # rounded down it would invite the next 429
            raise Rejected(429, "poll_too_soon", retry_after=seconds)

    def refuse_reloading(self, entry_id: uuid.UUID) -> None:
        """Do `refuse_hasty` for the page: raise only when the early looks are used up."""
        with self._mutex:
            if not self.is_hasty(entry_id):
                return
            looks = self._early_looks.get(entry_id, 0) + 1
            if looks <= EARLY_LOOKS:
                self._early_looks[entry_id] = looks
                return
        self.refuse_hasty(entry_id)

    def is_hasty(self, entry_id: uuid.UUID) -> bool:
        """Whether this client was told to wait longer."""
        return self._not_before.get(entry_id, 0.0) > time.monotonic()

    def told(self, entry_id: uuid.UUID, poll_after_ms: int) -> None:
        """Remember what this client was told; an early look may bring the next one forward, not put it off."""
        not_before = time.monotonic() + poll_after_ms / 1000 * TOO_SOON_SHARE
        with self._mutex:
            if self.is_hasty(entry_id):
                not_before = min(not_before, self._not_before[entry_id])
            else:
                self._early_looks.pop(entry_id, None)
            self._not_before[entry_id] = not_before
            self._not_before.move_to_end(entry_id)
            if len(self._not_before) > self._kept_max:
                forgotten, _ = self._not_before.popitem(last=False)
                self._early_looks.pop(forgotten, None)
