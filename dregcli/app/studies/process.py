"""The program of a worker: it carries out one run of a study, and writes what happens as lines of JSON.

It reads one line from its standard input, the order, and stops with a checkpoint when its standard input ends. What
code of the user's prints goes to standard error.
"""

import json
import os
import signal
import threading
import time
import traceback
from collections.abc import Mapping
from typing import Any, Final, TextIO

from dregcli.app.common.interrupts import on_termination
from dregcli.app.common.process import prepare_environment
from dregcli.errors import DregError, Terminated

_UPDATE_SECONDS: Final = 0.1
"""Least time between two messages about the progress of a task."""


class Said:
    """Writes the messages of a run (an ``app.common.listener.Listener``).

    Args:
        stream: the stream to write to. If nobody reads it any more, the study is gone: then messages are dropped.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._updated = -_UPDATE_SECONDS

    def say(self, kind: str, content: object) -> None:
        """Write one message; see ``dregcli.app.studies.side_by_side.Message``."""
        try:
            self._stream.write(json.dumps({kind: content}) + "\n")
            self._stream.flush()
        except OSError:
            return

    def note(self, message: str) -> None:
        """See ``Listener``."""
        self.say("note", [message])

    def warn(self, message: str) -> None:
        """See ``Listener``."""
        self.say("warn", [message])

    def begin(self, task: str, total: int | None, unit: str, *, done: int = 0) -> None:
        """See ``Listener``."""
        self.say("begin", [task, total, unit, done])

    def update(self, done: int, values: Mapping[str, float] | None = None) -> None:
        """See ``Listener``; an update that follows another one at once is left out."""
        now = time.monotonic()
        if now - self._updated >= _UPDATE_SECONDS:
            self._updated = now
            self.say("update", [done, None if values is None else dict(values)])

    def expect(self, seconds: float) -> None:
        """See ``Listener``; a run alone knows nothing of the time of the others."""

    def end(self) -> None:
        """See ``Listener``."""
        self.say("end", [])


def main() -> None:
    """Carry out the order on standard input."""
    prepare_environment()
    said = Said(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)
    on_termination(_interrupt)
    try:
        document = json.loads(_line(0))
        threading.Thread(target=_stop_with_the_study, daemon=True).start()
        said.say(*_last_word(document, said))
    except KeyboardInterrupt:
        said.say(*_error(Terminated("Stopped before the run began.")))


def _last_word(document: Mapping[str, Any], said: Said) -> tuple[str, object]:
    try:
        from dregcli.app.studies.worker import Order, carry_out

        return "outcome", carry_out(Order.parse(document), said).document()
    except DregError as error:
        return _error(error)
    except Exception:
        return "unexpected", traceback.format_exc()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):  # a signal that comes now must not take the last word
            signal.signal(number, signal.SIG_IGN)


def _error(error: DregError) -> tuple[str, object]:
    parts = {"what": error.what, "where": error.where, "hint": error.hint}
    return "error", {"kind": type(error).__name__, **parts}


def _interrupt(_: signal.Signals) -> None:
    raise KeyboardInterrupt


def _stop_with_the_study() -> None:
    """Send this process SIGTERM when standard input ends.

    A process that has its first signal already would be ended by a second one before its checkpoint is written.
    """
    while os.read(0, 1024):
        pass
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        os.kill(os.getpid(), signal.SIGTERM)


def _line(descriptor: int) -> bytes:
    """Read a line, and no more: a buffered reader would be locked by the thread that waits for the end."""
    line = b""
    while not line.endswith(b"\n") and (part := os.read(descriptor, 1 << 16)):
        line += part
    return line


if __name__ == "__main__":
    main()
