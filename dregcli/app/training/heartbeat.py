"""Keep the run's heartbeat fresh during work without steps, such as an evaluation."""

from collections.abc import Mapping

from dregcli.app.common.listener import Listener
from dregcli.store.writer import RunWriter


class Heartbeat:
    """A listener that passes everything to another one, and flushes the writer when a flush is due.

    A reader on another host knows only the heartbeat. Without the flush, it would take a run in a long evaluation for
    dead.

    Args:
        listener: receives all messages.
        writer: writer of the running run.
    """

    def __init__(self, listener: Listener, writer: RunWriter) -> None:
        self._listener = listener
        self._writer = writer

    def note(self, message: str) -> None:
        """See ``Listener``."""
        self._listener.note(message)

    def warn(self, message: str) -> None:
        """See ``Listener``."""
        self._listener.warn(message)

    def begin(self, task: str, total: int | None, unit: str, *, done: int = 0) -> None:
        """See ``Listener``."""
        self._listener.begin(task, total, unit, done=done)

    def update(self, done: int, values: Mapping[str, float] | None = None) -> None:
        """See ``Listener``; also flush if a flush is due."""
        self._listener.update(done, values)
        if self._writer.flush_due():
            self._writer.flush()

    def expect(self, seconds: float) -> None:
        """See ``Listener``."""
        self._listener.expect(seconds)

    def end(self) -> None:
        """See ``Listener``."""
        self._listener.end()
