"""What a check has to say."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Result:
    """One check: how many things it looked at, and the differences it can name."""

    name: str
    things: str  # what was counted
    checked: int
    differences: tuple[str, ...]
    more: bool  # whether there are differences beyond those named

    @property
    def ok(self) -> bool:
        """Whether nothing differed."""
        return not (self.differences or self.more)


@dataclass(slots=True)
class Findings:
    """Differences as they turn up; after `shown` of them only the fact that there are more is kept."""

    shown: int
    differences: list[str] = field(default_factory=list)
    more: bool = False

    def note(self, difference: str) -> None:
        """Keep a difference, or that there are more."""
        if len(self.differences) < self.shown:
            self.differences.append(difference)
        else:
            self.more = True

    def result(self, name: str, things: str, checked: int) -> Result:
        """Close the check."""
        return Result(name, things, checked, tuple(self.differences), self.more)
