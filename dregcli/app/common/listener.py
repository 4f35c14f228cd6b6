"""What a use case tells while it works. The command line shows it; tests collect it."""

from collections.abc import Mapping
from typing import Protocol


class Listener(Protocol):
    """Someone who watches."""

    def note(self, message: str) -> None:
        """Something worth knowing."""
        ...

    def warn(self, message: str) -> None:
        """Something that may not be what the user wants."""
        ...

    def begin(self, task: str, total: int | None, unit: str, *, done: int = 0) -> None:
        """A task of ``total`` units begins; one at a time, except that a task may nest in another."""
        ...

    def update(self, done: int, values: Mapping[str, float] | None = None) -> None:
        """The innermost task has ``done`` units, with numbers worth seeing beside."""
        ...

    def end(self) -> None:
        """The innermost task ends."""
        ...
