"""Start a worker as a process of its own, and talk to it through pipes; ``process`` is the worker's end."""

import json
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, Popen
from typing import IO, Any, Final

from dregcli.app.studies.messages import Gone, Message

_PROGRAM: Final = "dregcli.app.studies.process"

_LAST_SECONDS: Final = 1.0
"""Time to wait for the last lines of a worker that is gone; what it started may keep its output open for longer."""


class ProcessWorker:
    """A worker in a fresh interpreter.

    It belongs to the process group of this process, so that Ctrl-Z and a second Ctrl-C reach it too. Its first line
    of input is the order. When its input ends, it stops, so that it does not outlive this process by much.

    Args:
        order: the run, as ``Order.document`` returns it.
        tell: receives the messages, the first at once and the others from other threads; the last one that counts
            is ``Gone``, after which lines may come of processes that the worker has started.
        variables: environment variables that the process gets in addition to those of this process.
    """

    def __init__(
        self,
        order: Mapping[str, Any],
        tell: Callable[[Message | Gone], None],
        variables: Mapping[str, str] | None = None,
    ) -> None:
        # Modules are looked for in the working folder only if this process does it.
        safe = [] if sys.path[:1] in ([""], [str(Path.cwd())]) else ["-P"]
        command = [sys.executable, *safe, "-m", _PROGRAM, order["label"]]
        environment = {**os.environ, **(variables or {})}
        self._process = Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment)
        self._tell = tell
        tell({"started": []})
        self._printed: deque[str] = deque(maxlen=1)
        with suppress(OSError):  # it may be gone already: then its last message is ``Gone``
            self._stdin.write(json.dumps(order).encode() + b"\n")
            self._stdin.flush()
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin
        return self._process.stdin

    def stop(self) -> None:
        """See ``Worker``."""
        with suppress(OSError):
            self._stdin.close()

    def _listen(self) -> None:
        printed = threading.Thread(target=self._pass_on_output, daemon=True)
        printed.start()
        assert self._process.stdout
        with self._process.stdout as lines:
            for line in lines:
                with suppress(ValueError):  # a line of which a kill left only a part
                    self._tell(json.loads(line))
        code = self._process.wait()
        self.stop()
        printed.join(_LAST_SECONDS)
        self._tell(Gone(_ending(code, self._printed)))

    def _pass_on_output(self) -> None:
        assert self._process.stderr
        with self._process.stderr as lines:
            for line in lines:
                if text := line.decode("utf-8", "replace").rstrip():
                    self._printed.append(text)
                    self._tell({"output": text})


def _ending(code: int, printed: deque[str]) -> str:
    if code < 0:
        with suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
    last = f": {printed[-1]}" if printed else ""
    return f"ended with exit code {code} and without a result{last}"
