"""Estimates how long a study still takes, from its finished runs and from the pace of the present run."""

import time
from collections import Counter
from collections.abc import Callable, Iterable


class Pace:
    """The times of a study's runs in this process.

    A run that has not begun is expected to take as long as the finished runs of its kind did; without any, as long as
    the present run will if it is of this kind; otherwise as long as the others on average. Runs that other processes
    train at the same time are counted until they are found to be taken, so that the estimate is then too long.

    Args:
        kinds: the kind of each run that is still to be trained; runs of one kind have equal settings.
        clock: returns the time in seconds.
    """

    def __init__(self, kinds: Iterable[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._waiting = Counter(kinds)
        self._clock = clock
        self._finished: dict[str, list[float]] = {}
        self._present: str | None = None
        self._began = 0.0
        self._first = self._done = 0.0

    @property
    def runs_left(self) -> int:
        """The number of runs that are not finished, with the present one."""
        return self._waiting.total() + (self._present is not None)

    def begin(self, kind: str) -> None:
        """Begin a run, or find that there is nothing to do for it."""
        self._waiting[kind] -= self._waiting[kind] > 0
        self._present, self._began = kind, self._clock()
        self._first = self._done = 0.0

    def advance(self, share: float, *, first: float) -> None:
        """Note the share of the present run's steps that is done; ``first`` was done before this process began."""
        self._first, self._done = first, share

    def end(self, *, trained: bool) -> None:
        """End the present run; its time counts only if this process trained it whole."""
        if trained and self._present is not None and not self._first:
            self._finished.setdefault(self._present, []).append(self._clock() - self._began)
        self._present = None

    def seconds_left(self) -> float | None:
        """Return the expected time until all runs are finished; None as long as nothing is known."""
        costs = {kind: sum(times) / len(times) for kind, times in self._finished.items()}
        left = 0.0
        if self._present is not None:
            elapsed, advanced = self._clock() - self._began, self._done - self._first
            usual = costs.get(self._present)
            if advanced > 0:
                whole = elapsed / advanced
                left = whole * (1 - self._done)
                costs.setdefault(self._present, whole)
            elif usual is not None:
                left = max(0.0, usual - elapsed)
            elif costs:
                left = max(0.0, _mean(costs.values()) - elapsed)
        if not costs:
            return None
        average = _mean(costs.values())
        return left + sum(count * costs.get(kind, average) for kind, count in self._waiting.items())


def _mean(values: Iterable[float]) -> float:
    every = list(values)
    return sum(every) / len(every)
