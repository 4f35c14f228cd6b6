"""Metrics along training: curves of one run, bands over seeds, and the time to a bound."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dregcli.names import Split

Values = NDArray[np.float64]
Metrics = Mapping[str, Mapping[str, NDArray[Any]]]
"""Columns by split and name. The columns of a split have shape (rows,), with rows sorted by ``step``."""

POINTS: Final = 200
"""Most points of a drawn curve; more would not be visible."""

CONFIDENCE: Final = 0.95


@dataclass(frozen=True)
class Series:
    """One quantity along training: finite values y at ascending x, both of shape (n,)."""

    x: Values
    y: Values

    def __len__(self) -> int:
        return len(self.x)

    def thinned(self, points: int = POINTS) -> "Series":
        """Return a curve of at most this many points, which are means over consecutive rows in equal numbers."""
        if len(self) <= points:
            return self
        starts = np.linspace(0, len(self), points, endpoint=False).astype(np.int64)
        counts = np.diff(np.append(starts, len(self)))
        return Series(np.add.reduceat(self.x, starts) / counts, np.add.reduceat(self.y, starts) / counts)


@dataclass(frozen=True)
class Band:
    """One quantity of several seeds at the same places along training.

    Attributes:
        x: steps or seconds, shape (n,).
        values: values of each seed, shape (S, n).
    """

    x: Values
    values: Values

    @property
    def seeds(self) -> int:
        """Number of seeds, S."""
        return len(self.values)

    @cached_property
    def mean(self) -> Values:
        """Mean over seeds, shape (n,)."""
        return self.values.mean(axis=0)

    @property
    def low(self) -> Values:
        """Lower end of the mean's pointwise 95 % interval by Student's t, shape (n,); NaN for a single seed."""
        return self.mean - self._half

    @property
    def high(self) -> Values:
        """Upper end of that interval, shape (n,); NaN for a single seed."""
        return self.mean + self._half

    @cached_property
    def _half(self) -> Values:
        if self.seeds == 1:
            return np.full(len(self.x), math.nan)
        from scipy.special import stdtrit  # pyright: ignore # takes 0.25 s to import, and sparklines do not need it

        t = float(stdtrit(self.seeds - 1, 0.5 + 0.5 * CONFIDENCE))
        return t * self.values.std(axis=0, ddof=1) / math.sqrt(self.seeds)


def series(metrics: Metrics, split: str, column: str, *, against: str = "step") -> Series | None:
    """Return a column against steps or seconds; None if it has no finite value.

    Seconds are seconds of optimisation alone. A split without a column of seconds takes them from the training rows
    at the same steps. If the training rows have no seconds either, the result is None.
    """
    columns = metrics.get(split, {})
    if column not in columns or "step" not in columns:
        return None
    steps, y = columns["step"].astype(np.float64), columns[column].astype(np.float64)
    x = steps if against == "step" else columns.get("seconds")
    if x is None:
        x = seconds_at(metrics, steps)
    if x is None:
        return None
    finite = np.isfinite(x) & np.isfinite(y)
    return Series(np.asarray(x, np.float64)[finite], y[finite]) if finite.any() else None


def seconds_at(metrics: Metrics, steps: Values) -> Values | None:
    """Return the seconds of optimisation until the given steps, shape (n,), from the training rows.

    Steps after the last training row get NaN. The result is None if the training rows have no seconds.
    """
    known = series(metrics, Split.TRAIN, "seconds")
    if known is None:
        return None
    # Before the first row, time is assumed to run evenly from 0; after the last row it is not known.
    x, y = np.concatenate([[0.0], known.x]), np.concatenate([[0.0], known.y])
    return np.interp(steps, x, y, right=math.nan)


def band(of_seeds: Sequence[Series], *, points: int = POINTS) -> Band | None:
    """Return the curves of several seeds over the range where all of them have values; None if there is none."""
    if not of_seeds:
        return None
    thin = [each.thinned(points) for each in of_seeds]
    low, high = max(each.x[0] for each in thin), min(each.x[-1] for each in thin)
    x = thin[0].x
    if any(len(each) != len(x) or not np.array_equal(each.x, x) for each in thin):
        # Seconds differ between seeds, and steps may too. Interpolate all curves linearly on one common grid.
        grid = np.unique(np.concatenate([each.x for each in thin]))
        grid = grid[(grid >= low) & (grid <= high)]
        x = grid[np.unique(np.linspace(0, len(grid) - 1, min(points, len(grid))).astype(np.int64))]
    if not len(x):
        return None
    return Band(x, np.stack([np.interp(x, each.x, each.y) for each in thin]))


def difference(a: Series, b: Series) -> Series | None:
    """Return a less b at a's positions, where both are known; None if the two curves do not overlap."""
    inside = (a.x >= b.x[0]) & (a.x <= b.x[-1])
    if not inside.any():
        return None
    return Series(a.x[inside], a.y[inside] - np.interp(a.x[inside], b.x, b.y))


def seconds_to(metrics: Metrics, bound: float) -> float | None:
    """Return the seconds of optimisation until the validation bound first reached a value; None if it never did."""
    found = series(metrics, Split.VALID, "bound", against="seconds")
    if found is None:
        return None
    reached = np.flatnonzero(found.y >= bound)
    return float(found.x[reached[0]]) if len(reached) else None
