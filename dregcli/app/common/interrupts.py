"""Signals as a request to stop at the next step boundary: Ctrl-C, SIGTERM, and what schedulers and terminals send."""

import contextlib
import os
import signal
import stat
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Final

from dregcli.errors import Interrupted, Terminated

_FORCING: Final = (signal.SIGINT, signal.SIGTERM)
"""A second one of these ends the process at once."""

_WARNING: Final = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
"""What comes ahead of the end, and often more than once: SIGHUP when the terminal closes, from the system and from
the shell; the others from schedulers (SLURM, Grid Engine, LSF) before the time is up."""


@dataclass
class StopRequest:
    """Whether a signal has asked to stop."""

    received: signal.Signals | None = None

    def error(self, kept: str, *, where: str, hint: str) -> Interrupted:
        """The error that ends the command with the signal's exit code; ``kept`` says what was kept before."""
        kind = Interrupted if self.received in (signal.SIGINT, None) else Terminated
        name = self.received.name if self.received else "a signal"
        return kind(f"Stopped by {name}; {kept}.", where=where, hint=hint)


@contextmanager
def stop_requests() -> Generator[StopRequest]:
    """Turn the first signal into a request; after it another SIGINT or SIGTERM ends the process at once.

    SIGHUP and what schedulers send stay ignored where they are, as ``nohup`` has it.
    """
    request = StopRequest()
    wanted = (*_FORCING, *heard(_WARNING))
    previous = {number: signal.getsignal(number) for number in wanted}

    def on_signal(number: int, _frame: FrameType | None) -> None:
        request.received = received(number)
        for each in _FORCING:
            signal.signal(each, signal.SIG_DFL)

    for number in wanted:
        signal.signal(number, on_signal)
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def on_termination(handler: Callable[[signal.Signals], None]) -> None:
    """Have SIGTERM and what asks for the same call ``handler``, until the process ends; Ctrl-C stays as it is."""

    def on_signal(number: int, _frame: FrameType | None) -> None:
        handler(received(number))

    for number in (signal.SIGTERM, *heard(_WARNING)):
        signal.signal(number, on_signal)


def heard(numbers: Sequence[signal.Signals]) -> list[signal.Signals]:
    """Those that whoever started this process does not want to be ignored."""
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


def received(number: int) -> signal.Signals:
    """Which signal came; what warns of the end is not listened to again, and a terminal that is gone is let go."""
    for each in heard(_WARNING):
        signal.signal(each, signal.SIG_IGN)
    if signal.Signals(number) in _WARNING:
        let_go_of_closed_terminals((1, 2))
    return signal.Signals(number)


def let_go_of_closed_terminals(descriptors: Sequence[int]) -> None:
    """Write to nowhere what a terminal that was closed would refuse: no message is to keep us from what is left."""
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode) and not os.isatty(descriptor):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
