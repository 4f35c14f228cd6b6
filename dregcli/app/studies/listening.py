"""The listeners of a study: they pass on the messages of its runs, with the time that all runs still take."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Final

from dregcli.app.common.listener import Listener, ListenerOfMany
from dregcli.app.studies.pace import Pace, Present

STEPS: Final = "steps"
"""The unit of the task that trains a run; its other tasks are short."""


class StudyListener:
    """Pass on the messages of a study, each warning once.

    Args:
        listener: receives all messages.
        pace: estimates the time that all runs still need.
    """

    def __init__(self, listener: ListenerOfMany, pace: Pace) -> None:
        self._listener = listener
        self._pace = pace
        self._warned: set[str] = set()

    @contextmanager
    def task(self, name: str, total: int, unit: str, *, done: int) -> Generator[None]:
        """Begin a task that ends with the block."""
        self._listener.begin(name, total, unit, done=done)
        self.expect()
        try:
            yield
        finally:
            self._listener.end()

    def update(self, done: int) -> None:
        """Set the task to ``done`` units."""
        self._listener.update(done)
        self.expect()

    def note(self, message: str) -> None:
        """Pass a message on."""
        self._listener.note(message)

    def warn(self, message: str) -> None:
        """Pass a warning on; an equal one is passed on only once."""
        if message not in self._warned:
            self._warned.add(message)
            self._listener.warn(message)

    def expect(self) -> None:
        """Pass on the time that all runs still need, once it is known."""
        seconds = self._pace.seconds_left()
        if seconds is not None:
            self._listener.expect(seconds)

    def alone(self, present: Present, heading: Callable[[], str]) -> "RunListener":
        """Return the listener of a run that is trained alone.

        Args:
            present: learns the progress of the run.
            heading: returns a line that is shown before the first message of the run.
        """
        return RunListener(self, self._listener, present, heading)

    def beside(self, label: str, present: Present) -> "RunListener":
        """Return the listener of a run that is trained beside others; its messages begin with its label."""
        return RunListener(self, self._listener.beside(label), present, prefix=f"{label}: ")


class RunListener:
    """Pass on the messages of one run of a study; see ``StudyListener.alone`` and ``beside``."""

    def __init__(
        self,
        study: StudyListener,
        progress: Listener,
        present: Present,
        heading: Callable[[], str] | None = None,
        prefix: str = "",
    ) -> None:
        self._study, self._progress, self._present = study, progress, present
        self._heading, self._prefix = heading, prefix
        self._open: list[tuple[str, int | None, int]] = []

    def note(self, message: str) -> None:
        """See ``Listener``."""
        self._show_heading()
        self._study.note(f"{self._prefix}{message}")

    def warn(self, message: str) -> None:
        """See ``Listener``; without the run's label, since an equal warning of other runs is not shown again."""
        self._show_heading()
        self._study.warn(message)

    def begin(self, task: str, total: int | None, unit: str, *, done: int = 0) -> None:
        """See ``Listener``."""
        self._show_heading()
        if unit == STEPS:
            self._present.take_steps()
        self._open.append((unit, total, done))
        self._progress.begin(task, total, unit, done=done)
        self._study.expect()

    def update(self, done: int, values: Mapping[str, float] | None = None) -> None:
        """See ``Listener``; also learn the progress of the run."""
        unit, total, first = self._open[-1]
        if unit == STEPS and total:
            self._present.advance(done / total, first=first / total)
        self._study.expect()
        self._progress.update(done, values)

    def expect(self, seconds: float) -> None:
        """See ``Listener``; nothing is passed on, because the study knows how long all its runs take."""

    def end(self) -> None:
        """See ``Listener``."""
        self._open.pop()
        self._progress.end()

    def begin_again(self) -> None:
        """Begin with nothing: the run starts, or another machine goes on with it."""
        self.close()
        self._present.begin_again()

    def close(self) -> None:
        """End the tasks that a failure left open."""
        while self._open:
            self.end()

    def _show_heading(self) -> None:
        if self._heading is not None:
            heading, self._heading = self._heading, None
            self._study.note(heading())
