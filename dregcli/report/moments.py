"""Standard errors of a few numbers."""

import math
from collections.abc import Sequence


def standard_error(values: Sequence[float], mean: float) -> float:
    """Return the standard error of the mean of two values or more.

    ``statistics.stdev`` is exact, and a hundred times slower.
    """
    squares = math.fsum((value - mean) ** 2 for value in values)
    return math.sqrt(squares / (len(values) - 1) / len(values))
