"""Means over few repeats, with their standard errors."""

import math
from collections.abc import Sequence
from statistics import mean, stdev


def standard_error(values: Sequence[float]) -> float | None:
    """Of the mean; None for a single value."""
    return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean, and its standard error."""
    return mean(values), standard_error(values)
