"""The listener of a study: passes on the messages of its runs, with the time that all runs still take."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Final

from dregcli.app.common.listener import Listener
from dregcli.app.studies.pace import Pace

STEPS: Final = "steps"
"""The unit of the task that trains a run; its other tasks are short."""


class StudyListener:
    """Pass on the messages of runs, each warning once per study, and end tasks that a failure left open.

    Args:
        listener: receives all messages.
        pace: learns the progress of the present run, and estimates the time that all runs still need.
    """

    def __init__(self, listener: Listener, pace: Pace) -> None:
        self._listener = listener
        self._pace = pace
        self._warned: set[str] = set()
        self._open: list[tuple[str, int | None, int]] = []

    @contextmanager
    def task(self, name: str, total: int, unit: str, *, done: int) -> Generator[None]:
        """Begin a task that ends with the block, together with all tasks that are still open inside it."""
        outside = len(self._open)
        self.begin(name, total, unit, done=done)
        try:
            yield
        finally:
            while len(self._open) > outside:
                self.end()

    def note(self, message: str) -> None:
        """See ``Listener``."""
        self._listener.note(message)

    def warn(self, message: str) -> None:
        """See ``Listener``; an equal warning is passed on only once."""
        if message not in self._warned:
            self._warned.add(message)
            self._listener.warn(message)

    def begin(self, task: str, total: int | None, unit: str, *, done: int = 0) -> None:
        """See ``Listener``."""
        self._open.append((unit, total, done))
        self._listener.begin(task, total, unit, done=done)
        self._expect()

    def update(self, done: int, values: Mapping[str, float] | None = None) -> None:
        """See ``Listener``; also learn the progress of a run."""
        unit, total, first = self._open[-1]
        if unit == STEPS and total:
            self._pace.advance(done / total, first=first / total)
        self._expect()
        self._listener.update(done, values)

    def expect(self, seconds: float) -> None:
        """See ``Listener``."""
        self._listener.expect(seconds)

    def end(self) -> None:
        """See ``Listener``."""
        self._open.pop()
        self._listener.end()

    def _expect(self) -> None:
        seconds = self._pace.seconds_left()
        if seconds is not None:
            self._listener.expect(seconds)
