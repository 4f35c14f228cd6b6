"""The settings of SLURM's jobs that ``dreg train --slurm NAME=VALUE`` takes, by submitit's names."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from dregcli.errors import Fault
from dregcli.names import unknown

MINUTES: Final = 60
"""The time limit of a job if none is given, in minutes. A run that needs longer is started again and continues."""

USUAL_WARNING: Final = 90
"""Seconds between the warning signal and the time limit if ``signal_delay_s`` is not given, as in submitit."""

COMMON: Final = ("timeout_min", "mem_gb", "cpus_per_task", "gpus_per_node")
"""Settings that submitit knows for every kind of cluster; it wants ``slurm_`` in front of the names of all others."""

_BY_COMMAND: Final = {
    "array_parallelism": "is set by --at-once.",
    "nodes": "cannot be set: each run is one process.",
    "tasks_per_node": "cannot be set: each run is one process.",
    "ntasks_per_node": "cannot be set: each run is one process.",
    "time": "is called timeout_min here, in minutes.",
    "mem": "is called mem_gb here, in gigabytes.",
}


def _text(value: str) -> str:
    if not value:
        raise ValueError
    return value


def _whole(value: str) -> int:
    number = int(value)
    if number < 1:
        raise ValueError
    return number


def _positive(value: str) -> float:
    number = float(value)
    if not 0 < number < float("inf"):
        raise ValueError
    return number


_WHOLE: Final = (_whole, "a whole number, at least 1")
_TEXT: Final = (_text, "a text that is not empty")

SETTINGS: Final[Mapping[str, tuple[Callable[[str], Any], str]]] = {
    "partition": _TEXT,
    "timeout_min": _WHOLE,
    "mem_gb": (_positive, "a number above 0"),
    **dict.fromkeys(("cpus_per_task", "gpus_per_node", "gpus_per_task", "cpus_per_gpu", "signal_delay_s"), _WHOLE),
    **dict.fromkeys(("mem_per_cpu", "mem_per_gpu", "gres", "constraint", "nodelist", "exclude"), _TEXT),
    **dict.fromkeys(("account", "qos", "wckey", "comment", "dependency", "mail_type", "mail_user", "setup"), _TEXT),
}
"""The settings: how the value of each is read, and what it must be, in words."""


def parse(words: Iterable[str]) -> tuple[dict[str, Any], list[Fault]]:
    """Return the settings in ``NAME=VALUE`` words, and their faults.

    ``setup``, a command of the shell that runs before the program, may be given several times.
    """
    found: dict[str, Any] = {}
    setup: list[str] = []
    faults: list[Fault] = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            faults.append(Fault("slurm", f"must be NAME=VALUE, such as partition=gpu, got '{word}'."))
        elif name in _BY_COMMAND:
            faults.append(Fault("slurm", f"{name} {_BY_COMMAND[name]}"))
        elif name not in SETTINGS:
            faults.append(Fault("slurm", unknown("setting", name, SETTINGS)))
        elif name in found:
            faults.append(Fault("slurm", f"{name} is given twice."))
        else:
            read, kind = SETTINGS[name]
            try:
                parsed = read(value)
            except ValueError:
                faults.append(Fault("slurm", f"{name} must be {kind}, got '{value}'."))
                continue
            if name == "setup":
                setup.append(value)
            else:
                found[name] = parsed
    if setup:
        found["setup"] = setup
    return found, faults + _of_time(found)


def _of_time(found: Mapping[str, Any]) -> list[Fault]:
    minutes, seconds = found.get("timeout_min", MINUTES), found.get("signal_delay_s", USUAL_WARNING)
    if minutes * 60 > seconds:
        return []
    message = f"timeout_min={minutes} leaves no time to train: SLURM warns a run {seconds} s before its time is up."
    return [Fault("slurm", message)]


def of_submitit(settings: Mapping[str, Any], *, at_once: int | None, threads: int, gpu: bool) -> dict[str, Any]:
    """Return the parameters of submitit's executor.

    Args:
        settings: the settings from ``parse``.
        at_once: the most tasks of the array at the same time; None for as many as the cluster allows.
        threads: the threads of a run; a job gets as many cores unless the settings say otherwise.
        gpu: whether a run needs a GPU; a job gets one unless the settings say otherwise.
    """
    whole = {"timeout_min": MINUTES, "cpus_per_task": threads, **settings}
    if gpu and not asks_for_gpu(settings):
        whole["gpus_per_node"] = 1
    common = {name: value for name, value in whole.items() if name in COMMON}
    own = {f"slurm_{name}": value for name, value in whole.items() if name not in COMMON}
    return {
        "name": "dreg",
        **common,
        **own,
        **({} if at_once is None else {"slurm_array_parallelism": at_once}),
        # Without this, a cluster may be set up not to start a job again that was preempted or has timed out.
        "slurm_additional_parameters": {"requeue": True},
    }


def asks_for_gpu(settings: Mapping[str, Any]) -> bool:
    """Whether the settings ask for a GPU."""
    named: Sequence[str] = ("gpus_per_node", "gpus_per_task")
    return any(name in settings for name in named) or "gpu" in str(settings.get("gres", ""))
