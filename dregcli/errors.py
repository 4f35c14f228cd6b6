"""One family of errors, each with its own exit code, so that they stay clear and unique. Standard library only.

Exit codes 0 to 9, 130 and 143 belong to the commands (done, check says no, usage, unexpected, inconclusive,
interrupted); a class of error has 2 (usage) or its own code from 10 up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class DregError(Exception):
    """A failure the user can act on: what happened, where, and what to type next.

    Args:
        what: what happened, one sentence.
        where: the file, run, field or step it concerns.
        hint: what to type or change next.
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
    """The command line asks for something that cannot be."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a spec: the field, in the command line's words, and why."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class SpecError(UsageError):
    """A spec that cannot work; carries all of its faults, not only the first."""

    def __init__(self, faults: Sequence[Fault], *, where: str | None = None, hint: str | None = None) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults), where=where, hint=hint)


class DatasetMissing(DregError):
    """The data set is known but not on this machine."""

    exit_code: ClassVar[int] = 10


class DataCorrupt(DregError):
    """A data file is truncated, altered or not what its name says."""

    exit_code: ClassVar[int] = 11


class DownloadFailed(DregError):
    """No source gave the file."""

    exit_code: ClassVar[int] = 12


class RunNotFound(DregError):
    """No run, or no checkpoint of it, answers to the reference."""

    exit_code: ClassVar[int] = 13


class RunStateError(DregError):
    """The run exists but is not in a state that allows the request (finished, alive, other spec)."""

    exit_code: ClassVar[int] = 14


class CheckpointCorrupt(DregError):
    """No checkpoint of the run is whole."""

    exit_code: ClassVar[int] = 15


class StoreWriteError(DregError):
    """The store cannot be written: permission, full disk, read-only file system."""

    exit_code: ClassVar[int] = 16


class StoreFormatError(DregError):
    """A folder or file that is not of this store, or of a version this program does not know."""

    exit_code: ClassVar[int] = 17


class Diverged(DregError):
    """The bound or a gradient is no longer finite."""

    exit_code: ClassVar[int] = 18


class DeviceUnavailable(DregError):
    """The device asked for is not there, or out of memory."""

    exit_code: ClassVar[int] = 19


class StoreCorrupt(DregError):
    """A file of a run is truncated or altered."""

    exit_code: ClassVar[int] = 20


class NotFinite(DregError):
    """Log-weights or gradients at which an estimator has no finite value."""

    exit_code: ClassVar[int] = 21


class OutputLost(DregError):
    """What a command shows cannot be written: the disk under standard output or standard error is full, say."""

    exit_code: ClassVar[int] = 22


class Interrupted(DregError):
    """A signal ended the work, after what was done had been kept."""

    exit_code: ClassVar[int] = 130


class Terminated(Interrupted):
    """As ``Interrupted``, by SIGTERM, or by SIGHUP or what a scheduler sends, which ask for the same."""

    exit_code: ClassVar[int] = 143
