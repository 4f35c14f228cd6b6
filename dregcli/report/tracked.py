"""What a run tracked of estimators along its trajectory, at the end of training."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

LAST_SHARE: Final = 0.1
"""Of training, from whose windows means are taken: long enough for several windows, and nearly at the end."""


@dataclass(frozen=True)
class Tracked:
    """What one run tracked.

    Attributes:
        values: by estimator's word and quantity, such as ``posterior_variance``: of moving averages the last value,
            of quantities over windows the mean over the last tenth of training, each window counting as many times
            as its variance has degrees of freedom. NaN where no window has two steps.
        steps: steps of those windows, counted in the same way; NaN of runs of before there were windows.
        snr_floor: what pure noise has for an SNR in them.
    """

    values: Mapping[str, Mapping[str, float]]
    steps: float
    snr_floor: float


@dataclass(frozen=True)
class TrackedNames:
    """Columns of metrics: of each quantity of each estimator, and which quantities are over windows.

    Attributes:
        columns: by estimator's word and quantity.
        windowed: the quantities that are over windows.
        window_steps: the column of how many steps a window had.
    """

    columns: Mapping[str, Mapping[str, str]]
    windowed: frozenset[str]
    window_steps: str


def at_the_end(metrics: Mapping[str, NDArray[Any]], names: TrackedNames) -> Tracked:
    """What was tracked by the end of training.

    Args:
        metrics: columns of shape (rows,) by name, at least one row, sorted by ``step``.
        names: of those that are tracked.
    """
    last = metrics["step"] > (1.0 - LAST_SHARE) * metrics["step"][-1]
    nothing = np.full(len(last), math.nan)
    steps = metrics.get(names.window_steps, nothing)[last]
    freedom = np.where(steps >= 2.0, steps - 1.0, 0.0)  # NaN is not

    def mean(values: NDArray[np.float64]) -> float:
        counts = freedom > 0.0
        return float(np.average(values[counts], weights=freedom[counts])) if counts.any() else math.nan

    values = {
        estimator: {
            quantity: mean(metrics[name][last]) if quantity in names.windowed else float(metrics[name][-1])
            for quantity, name in columns.items()
        }
        for estimator, columns in names.columns.items()
    }
    # E|mean| / sd of n independent normals without a mean: the mean's own deviation is 1 / sqrt(n).
    floor = np.sqrt(2.0 / (np.pi * np.where(steps >= 2.0, steps, math.nan)))
    return Tracked(values, mean(steps), mean(floor))
