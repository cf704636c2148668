"""What a thread may not do for which everybody waits: wait.

Such a thread works in `nowait.work`. Whatever would ask the database or wait for another thread calls `check`
before it, and MustWait ends the attempt: somebody who may wait begins it anew.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class MustWait(BaseException):
    """This cannot be had without waiting. No Exception: it is nobody's failure, and nobody's to answer.

    `wish` is what was to be done, where that can be done for several at once.
    """

    def __init__(self, wish: object = None) -> None:
        super().__init__(wish)
        self.wish = wish


class _Here(threading.local):
    hurried = False


_here = _Here()


def is_asked() -> bool:
    """Whether this thread may not wait."""
    return _here.hurried


def check(wish: object = None) -> None:
    """Raise MustWait where this thread may not wait."""
    if _here.hurried:
        raise MustWait(wish)


def work(task: Callable[[], T]) -> T:
    """Do `task` if nothing has to be waited for; raise MustWait if something has."""
    _here.hurried = True
    try:
        return task()
    finally:
        _here.hurried = False
