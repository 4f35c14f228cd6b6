"""Handle signals as requests to stop after the current step: Ctrl-C, SIGTERM, signals of schedulers and terminals."""

import contextlib
import os
import signal
import stat
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Final

from dregcli.errors import Interrupted, Terminated

_FORCING: Final = (signal.SIGINT, signal.SIGTERM)
"""A second one of these signals ends the process at once. SIGTERM after a warning is no second one: schedulers send
both, sometimes right after each other, and it must not end the process before its work is kept."""

_WARNING: Final = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
"""Signals that announce the end and often arrive more than once. SIGHUP comes from the system and from the shell when
the terminal closes; the others come from schedulers (SLURM, Grid Engine, LSF) before the time is up."""


@dataclass
class StopRequest:
    """A request to stop; ``received`` is None until a signal has arrived."""

    received: signal.Signals | None = None

    def error(self, kept: str, *, where: str, hint: str) -> Interrupted:
        """Return the error that ends the command with the signal's exit code; ``kept`` says what was saved."""
        kind = Interrupted if self.received in (signal.SIGINT, None) else Terminated
        name = self.received.name if self.received else "a signal"
        return kind(f"Stopped by {name}; {kept}.", where=where, hint=hint)


@contextmanager
def stop_requests(request: StopRequest | None = None) -> Generator[StopRequest]:
    """Turn the first signal into a request; after it another SIGINT or SIGTERM ends the process at once.

    SIGHUP and the signals of schedulers stay ignored if they were ignored before, as under ``nohup``. Outside of the
    main thread no signal can be handled, and nothing is.

    Args:
        request: the request that a signal changes; a new one if it is not given.
    """
    request = request or StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    wanted = (*_FORCING, *heard(_WARNING))
    previous = {number: signal.getsignal(number) for number in wanted}

    def on_signal(number: int, _frame: FrameType | None) -> None:
        found = received(number)
        request.received = request.received or found
        for each in _FORCING if number in _FORCING else (signal.SIGINT,):
            signal.signal(each, signal.SIG_DFL)

    for number in wanted:
        signal.signal(number, on_signal)
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def on_termination(handler: Callable[[signal.Signals], None]) -> None:
    """Call ``handler`` on SIGTERM and on the warning signals, until the process ends; Ctrl-C is not changed."""

    def on_signal(number: int, _frame: FrameType | None) -> None:
        handler(received(number))

    for number in (signal.SIGTERM, *heard(_WARNING)):
        signal.signal(number, on_signal)


def heard(numbers: Sequence[signal.Signals]) -> list[signal.Signals]:
    """Return the signals that the parent of this process did not set to be ignored."""
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


def received(number: int) -> signal.Signals:
    """Return the signal that came; ignore later warning signals, and stop writing to a closed terminal."""
    for each in heard(_WARNING):
        signal.signal(each, signal.SIG_IGN)
    if signal.Signals(number) in _WARNING:
        let_go_of_closed_terminals((1, 2))
    return signal.Signals(number)


def let_go_of_closed_terminals(descriptors: Sequence[int]) -> None:
    """Discard output to a terminal that was closed: a message that cannot be written must not stop the clean-up."""
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode) and not os.isatty(descriptor):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
