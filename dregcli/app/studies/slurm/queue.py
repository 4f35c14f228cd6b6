"""Ask SLURM about its jobs, and have it start a job again."""

import subprocess
import time
from collections.abc import Iterable
from typing import Final

from dregcli.errors import ClusterError
from dregcli.store.job import Job

NEEDED: Final = ("sbatch", "srun", "squeue", "scontrol")
"""The commands of SLURM without which no study can be handed over."""

_PATIENCE: Final = 60.0
"""Longest time in seconds that a command of SLURM may take."""

_NOT_CANCELLED: Final = frozenset({"RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "TIMEOUT", "PREEMPTED"})
"""States of a job that has received a signal although nobody has cancelled it. A job is RUNNING while it gets a
warning, and in the time of grace that SLURM gives to a job that it preempts."""

_LOOKS: Final = 5
"""How often the accounting is asked about a job: it learns of the end of a job some seconds later."""


def in_queue() -> set[str]:
    """Return this user's jobs that wait or run, each as ``Job.name`` has it.

    Raises:
        ClusterError: SLURM does not answer.
    """
    shown = _asked("squeue", "--me", "--noheader", "--array", "--format=%i")
    return {line.strip() for line in shown.splitlines() if line.strip()}


def must_ask(job: Job) -> bool:
    """Whether a job that a signal stops must ask SLURM to be started again.

    SLURM sends SIGTERM to a job that is preempted, that has no time left, or that somebody has cancelled. A cancelled
    job must not start again; and one that is preempted without a time of grace is started again by SLURM itself.
    While SLURM ends a job, it shows only ``COMPLETING`` for most of these; the accounting, where there is one, knows
    the reason. Where nothing is known, the job is left alone.

    Args:
        job: the job of this process.

    Raises:
        ClusterError: SLURM does not answer.
    """
    words = _asked("scontrol", "--oneliner", "show", "job", job.name).split()
    fields = dict(word.split("=", 1) for word in words if "=" in word)
    state = fields.get("JobState", "")
    if state in _NOT_CANCELLED or fields.get("Reason") == "TimeLimit":
        return True
    return state == "COMPLETING" and _ended_state(job) in _NOT_CANCELLED


def start_again(job: Job) -> None:
    """Put a job, which ends, into the queue again.

    Raises:
        ClusterError: SLURM refuses.
    """
    _asked("scontrol", "requeue", job.name)


def _ended_state(job: Job) -> str:
    """Return the state of a job by the accounting; empty if there is none, or it does not know the end yet."""
    for look in range(_LOOKS):
        try:
            shown = _asked(
                "sacct", "--noheader", "--allocations", "--parsable2", "--format=State", "--jobs", job.name
            )
        except ClusterError:
            return ""
        state = shown.split()[0] if shown.split() else ""
        if state not in ("", "RUNNING", "COMPLETING"):
            return state
        if look < _LOOKS - 1:
            time.sleep(1.0)
    return ""


def _asked(*words: str) -> str:
    """Return what a command of SLURM prints.

    Raises:
        ClusterError: it is missing, fails, or takes too long.
    """
    try:
        done = subprocess.run(words, capture_output=True, check=True, timeout=_PATIENCE, stdin=subprocess.DEVNULL)
    except subprocess.CalledProcessError as error:
        raise refusal(words, error.stderr.decode(errors="replace")) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise refusal(words, str(error)) from error
    return done.stdout.decode(errors="replace")


def refusal(words: Iterable[str], said: str, *, hint: str = "see whether the cluster answers: sinfo") -> ClusterError:
    """Return the error for a command of SLURM that failed.

    Args:
        words: the command.
        said: what it printed.
        hint: the next thing to type.
    """
    name, *_ = words
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    what = f"SLURM's command {name} failed: {lines[-1] if lines else 'it printed nothing'}"
    return ClusterError(what, where=" ".join(words), hint=hint)
