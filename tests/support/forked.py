"""Real processes of ``dreg`` that begin with torch imported: forked from a server that imported it once.

A fresh process spends most of a short run on that import, and nothing that is on the disk depends on it.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from dregcli.filesystem import LocalFileSystem

CONTEXT: Final = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "torch",
        "torch._dynamo",
        "dregcli.cli.main",
        "dregcli.app.training.train",
        "dregcli.app.studies.worker",
        "tests.support.forked",
    ]
)
OPERATIONS: Final = ("mkdir", "write", "append", "rename", "remove", "rmdir")
"""What changes the disk as another process sees it: a kill at a sync is one after the write before it."""


class Forked:
    """A process of the console script, in a session of its own.

    Args:
        words: the command's arguments.
        folder: where its output is kept.
        killed_at: the operation on the disk, counted from 1, at which it kills itself with SIGKILL; a write then
            leaves half of its content. None for never.
        environment: further environment variables.
    """

    def __init__(
        self,
        words: list[str],
        folder: Path,
        killed_at: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._streams = [folder / f"{len(list(folder.iterdir()))}.{name}" for name in ("out", "err")]
        for path in self._streams:
            path.touch()
        self._process: Any = CONTEXT.Process(
            target=_command, args=(words, self._streams, killed_at, environment or {})
        )
        self._process.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def code(self) -> int | None:
        """The exit code, minus a signal's number; None while it runs."""
        return self._process.exitcode

    @property
    def out(self) -> str:
        return self._streams[0].read_text()

    @property
    def err(self) -> str:
        return self._streams[1].read_text()

    def wait(self, seconds: float | None = None) -> bool:
        """Whether it ended within so many seconds."""
        self._process.join(seconds)
        return self.code is not None

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL to it and all that it started."""
        for end in (os.kill, os.killpg):
            try:
                end(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.wait()


def _command(words: list[str], streams: list[Path], killed_at: int | None, environment: Mapping[str, str]) -> None:
    os.setsid()
    os.environ.update(environment)
    for descriptor, path in enumerate(streams, start=1):
        with path.open("ab") as file:
            os.dup2(file.fileno(), descriptor)
    if killed_at is not None:
        _die_at(killed_at)
    from dregcli.cli.main import entry  # this module is imported where torch is not wanted

    sys.argv = ["dreg", *words]
    entry()


def _die_at(number: int) -> None:
    count = 0

    def dying(name: str, operation: Callable[..., None]) -> Callable[..., None]:
        def counted(fs: LocalFileSystem, path: Path, *rest: Any) -> None:
            nonlocal count
            count += 1
            if count == number:
                if name in ("write", "append"):
                    operation(fs, path, rest[0][: len(rest[0]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            operation(fs, path, *rest)

        return counted

    for name in OPERATIONS:
        setattr(LocalFileSystem, name, dying(name, getattr(LocalFileSystem, name)))
