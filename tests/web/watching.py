"""What a request asks of the database."""

from types import TracebackType
from typing import Self

from sqlalchemy import event

from webapp.db import Database


class Watch:
    """Counts statements and borrowed connections, on both engines, while it is entered."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.statements: list[str] = []
        self.borrowed = 0

    def __enter__(self) -> Self:
        self._db.clock.now()  # measured now, so that it need not be measured meanwhile
        for engine in (self._db.writer, self._db.reader):
            event.listen(engine, "do_execute", self._statement)
            event.listen(engine, "checkout", self._borrow)
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        for engine in (self._db.writer, self._db.reader):
            event.remove(engine, "do_execute", self._statement)
            event.remove(engine, "checkout", self._borrow)

    def _statement(self, _cursor: object, text: str, *_: object) -> None:
        self.statements.append(text)

    def _borrow(self, *_: object) -> None:
        self.borrowed += 1

    @property
    def idle(self) -> bool:
        """Whether the database was left alone."""
        return not self.statements and not self.borrowed
