"""Standard errors of any statistic of replicates in groups: the jackknife."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Statistic:
    """A statistic of independent replicates in G groups.

    Attributes:
        value: statistic of all replicates; NaN if it is not defined.
        without: statistic of all groups except one, for each group in turn.
    """

    value: float
    without: tuple[float, ...]

    @property
    def stderr(self) -> float:
        """The jackknife's standard error: sqrt((G - 1) / G * sum of squared deviations)."""
        return jackknife_stderr(self.without)

    def map(self, function: Callable[[float], float]) -> "Statistic":
        """Apply a function to the statistic."""
        return Statistic(function(self.value), tuple(map(function, self.without)))


def jackknife_stderr(without: Sequence[float]) -> float:
    """Return a statistic's standard error from its values with each of G groups left out."""
    groups = len(without)
    mean = math.fsum(without) / groups
    return math.sqrt((groups - 1) / groups * math.fsum((each - mean) ** 2 for each in without))


def statistic_of_sets(values: Sequence[float]) -> Statistic:
    """Build a statistic from its values on the sets of ``leave_one_out``."""
    return Statistic(values[0], tuple(values[1:]))


def leave_one_out(groups: int) -> Iterator[list[int]]:
    """Yield the groups that count: first all, then all except each one in turn."""
    every = list(range(groups))
    yield every
    for left_out in every:
        yield [each for each in every if each != left_out]


def mean_of_groups(values: Tensor, group: Tensor, groups: Sequence[int]) -> Statistic:
    """Return the mean of numbers, as a statistic.

    Args:
        values: numbers, shape (R,).
        group: group of each number, int64, shape (R,).
        groups: all groups.
    """
    members = [values[group == each].double() for each in groups]
    sums = [float(each.sum()) for each in members]
    sizes = [len(each) for each in members]
    found: list[float] = []
    for kept in leave_one_out(len(groups)):
        size = sum(sizes[each] for each in kept)
        found.append(math.fsum(sums[each] for each in kept) / size if size else math.nan)
    return statistic_of_sets(found)


@dataclass(frozen=True)
class Slope:
    """The slope of a statistic against K: the statistic is about proportional to K to the power ``value``.

    Attributes:
        value: slope of log(statistic) against log(K), by least squares.
        stderr: standard error by the jackknife.
        low: lower end of the 95 % interval, by Student's t with G - 1 degrees of freedom.
        high: upper end of the 95 % interval.
        ks: K of the points in the fit.
    """

    value: float
    stderr: float
    low: float
    high: float
    ks: tuple[int, ...]


def fit_slope(ks: Sequence[int], points: Sequence[Statistic]) -> Slope | None:
    """Fit the slope of a statistic's logarithm against log K; None with fewer than two points.

    The fit is repeated with each group left out of all points at once. Points that share noise move together, and so
    the interval accounts for this.

    Args:
        ks: K of each point.
        points: statistics, all above 0, with the same groups.
    """
    # A training loads this file, and has no need of scipy, which takes 0.25 s.
    from scipy.special import stdtrit  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]

    if len(ks) < 2:
        return None
    x = [math.log(k) for k in ks]
    value = _least_squares(x, [point.value for point in points])
    without = [_least_squares(x, each) for each in zip(*(point.without for point in points), strict=True)]
    stderr = jackknife_stderr(without)
    half = float(stdtrit(len(without) - 1, 0.975)) * stderr
    return Slope(value, stderr, value - half, value + half, tuple(ks))


def _least_squares(x: Sequence[float], values: Sequence[float]) -> float:
    y = [math.log(each) for each in values]
    centre = math.fsum(x) / len(x)
    over = math.fsum((a - centre) ** 2 for a in x)
    return math.fsum((a - centre) * b for a, b in zip(x, y, strict=True)) / over
