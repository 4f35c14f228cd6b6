"""Signals that ask to stop: all of them are one request, however often they come."""

import os
import signal
from collections.abc import Iterator

import pytest

from dregcli.app.common.interrupts import let_go_of_closed_terminals, stop_requests

CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 143, "SIGUSR1": 143, "SIGUSR2": 143, "SIGXCPU": 143}


@pytest.fixture(autouse=True)
def _hears_hangups() -> Iterator[None]:
    """Under nohup a hangup is ignored from the start, and stays so."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def test_each_signal_is_a_request_with_an_exit_code_and_what_warns_may_come_again() -> None:
    before = {name: signal.getsignal(signal.Signals[name]) for name in CODES}
    for name, code in CODES.items():
        number = signal.Signals[name]
        with stop_requests() as stop:
            assert stop.received is None
            os.kill(os.getpid(), number)
            assert stop.received is number
            if name in ("SIGINT", "SIGTERM"):  # a second one ends the process
                assert signal.getsignal(number) is signal.SIG_DFL
            else:  # and would end it here
                os.kill(os.getpid(), number)
        error = stop.error("kept", where="here", hint="go on")
        assert (error.exit_code, str(error).splitlines()[0]) == (code, f"Stopped by {name}; kept.")
        assert {each: signal.getsignal(signal.Signals[each]) for each in CODES} == before


def test_sigterm_right_after_a_warning_does_not_end_the_process_before_its_work_is_kept() -> None:
    """Schedulers send both; a second SIGTERM ends it."""
    with stop_requests() as stop:
        os.kill(os.getpid(), signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received is signal.SIGUSR2
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_requests() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.received is None
            os.kill(os.getpid(), signal.SIGUSR1)
            assert stop.received is signal.SIGUSR1
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_terminal_that_was_closed_refuses_no_message() -> None:
    kept, alive = os.openpty()
    master, gone = os.openpty()
    os.close(master)
    with pytest.raises(OSError, match="Input/output error"):
        os.write(gone, b"x")
    let_go_of_closed_terminals((alive, gone))
    assert os.write(gone, b"x") == 1
    assert os.isatty(alive)
    for each in (kept, alive, gone):
        os.close(each)
