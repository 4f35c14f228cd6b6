"""A contestant's side of a benchmark: bursts of steps on request. Standard library only: peers run it too.

A line ``go N`` on stdin asks for N steps and is answered by their time; ``end`` is answered by the peak memory, and
ends. Between two lines the process is blocked in a read, so that a contestant that waits costs nothing. Answers are
lines of stdout that begin with ``reply``; what libraries print is no answer.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def peak_megabytes() -> float:
    """This process's peak of resident memory.

    On Linux the kernel's own figure for the address space: ``ru_maxrss`` of a young process is that of the one it
    was forked from, where that was larger.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _reply(content: Mapping[str, Any]) -> None:
    sys.stdout.write(f"reply {json.dumps(content)}\n")
    sys.stdout.flush()


def serve(burst: Callable[[int], Mapping[str, float]], about: Mapping[str, Any]) -> None:
    """Answer requests until there are no more.

    Args:
        burst: takes so many steps and waits until they are done; returns numbers to tell beside the time.
        about: what to tell before the first request.
    """
    _reply(about)
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "end":
            break
        count = int(rest[0])
        started = time.perf_counter()
        numbers = burst(count)
        _reply({"ms": (time.perf_counter() - started) / count * 1e3, **numbers})
    _reply({"peak_megabytes": peak_megabytes()})
