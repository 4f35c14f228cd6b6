"""What metrics say along training: curves of one run, bands over seeds, and when a bound was reached."""

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
"""Columns by split and name; each split's of shape (rows,), rows sorted by ``step``."""

POINTS: Final = 200
"""Of a curve that is drawn: more than that nobody sees."""

CONFIDENCE: Final = 0.95


@dataclass(frozen=True)
class Series:
    """One quantity along training; finite, x ascending, both of shape (n,)."""

    x: Values
    y: Values

    def __len__(self) -> int:
        return len(self.x)

    def thinned(self, points: int = POINTS) -> "Series":
        """Means of so many stretches of equally many rows: what is drawn of thousands of noisy ones."""
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
        values: of each seed, shape (S, n).
    """

    x: Values
    values: Values

    @property
    def seeds(self) -> int:
        """S."""
        return len(self.values)

    @cached_property
    def mean(self) -> Values:
        """Over seeds, shape (n,)."""
        return self.values.mean(axis=0)

    @property
    def low(self) -> Values:
        """The lower end of the mean's pointwise 95 % interval, by Student's t, shape (n,); NaN of a single seed."""
        return self.mean - self._half

    @property
    def high(self) -> Values:
        """The upper end."""
        return self.mean + self._half

    @cached_property
    def _half(self) -> Values:
        if self.seeds == 1:
            return np.full(len(self.x), math.nan)
        from scipy.special import stdtrit  # pyright: ignore # a quarter of a second, which a sparkline needs not

        t = float(stdtrit(self.seeds - 1, 0.5 + 0.5 * CONFIDENCE))
        return t * self.values.std(axis=0, ddof=1) / math.sqrt(self.seeds)


def series(metrics: Metrics, split: str, column: str, *, against: str = "step") -> Series | None:
    """A column against steps or seconds; None where there is no finite value.

    Seconds are those of optimisation steps alone. Rows of a split that does not tell them have those of the training
    rows at their steps, and none where training tells none either.
    """
    columns = metrics.get(split, {})
    if column not in columns or "step" not in columns:
        return None
    steps, y = columns["step"].astype(np.float64), columns[column].astype(np.float64)
    x = steps if against == "step" else columns.get("seconds")
    if x is None:
        x = _seconds_at(metrics, steps)
    if x is None:
        return None
    finite = np.isfinite(x) & np.isfinite(y)
    return Series(np.asarray(x, np.float64)[finite], y[finite]) if finite.any() else None


def _seconds_at(metrics: Metrics, steps: Values) -> Values | None:
    known = series(metrics, Split.TRAIN, "seconds")
    if known is None:
        return None
    # Before the first row time runs evenly from 0; after the last nothing is known.
    x, y = np.concatenate([[0.0], known.x]), np.concatenate([[0.0], known.y])
    return np.interp(steps, x, y, right=math.nan)


def band(of_seeds: Sequence[Series], *, points: int = POINTS) -> Band | None:
    """The mean over seeds, where all of them have values; None where there is no such stretch."""
    if not of_seeds:
        return None
    thin = [each.thinned(points) for each in of_seeds]
    low, high = max(each.x[0] for each in thin), min(each.x[-1] for each in thin)
    x = thin[0].x
    if any(len(each) != len(x) or not np.array_equal(each.x, x) for each in thin):
        # Seconds differ from seed to seed, and steps where a run was made otherwise: on one grid, by lines between.
        grid = np.unique(np.concatenate([each.x for each in thin]))
        grid = grid[(grid >= low) & (grid <= high)]
        x = grid[np.unique(np.linspace(0, len(grid) - 1, min(points, len(grid))).astype(np.int64))]
    if not len(x):
        return None
    return Band(x, np.stack([np.interp(x, each.x, each.y) for each in thin]))


def difference(a: Series, b: Series) -> Series | None:
    """a less b at a's places, where both are known; None where they do not meet."""
    inside = (a.x >= b.x[0]) & (a.x <= b.x[-1])
    if not inside.any():
        return None
    return Series(a.x[inside], a.y[inside] - np.interp(a.x[inside], b.x, b.y))


def seconds_to(metrics: Metrics, bound: float) -> float | None:
    """Seconds of optimisation until the validation bound first was at least so high; None where it never was."""
    found = series(metrics, Split.VALID, "bound", against="seconds")
    if found is None:
        return None
    reached = np.flatnonzero(found.y >= bound)
    return float(found.x[reached[0]]) if len(reached) else None
