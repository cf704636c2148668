"""What a thread may not do for which everybody waits: wait.

Such a thread works in `nowait.work`. Whatever would ask the database or wait for another thread calls `check`
before it, and MustWait ends the attempt: somebody who may wait begins it anew.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class MustWait(BaseException):
    """This cannot be had without waiting. No Exception: it is nobody's failure, and nobody's to answer."""


class _Here(threading.local):
    hurried = False


_here = _Here()


def is_asked() -> bool:
    """Whether this thread may not wait."""
    return _here.hurried


def check() -> None:
    """Raise MustWait where this thread may not wait."""
    if _here.hurried:
        raise MustWait


def work(task: Callable[[], T]) -> T | None:
    """Do `task` if nothing has to be waited for; None if something has."""
    _here.hurried = True
    try:
        return task()
    except MustWait:
        return None
    finally:
        _here.hurried = False
