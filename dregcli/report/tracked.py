"""What a run tracked of estimators along its trajectory, at the end of training."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dregcli.columns import WINDOW_STEPS, moving_snr_floor, snr_floor, tracked_columns

LAST_SHARE: Final = 0.1
"""Of training, from whose windows means are taken: long enough for several windows, and nearly at the end."""


@dataclass(frozen=True)
class Tracked:
    """What one run tracked.

    Attributes:
        values: by estimator's word and quantity, such as ``posterior_variance``: of moving averages the last value,
            of quantities over windows the mean over the last tenth of training, each window counting as many times
            as its variance has degrees of freedom. NaN where no window has two steps.
        steps: steps of those windows, counted in the same way; NaN where no window has two steps.
        snr_floor: what pure noise has for an SNR in them.
        moving_floor: what it has in the moving averages.
    """

    values: Mapping[str, Mapping[str, float]]
    steps: float
    snr_floor: float
    moving_floor: float


def at_the_end(metrics: Mapping[str, NDArray[Any]]) -> Tracked | None:
    """What was tracked by the end of training; None where nothing was, or before the first row.

    Args:
        metrics: columns of shape (rows,) by name, sorted by ``step``.
    """
    columns = tracked_columns(metrics)
    if not columns or not len(metrics["step"]):
        return None
    last = metrics["step"] > (1.0 - LAST_SHARE) * metrics["step"][-1]
    nothing = np.full(len(last), math.nan)
    steps = metrics.get(WINDOW_STEPS, nothing)[last]
    freedom = np.where(steps >= 2.0, steps - 1.0, 0.0)  # NaN is not

    def mean(values: NDArray[np.float64]) -> float:
        counts = freedom > 0.0
        return float(np.average(values[counts], weights=freedom[counts])) if counts.any() else math.nan

    values: dict[str, dict[str, float]] = {}
    for column in columns:
        array = metrics[column.name]
        value = mean(array[last]) if column.windowed else float(array[-1])
        values.setdefault(column.estimator, {})[column.quantity] = value
    floor = np.array([snr_floor(n) if n >= 2.0 else math.nan for n in steps])
    return Tracked(values, mean(steps), mean(floor), moving_snr_floor(float(metrics["step"][-1])))
