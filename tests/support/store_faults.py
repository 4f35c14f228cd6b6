"""File systems that fail on purpose, for the tests of the store. They change the disk for real up to the fault."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Literal

import pytest

from dregcli.filesystem import LocalFileSystem


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it reaches the disk, clean-up included."""


class CountingFileSystem(LocalFileSystem):
    """Counts the operations from 1 and asks ``fault`` ahead of each, which may raise."""

    def __init__(self) -> None:
        self.count = 0
        self.operations: list[str] = []

    def before(self, operation: str, path: Path, content: bytes = b"") -> None:
        self.count += 1
        self.operations.append(operation)
        self.fault(operation, path, content)

    def fault(self, operation: str, path: Path, content: bytes) -> None:
        pass

    def mkdir(self, path: Path) -> None:
        self.before("mkdir", path)
        super().mkdir(path)

    def write(self, path: Path, content: bytes) -> None:
        self.before("write", path, content)
        super().write(path, content)

    def append(self, path: Path, content: bytes) -> None:
        self.before("append", path, content)
        super().append(path, content)

    def open(self, path: Path, mode: Literal["x+b", "a+b", "r+b"]) -> IO[bytes]:
        self.before("open", path)
        return super().open(path, mode)

    def sync(self, path: Path) -> None:
        # Counted, not done: no test can tell, and hundreds of fsyncs are most of a fault matrix's time.
        self.before("sync", path)

    def rename(self, source: Path, target: Path) -> None:
        self.before("rename", source)
        super().rename(source, target)

    def link(self, source: Path, target: Path) -> None:
        self.before("link", source)
        super().link(source, target)

    def remove(self, path: Path) -> None:
        self.before("remove", path)
        super().remove(path)

    def rmdir(self, path: Path) -> None:
        self.before("rmdir", path)
        super().rmdir(path)


class FailingFileSystem(CountingFileSystem):
    """The n-th operation raises an OSError; a write leaves half of its content, as a full disk does.

    With ``lasting``, later operations that need space fail as well.
    """

    def __init__(self, at: int, error: int = errno.ENOSPC, *, lasting: bool = False) -> None:
        super().__init__()
        self.at = at
        self.error = error
        self.lasting = lasting

    def fault(self, operation: str, path: Path, content: bytes) -> None:
        needs_space = operation in ("mkdir", "write", "append")
        if self.count == self.at or (self.lasting and self.count > self.at and needs_space):
            if operation in ("write", "append"):
                with path.open("ab" if operation == "append" else "xb") as file:
                    file.write(content[: len(content) // 2])
            raise OSError(self.error, os.strerror(self.error), str(path))


class KillingFileSystem(CountingFileSystem):
    """The process is gone at the n-th operation: that one and all later ones do nothing but raise."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def fault(self, operation: str, path: Path, content: bytes) -> None:
        if self.count >= self.at:
            if self.count == self.at and operation == "write":
                path.write_bytes(content[: len(content) // 2])
            raise Killed


def forbid(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Refuses this process the entries of a folder, as its mode would if the process were not root's."""

    def refusing(call: Callable[..., Any], *, itself: bool) -> Callable[..., Any]:
        def refuse(path: Any, *arguments: Any, **options: Any) -> Any:
            at = Path(str(path)) if isinstance(path, str | Path) else None
            if at and at.is_relative_to(folder) and (itself or at != folder):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(at))
            return call(path, *arguments, **options)

        return refuse

    monkeypatch.setattr(os, "stat", refusing(os.stat, itself=False))
    monkeypatch.setattr(os, "listdir", refusing(os.listdir, itself=True))


def temporaries(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith(".tmp")]


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def every(limit: int, attempt: Callable[[int], bool]) -> int:
    """Calls ``attempt(1)``, ``attempt(2)`` ... until one says that no fault was met; returns how many faults were."""
    for number in range(1, limit):
        if not attempt(number):
            return number - 1
    what = f"still failing at operation {limit}"
    raise AssertionError(what)
