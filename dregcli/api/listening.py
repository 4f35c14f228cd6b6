"""What a Python session sees of the messages that the command line shows."""

import warnings
from collections.abc import Mapping


class PythonListener:
    """A listener that makes Python warnings of warnings, and drops notes and progress."""

    def note(self, message: str) -> None:
        """See ``Listener``."""

    def warn(self, message: str) -> None:
        """See ``Listener``."""
        warnings.warn(message, stacklevel=2)

    def begin(self, task: str, total: int | None, unit: str, *, done: int = 0) -> None:
        """See ``Listener``."""

    def update(self, done: int, values: Mapping[str, float] | None = None) -> None:
        """See ``Listener``."""

    def expect(self, seconds: float) -> None:
        """See ``Listener``."""

    def end(self) -> None:
        """See ``Listener``."""
