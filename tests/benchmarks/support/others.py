"""How busy other programs kept the machine meanwhile, and so whether a measurement can be believed; of Linux only."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

_STAT = Path("/proc/stat")
_WAITING = (3, 4, 8, 9)
"""Of the machine's times: idle, waiting for the disk; and guests' times, which are counted as user's already."""

_LOOK_SECONDS = 0.5


class OtherWork:
    """Measures from when it is made.

    Args:
        own: process ids that are not others, beside this one.
    """

    def __init__(self, own: Iterable[int] = ()) -> None:
        self._own = [os.getpid(), *own]
        self._before = self._seconds() if _STAT.exists() else None
        self._started = time.perf_counter()

    def cores(self) -> float | None:
        """The mean number of processor cores that others used."""
        if self._before is None:
            return None
        return max(0.0, (self._seconds() - self._before) / (time.perf_counter() - self._started))

    def told(self) -> str:
        """A line for a table's foot."""
        cores = self.cores()
        known = "unknown here" if cores is None else f"{cores:.2f} of {os.cpu_count()} cores"
        return f"used by other programs meanwhile: {known}"

    def _seconds(self) -> float:
        ticks = [int(word) for word in _STAT.read_text().splitlines()[0].split()[1:]]
        busy = sum(each for i, each in enumerate(ticks) if i not in _WAITING)
        for pid in self._own:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            busy -= int(fields[11]) + int(fields[12])  # user and system time, of all threads
        return busy / os.sysconf("SC_CLK_TCK")


def wait_for_quiet(cores: float, patience: float) -> bool:
    """Wait until others use no more than so many cores; whether that came within so many seconds."""
    end = time.monotonic() + patience
    while True:
        others = OtherWork()
        time.sleep(_LOOK_SECONDS)
        if (others.cores() or 0.0) <= cores:
            return True
        if time.monotonic() > end:
            return False
