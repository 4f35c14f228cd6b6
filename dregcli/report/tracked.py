"""Gradient statistics of the estimators that a run tracked, at the end of training."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dregcli.columns import WINDOW_STEPS, moving_snr_floor, snr_floor, tracked_columns

LAST_SHARE: Final = 0.1
"""Share of training, at its end, whose windows are averaged: long enough to hold several windows."""


@dataclass(frozen=True)
class Tracked:
    """The tracked statistics of one run.

    Attributes:
        values: statistics by the estimator's word and the quantity, such as ``posterior_variance``. For a moving
            average this is the last value. For a quantity over windows it is the mean over the last tenth of
            training, with each window weighted by its variance's degrees of freedom; NaN if no window has two steps.
        steps: mean number of steps of these windows, weighted in the same way; NaN if no window has two steps.
        snr_floor: SNR of pure noise in these windows.
        moving_floor: SNR of pure noise in the moving averages.
    """

    values: Mapping[str, Mapping[str, float]]
    steps: float
    snr_floor: float
    moving_floor: float


def at_the_end(metrics: Mapping[str, NDArray[Any]]) -> Tracked | None:
    """Return the tracked statistics at the end of training; None if nothing was tracked, or there are no rows yet.

    Args:
        metrics: columns of shape (rows,) by name, sorted by ``step``.
    """
    columns = tracked_columns(metrics)
    if not columns or not len(metrics["step"]):
        return None
    last = metrics["step"] > (1.0 - LAST_SHARE) * metrics["step"][-1]
    nothing = np.full(len(last), math.nan)
    steps = metrics.get(WINDOW_STEPS, nothing)[last]
    freedom = np.where(steps >= 2.0, steps - 1.0, 0.0)  # NaN counts as 0

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
