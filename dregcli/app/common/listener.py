"""Messages that a use case sends while it works. The command line shows them; tests collect them."""

from collections.abc import Mapping
from typing import Protocol


class Listener(Protocol):
    """Receiver of messages and progress."""

    def note(self, message: str) -> None:
        """Receive something worth knowing."""
        ...

    def warn(self, message: str) -> None:
        """Receive something that the user may not want."""
        ...

    def begin(self, task: str, total: int | None, unit: str, *, done: int = 0) -> None:
        """Begin a task of ``total`` units. Only one task runs at a time, but a task may contain another."""
        ...

    def update(self, done: int, values: Mapping[str, float] | None = None) -> None:
        """Set the innermost task to ``done`` units; ``values`` are numbers to show next to it."""
        ...

    def expect(self, seconds: float) -> None:
        """Receive the time that the outermost task is expected to take still, with everything that follows it."""
        ...

    def end(self) -> None:
        """End the innermost task."""
        ...


class ListenerOfMany(Listener, Protocol):
    """A listener of work in which several pieces go on at the same time."""

    def beside(self, label: str) -> Listener:
        """Return a listener for one of these pieces.

        Its tasks are shown beside those of the other pieces, under its label; its notes and warnings as all others.
        """
        ...
