"""A store that several hosts share by a network disk, played in one process."""

import shutil
import socket
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO, Literal

import pytest

from dregcli.filesystem import LocalFileSystem
from dregcli.store.records import Clock
from dregcli.store.runs import RunStore
from tests.support.store_runs import FakeClock


class Host(LocalFileSystem):
    """A host of a shared disk. It changes the disk itself, and sees the disk as it was at its last ``refresh``.

    A change that the disk refuses, because the name exists already, does not show the host that name, so that no
    program may rely on it.

    Args:
        disk: folder of the disk itself.
        name: the host's name.
        time: the true time.
        ahead: how many seconds this host's clock is ahead of the true time.
    """

    def __init__(self, disk: Path, name: str, time: FakeClock, ahead: float = 0.0) -> None:
        self.name, self._disk, self._time, self._ahead = name, disk, time, timedelta(seconds=ahead)
        self._seen = disk.parent / f"{disk.name}-seen-by-{name}"
        disk.mkdir(exist_ok=True)
        self.refresh()

    @property
    def store(self) -> RunStore:
        """The store as this host sees it."""
        clock = Clock(lambda: self._time.time + self._ahead, lambda: self._time.seconds)
        return RunStore(self._seen, self, clock)

    @contextmanager
    def here(self) -> Generator[RunStore]:
        """Let this process be one of this host."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(socket, "gethostname", lambda: self.name)
            yield self.store

    def refresh(self, only: str = "") -> None:
        """See the whole disk, or one folder of it, as it is now."""
        target = self._seen / only
        shutil.rmtree(target, ignore_errors=True)
        if (self._disk / only).exists():
            shutil.copytree(self._disk / only, target)

    def _real(self, path: Path) -> Path:
        return self._disk / path.relative_to(self._seen)

    def mkdir(self, path: Path) -> None:
        super().mkdir(self._real(path))
        path.mkdir(parents=True, exist_ok=True)

    def write(self, path: Path, content: bytes) -> None:
        super().write(self._real(path), content)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def append(self, path: Path, content: bytes) -> None:
        super().append(self._real(path), content)
        shutil.copy2(self._real(path), path)

    def open(self, path: Path, mode: Literal["x+b", "a+b", "r+b"]) -> IO[bytes]:
        raise NotImplementedError

    def sync(self, path: Path) -> None:
        pass

    def rename(self, source: Path, target: Path) -> None:
        super().rename(self._real(source), self._real(target))
        shutil.rmtree(target, ignore_errors=True)
        source.replace(target)

    def remove(self, path: Path) -> None:
        super().remove(self._real(path))
        path.unlink(missing_ok=True)

    def rmdir(self, path: Path) -> None:
        super().rmdir(self._real(path))
        shutil.rmtree(path, ignore_errors=True)
