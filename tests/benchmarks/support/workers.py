"""The benchmark's side: contestants alive in processes of their own, asked in turn.

This process stays small and has no numerical threads: it imports neither torch nor numpy.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

SETTLE_SECONDS = 0.1
"""Between two bursts: the threads of a pool that has just worked spin for a moment before they sleep."""

_TOLD_LINES = 15

_FEWEST = 3
"""Steps of a burst."""


def steps_in(seconds: float, ms: float) -> int:
    """How many steps of so many ms take about so many seconds."""
    return max(_FEWEST, round(seconds * 1e3 / ms))


class WorkerFailed(Exception):
    """A contestant that ended before it was told to; with the last lines of its stderr."""


class Worker:
    """One contestant.

    Args:
        name: what the table calls it.
        module: what it runs.
        arguments: of the module.
        python: the interpreter; this one unless given.
        environment: variables that it has in addition.
    """

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Sequence[str] = (),
        python: str = sys.executable,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            [python, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self._peak: float | None = None

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def ready(self) -> dict[str, Any]:
        """Wait until it can start; what it tells of itself."""
        return self._answer()

    def burst(self, steps: int) -> dict[str, float]:
        """Let it take so many steps; ms a step, and what it tells beside."""
        time.sleep(SETTLE_SECONDS)
        self._ask(f"go {steps}")
        return self._answer()

    def burst_of(self, seconds: float) -> int:
        """How many steps it takes in about so many seconds, found by trying; the steps are a warm-up as well."""
        steps = _FEWEST
        self.burst(steps)
        while True:
            taken = self.burst(steps)["ms"] * steps / 1e3
            wanted = steps_in(seconds, taken * 1e3 / steps)
            if taken >= seconds / 3 or wanted <= steps:
                return wanted
            steps = min(wanted, 8 * steps)

    def end(self) -> float:
        """Let it end; its peak of resident memory, MB."""
        if self._peak is None:
            self._ask("end")
            self._peak = float(self._answer()["peak_megabytes"])
            self._process.wait()
            self._errors.close()
        return self._peak

    def abandon(self) -> None:
        """End it, whatever it does."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _ask(self, line: str) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failed() from None

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith("reply "):
                return json.loads(line.removeprefix("reply "))
        raise self._failed()

    def _failed(self) -> WorkerFailed:
        code = self._process.wait()
        self._errors.seek(0)
        told = "".join(self._errors.readlines()[-_TOLD_LINES:])
        return WorkerFailed(f"{self.name} ended with {code}:\n{told}")
