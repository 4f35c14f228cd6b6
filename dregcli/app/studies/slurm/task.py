"""The task of an array: one run of a study, which is stopped and started again by SLURM, perhaps on other hosts.

SLURM sends a signal when a task's time is nearly up, or when it is preempted. The run then writes a checkpoint, and
the task asks SLURM to start it again: a task that only ended would count as completed and never continue. This module
imports nothing heavy, because the process must be prepared before torch is imported.
"""

import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from dregcli.app.common.interrupts import on_termination
from dregcli.app.common.process import prepare_environment
from dregcli.errors import DregError, Terminated

if TYPE_CHECKING:
    from dregcli.app.studies.worker import Order, Outcome

MOST_IDLE: Final = 3
"""A run that has made no progress in so many starts in a row is not started again."""


class Log:
    """Writes the messages of a run to the log of its task (an ``app.common.listener.Listener``).

    Args:
        stream: the log.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def note(self, message: str) -> None:
        """See ``Listener``."""
        self._stream.write(f"{message}\n")
        self._stream.flush()

    def warn(self, message: str) -> None:
        """See ``Listener``."""
        self.note(f"warning: {message}")

    def begin(self, task: str, total: int | None, unit: str, *, done: int = 0) -> None:
        """See ``Listener``; the metrics of a run show its progress, so that the log need not."""

    def update(self, done: int, values: Mapping[str, float] | None = None) -> None:
        """See ``Listener``."""

    def expect(self, seconds: float) -> None:
        """See ``Listener``."""

    def end(self) -> None:
        """See ``Listener``."""


def run_task(order: str) -> None:
    """Carry out the order of a task; submitit calls this function.

    Args:
        order: path of the order.

    Raises:
        SystemExit: the run has failed or was stopped, or another process is training it.
    """
    prepare_environment()
    log = Log(sys.stdout)
    path = Path(order)
    on_termination(_interrupt)  # in place of submitit's handlers, which know nothing of checkpoints
    try:
        ended = _ended(path, log)
    except KeyboardInterrupt:
        ended = Terminated("Stopped before the run began.")
    finally:
        _ignore_signals()
    if isinstance(ended, Terminated):
        _start_again(path, log)
    if isinstance(ended, DregError):
        log.note(f"error: {ended}")
        raise SystemExit(ended.exit_code)
    if code := _reported(ended, log):
        raise SystemExit(code)


def _ended(path: Path, log: Log) -> "Outcome | DregError":
    from dregcli.app.studies.slurm.arrays import read_order
    from dregcli.app.studies.worker import carry_out

    try:
        order = read_order(path)
        log.note(order.label)
        return carry_out(order, log)
    except DregError as error:
        return error


def _reported(outcome: "Outcome", log: Log) -> int:
    """Say what has come of the run, and return the exit code of the task."""
    from dregcli.app.studies.outcome import UNFINISHED

    if outcome.failure:
        log.note(f"failed: {outcome.failure}")
        return outcome.failure.exit_code
    if outcome.maker:
        log.note(f"nothing to do: {outcome.maker} is about to train this run")
        return UNFINISHED
    log.note(f"trained: {outcome.run}" if outcome.trained else f"nothing to do: {outcome.run} is there already")
    return 0


def _start_again(path: Path, log: Log) -> None:
    """Ask SLURM to start this task again, unless somebody has cancelled it, or the run makes no progress."""
    from dregcli.app.studies.slurm import queue
    from dregcli.app.studies.slurm.arrays import keep_starts, read_order, starts_of
    from dregcli.filesystem import LOCAL
    from dregcli.store.job import own_job

    job = own_job()
    if job is None:
        return
    try:
        if not queue.must_ask(job):
            log.note(f"SLURM ends job {job.name}, so that it does not ask to be started again")
            return
        starts = starts_of(path).after(_step(read_order(path)))
        keep_starts(LOCAL, path, starts)
        if starts.idle >= MOST_IDLE:
            log.note(
                f"warning: the run made no progress in {starts.idle} starts in a row, so that job {job.name} is not "
                "started again; give it more time with --slurm timeout_min=MINUTES"
            )
            return
        queue.start_again(job)
    except DregError as error:
        log.note(
            f"warning: SLURM does not put job {job.name} into its queue again: {error}\n"
            "If it does not do so itself, type the same command again, which hands the run over anew."
        )
        return
    log.note(f"job {job.name} is in the queue again, and continues from step {starts.step}")


def _step(order: "Order") -> int:
    """Return the step up to which the run of an order is kept; 0 if there is no checkpoint."""
    from dregcli.app.studies.repeats import key_of, repeats_in
    from dregcli.store.runs import RunStore

    found = repeats_in(RunStore(order.runs_dir)).get(key_of(order.spec))
    return max(found.run.checkpoints(), default=0) if found else 0


def _interrupt(_: signal.Signals) -> None:
    _ignore_signals()
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    """Ignore signals, because SLURM sends more of them while it ends a job that it starts again."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGXCPU):
        signal.signal(number, signal.SIG_IGN)
