"""How late a request's turn came, and who is sent away for it.

More people than can be served at once wait before the application, in the server (gunicorn.conf.py), which
says how long. Before a sale with a waiting room that is all: joining is cheap there, and the room lets in as many
as the house takes. (`joining` sends away who has waited for so long that a client gives up.) Before a sale
without one each newcomer is a purchase more, and those who cannot be served would wait until they give up:
they are told when to come back.
"""

import random
import threading

from webapp import nowait
from webapp.web.failures import Rejected

LATE_SECONDS = 3.0
COME_BACK_SECONDS = (20, 40)


class Lateness(threading.local):
    """How many seconds the request that this thread answers has waited for the thread."""

    seconds = 0.0

    def refuse_newcomer(self) -> None:
        """Raise Rejected (503, busy) for somebody whose turn came late: a thread's turn, so this waits for one."""
        nowait.check()
        if self.seconds > LATE_SECONDS:
            raise refusal()


def refusal() -> Rejected:
    """Make what those hear who are sent away: to come back, not all at once."""
    return Rejected(503, "busy", retry_after=random.randint(*COME_BACK_SECONDS))
