"""Estimates how long a study still takes, from its finished runs and from the pace of the runs in progress."""

import heapq
import time
from collections import Counter
from collections.abc import Callable, Iterable


class Pace:
    """The times of a study's runs.

    A run that has not begun is expected to take as long as the finished runs of its kind did; without any, as long as
    a run in progress will if it is of this kind; otherwise as long as the others on average. Runs that other
    processes train at the same time are counted until they are found to be taken: the estimate is then too long.

    Args:
        kinds: the kind of each run that is still to be trained; runs of one kind have equal settings.
        at_once: the number of runs that are trained at the same time; None if a cluster decides it. Then it is taken
            to be the most so far.
        clock: returns the time in seconds.
    """

    def __init__(
        self, kinds: Iterable[str], *, at_once: int | None = 1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._waiting = Counter(kinds)
        self._at_once, self._most = at_once, 1
        self._clock = clock
        self._finished: dict[str, list[float]] = {}
        self._present: list[Present] = []

    @property
    def runs_left(self) -> int:
        """The number of runs that are not finished, with those in progress."""
        return self._waiting.total() + len(self._present)

    def begin(self, kind: str) -> "Present":
        """Begin a run, or find that there is nothing to do for it."""
        self._waiting[kind] -= self._waiting[kind] > 0
        begun = Present(kind, self._clock)
        self._present.append(begun)
        self._most = max(self._most, len(self._present))
        return begun

    def end(self, ended: "Present", *, trained: bool) -> None:
        """End a run in progress; its time counts only if this study trained it whole."""
        self._present.remove(ended)
        if trained and not ended.first:
            self._finished.setdefault(ended.kind, []).append(ended.elapsed)

    def seconds_left(self) -> float | None:
        """Return the expected time until all runs are finished; None as long as nothing is known."""
        costs = {kind: sum(times) / len(times) for kind, times in self._finished.items()}
        usual = dict(costs)
        for each in self._present:
            if (whole := each.whole) is not None:
                costs.setdefault(each.kind, whole)
        if not costs:
            return None
        average = sum(costs.values()) / len(costs)
        ends = [each.seconds_left(usual.get(each.kind, average)) for each in self._present]
        # Each run that waits begins where the first of the others ends.
        ends += [0.0] * ((self._at_once or self._most) - len(ends))
        heapq.heapify(ends)
        for kind, count in self._waiting.items():
            for _ in range(count):
                heapq.heapreplace(ends, ends[0] + costs.get(kind, average))
        return max(ends)


class Present:
    """A run in progress.

    Args:
        kind: its kind.
        clock: returns the time in seconds.
    """

    def __init__(self, kind: str, clock: Callable[[], float]) -> None:
        self.kind = kind
        self._clock, self._began = clock, clock()
        self._prepared = self.first = self._done = 0.0

    @property
    def elapsed(self) -> float:
        """The time in seconds since the run began here."""
        return self._clock() - self._began

    @property
    def whole(self) -> float | None:
        """The time in seconds that all its steps take at its pace; None before its first progress."""
        advanced = self._done - self.first
        return self._prepared + (self.elapsed - self._prepared) / advanced if advanced > 0 else None

    def take_steps(self) -> None:
        """Begin with the steps: what was before them, such as the start of a process, happens once."""
        self._prepared = self.elapsed

    def begin_again(self) -> None:
        """Forget the time and the progress so far: another machine goes on with the run."""
        self._began = self._clock()
        self._prepared = self.first = self._done = 0.0

    def advance(self, share: float, *, first: float) -> None:
        """Note the share of the run's steps that is done; ``first`` was done before this study began."""
        self.first, self._done = first, share

    def seconds_left(self, usual: float) -> float:
        """Return the time that it still takes; ``usual`` is expected of the whole run before its first progress."""
        whole = self.whole
        return max(0.0, usual - self.elapsed) if whole is None else (whole - self._prepared) * (1 - self._done)
