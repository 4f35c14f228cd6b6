"""Workers of a study that begin with torch imported, in place of fresh interpreters; see ``tests.support.forked``."""

import os
import socket
from multiprocessing.reduction import DupFd
from typing import IO, Any

from tests.support.forked import CONTEXT

HOST = "TESTED_HOST"
"""The environment variable that names the host on which a worker believes to be."""


class ForkedPopen:
    """What ``subprocess.Popen`` is to ``dregcli.app.studies.pipes``: a process with three pipes."""

    def __init__(self, command: list[str], *, stdin: int, stdout: int, stderr: int, env: dict[str, str]) -> None:
        ours: list[IO[bytes]] = []
        theirs: list[int] = []
        for reads in (True, False, False):
            reader, writer = os.pipe()
            theirs.append(reader if reads else writer)
            ours.append(os.fdopen(writer if reads else reader, "wb" if reads else "rb"))
        self.stdin, self.stdout, self.stderr = ours
        self._process: Any = CONTEXT.Process(target=_Worker(theirs, env), daemon=True)
        self._process.start()
        for descriptor in theirs:
            os.close(descriptor)
        self.pid: int = self._process.pid

    def wait(self) -> int:
        self._process.join()
        return self._process.exitcode


class _Worker:
    """The program of a worker, with descriptors that are duplicated for the process when it starts."""

    def __init__(self, descriptors: list[int], environment: dict[str, str]) -> None:
        self._descriptors, self._environment = descriptors, environment

    def __reduce__(self) -> tuple[Any, ...]:
        return _of_duplicates, ([DupFd(each) for each in self._descriptors], self._environment)

    def __call__(self) -> None:
        from dregcli.app.studies import process

        os.environ.update(self._environment)
        if host := self._environment.get(HOST):
            socket.gethostname = lambda: host
        for number, descriptor in enumerate(self._descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        process.main()


def _of_duplicates(duplicates: list[Any], environment: dict[str, str]) -> _Worker:
    return _Worker([each.detach() for each in duplicates], environment)
