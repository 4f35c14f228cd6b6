"""One family of errors, each class with its own exit code. Standard library only.

Exit codes 0 to 9, 130 and 143 belong to the commands (done, a check failed, usage, unexpected, inconclusive,
interrupted). A class of errors has the code 2 (usage) or its own code from 10 up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

_OF_MEMORY: Final = ("can't allocate memory", "out of memory")
"""Words in the error messages of torch's CPU allocator and of its GPU allocator."""


class DregError(Exception):
    """A failure that the user can act on: what happened, where, and what to type next.

    Args:
        what: one sentence about what happened.
        where: the file, run, field or step that the failure concerns.
        hint: the next thing to type or change.
    """

    exit_code: ClassVar[int] = 3

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        parts = [self.what]
        if self.where:
            parts.append(f"where: {self.where}")
        if self.hint:
            parts.append(f"next: {self.hint}")
        return "\n".join(parts)


class UsageError(DregError):
    """The command line asks for something impossible."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True)
class Fault:
    """One fault of a spec: the field, spelt as on the command line, and the reason."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class SpecError(UsageError):
    """A spec that cannot work. The error carries all faults, not only the first."""

    def __init__(self, faults: Sequence[Fault], *, where: str | None = None, hint: str | None = None) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults), where=where, hint=hint)


class DatasetMissing(DregError):
    """The program knows the data set, but it is not on this machine."""

    exit_code: ClassVar[int] = 10


class DataCorrupt(DregError):
    """A data file is truncated, was changed, or is not of the kind that its name says."""

    exit_code: ClassVar[int] = 11


class DownloadFailed(DregError):
    """No source delivered the file."""

    exit_code: ClassVar[int] = 12


class RunNotFound(DregError):
    """No run, or no checkpoint of a run, matches the reference."""

    exit_code: ClassVar[int] = 13


class RunStateError(DregError):
    """The run exists, but its state does not allow the request (finished, still alive, another spec)."""

    exit_code: ClassVar[int] = 14


class CheckpointCorrupt(DregError):
    """The run has no intact checkpoint."""

    exit_code: ClassVar[int] = 15


class StoreWriteError(DregError):
    """The program cannot write to the store: permission, full disk, read-only file system."""

    exit_code: ClassVar[int] = 16


class StoreFormatError(DregError):
    """A folder or file does not belong to this store, or has a version that this program does not know."""

    exit_code: ClassVar[int] = 17


class Diverged(DregError):
    """The bound or a gradient is no longer finite."""

    exit_code: ClassVar[int] = 18


class DeviceUnavailable(DregError):
    """The requested device does not exist, or is out of memory."""

    exit_code: ClassVar[int] = 19


class StoreCorrupt(DregError):
    """A file of a run is truncated or was changed."""

    exit_code: ClassVar[int] = 20


class NotFinite(DregError):
    """An estimator has no finite value at these log-weights or gradients."""

    exit_code: ClassVar[int] = 21


class OutputLost(DregError):
    """The output of a command cannot be written, for example because the disk under standard output is full."""

    exit_code: ClassVar[int] = 22


class CodeRefused(DregError):
    """The code of a run's model is not the code that the run was trained with, or the user has not trusted it yet."""

    exit_code: ClassVar[int] = 23


class ModelFailed(DregError):
    """The code of a user's own model raised an error."""

    exit_code: ClassVar[int] = 24


class WorkerLost(DregError):
    """The process of a study's run ended without a result: it was killed, or the system had no memory left for it."""

    exit_code: ClassVar[int] = 25


class RankLost(DregError):
    """A process of a run over several ranks has ended or does not answer; the run has a checkpoint."""

    exit_code: ClassVar[int] = 26


class ClusterError(DregError):
    """A cluster does not answer, or it refuses the work."""

    exit_code: ClassVar[int] = 27


class Interrupted(DregError):
    """A signal ended the work, and the finished part was kept."""

    exit_code: ClassVar[int] = 130


class Terminated(Interrupted):
    """SIGTERM ended the work, or SIGHUP or a scheduler's signal, which ask for the same; see ``Interrupted``."""

    exit_code: ClassVar[int] = 143


def is_of_memory(error: Exception) -> bool:
    """Whether memory ran out. Only for a GPU does torch have its own error class."""
    if isinstance(error, DregError):  # its message may contain a path, and a path may contain any words
        return False
    return isinstance(error, MemoryError) or any(words in str(error) for words in _OF_MEMORY)
