"""Numbers over seeds, from values that another program may have written."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal, cast

from dregcli.report.moments import standard_error

Better = Literal["larger", "smaller"]
"""Whether larger or smaller numbers are better."""


@dataclass(frozen=True)
class Aggregate:
    """Numbers over seeds.

    Attributes:
        mean: mean of the numbers.
        stderr: standard error of the mean; None for a single number.
        best: the largest or the smallest number, whichever is better; None where neither is better.
        n: how many numbers there are.
    """

    mean: float
    stderr: float | None
    best: float | None
    n: int


def aggregate(values: Sequence[float], better: Better | None) -> Aggregate | None:
    """Return mean, standard error and the best of some numbers; None if there are no numbers."""
    if not values:
        return None
    mean = fmean(values)
    stderr = standard_error(values, mean) if len(values) > 1 else None
    best = None if better is None else (max if better == "larger" else min)(values)
    return Aggregate(mean, stderr, best, len(values))


def mapping(value: object) -> Mapping[str, object] | None:
    """Return a mapping as it is; None for any other value, which another program may have written."""
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else None


def number(value: object) -> float | None:
    """Return a finite number as a float; None for any other value."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None
