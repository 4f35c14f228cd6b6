"""SIGINT and SIGTERM as a request to stop at the next step boundary."""

import signal
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from dregcli.errors import Interrupted, Terminated


@dataclass
class StopRequest:
    """Whether a signal has asked to stop."""

    received: signal.Signals | None = None

    def error(self, kept: str, *, where: str, hint: str) -> Interrupted:
        """The error that ends the command with the signal's exit code; ``kept`` says what was kept before."""
        kind = Terminated if self.received is signal.SIGTERM else Interrupted
        name = self.received.name if self.received else "a signal"
        return kind(f"Stopped by {name}; {kept}.", where=where, hint=hint)


@contextmanager
def stop_requests() -> Generator[StopRequest]:
    """Turn the first SIGINT or SIGTERM into a request; a second one ends the process at once."""
    request = StopRequest()
    wanted = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.getsignal(number) for number in wanted}

    def on_signal(number: int, _frame: FrameType | None) -> None:
        request.received = signal.Signals(number)
        for each in wanted:
            signal.signal(each, signal.SIG_DFL)

    for number in wanted:
        signal.signal(number, on_signal)
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
