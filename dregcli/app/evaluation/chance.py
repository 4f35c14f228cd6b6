"""Estimate the random error and the bias of a mean of bounds with limited K, where they can be known."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dregcli.names import ChanceMethod
from dregcli.specs.number_lists import MOST_SAMPLES

FEWEST_FREEDOM: Final = 10.0
"""Fewest effective degrees of freedom of a variance: with fewer, its root has a standard error above 22 %."""

FASTEST: Final = 0.5
SLOWEST: Final = 0.9
"""Limits of the ratio of one rise to the rise before it, as K doubles. With 0.5, bounds approach log p(x) like 1/K;
with 0.9, only like K to the power -0.15."""

FIRST_K: Final = 500
"""Suggested K if so few samples were drawn that the bias is not known."""

MOST_TIMES: Final = 100.0
"""Largest ratio of a suggested K to the K that was tried, because an extrapolation reaches no further."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Chance:
    """How much a mean over the examples would vary from one draw of samples to the next.

    Attributes:
        stderr: standard error, nats per example; None if it cannot be known.
        method: how the standard error was found; None if it cannot be known.
    """

    stderr: float | None
    method: ChanceMethod | None

    def as_json(self) -> dict[str, float | str | None]:
        """Return plain values."""
        return {"mc_stderr": self.stderr, "mc_method": self.method.value if self.method else None}


def chance_of(bound: Values, squares: Values, groups: int, left_out: Values | None, ess: Values) -> Chance:
    """Return the random error of the mean over examples of bounds at one K; examples have independent samples.

    The variance between independent values of an example is valid for any weights. If there are too few such values,
    the variance comes from leaving out samples, which needs only one value; at K = 1 this is not possible either.

    Args:
        bound: bounds in nats, shape (R, n) for R independent draws.
        squares: sums of squares between the groups of K within each draw, shape (R, n); see ``Curve``.
        groups: number of groups of K in one draw.
        left_out: variances from leaving out samples, shape (R, n), see ``left_out_variance``; None unless K is the
            largest.
        ess: effective sample size at the largest K, shape (R, n).
    """
    count = len(bound) * groups
    if count > 1:
        between = squares.sum(axis=0) + groups * np.square(bound - bound.mean(axis=0)).sum(axis=0)
        method = ChanceMethod.GROUPS if groups > 1 else ChanceMethod.REPEATS
        found = _chance(between / (count - 1) / count, np.full_like(bound[0], count - 1.0), method)
        if found.stderr is not None:
            return found
    if left_out is None:
        return Chance(None, None)
    freedom = len(bound) * (ess.mean(axis=0) - 1.0)
    return _chance(left_out.mean(axis=0) / len(bound), freedom, ChanceMethod.LEFT_OUT)


def _chance(variances: Values, freedom: Values, method: ChanceMethod) -> Chance:
    """Return the random error of a mean of independent examples, from their variances and degrees of freedom."""
    total = float(variances.sum())
    if not math.isfinite(total):
        return Chance(None, None)
    if total > 0.0:
        # Welch-Satterthwaite equation, with an unbiased estimate of the square of each variance.
        effective = total**2 / float((np.square(variances) / (freedom + 2.0)).sum())
        if effective < FEWEST_FREEDOM:
            return Chance(None, None)
    return Chance(math.sqrt(total) / len(variances), method)


@dataclass(frozen=True)
class Bias:
    """Approximate bias of a mean of bounds, which is below the mean of log p(x) because K is limited.

    Attributes:
        value: the bias in nats, not above 0.
        ratio: the factor by which a doubling of K changes the bias.
    """

    value: float
    ratio: float

    def k_for(self, k: int, allowed: float) -> int | None:
        """Return the approximate K at which the bias is at most ``allowed`` nats, rounded up to one digit.

        The bias is assumed to shrink beyond ``k`` by the same ratio. The result is None if no evaluation can have so
        many samples.
        """
        steps = math.log(max(-self.value / allowed, 1.0)) / -math.log(self.ratio)
        needed = k * min(max(2.0**steps, 2.0), MOST_TIMES)
        if needed > MOST_SAMPLES:
            return None
        unit = 10 ** math.floor(math.log10(needed))
        return min(math.ceil(needed / unit - 1e-9) * unit, MOST_SAMPLES)


def bias_of(rises: Values | None) -> Bias | None:
    """Estimate the bias at the largest K from the last three doublings of K.

    The bound rises to log p(x) as K grows. The last doublings of K show how fast the rises shrink, and the sum of all
    further rises is a geometric series. For weights of small variance it is half of that variance over K. The
    estimate cannot include probability mass that no sample has reached.

    Args:
        rises: rises of the bound at the last three doublings, shape (3, R, n), nats; None if K is too small. If the
            bound of an example is not a finite number, its bias cannot be known.
    """
    if rises is None or not np.isfinite(rises).all():
        return None
    first, second, third = (float(each.mean()) for each in rises)
    before, after = max(first + second, 0.0), max(second + third, 0.0)
    ratio = min(max(after / before, FASTEST), SLOWEST) if before > 0.0 else SLOWEST
    # Take the last rise from the series, because its own estimate has the largest error.
    last = after * ratio / (1.0 + ratio)
    return Bias(-last * ratio / (1.0 - ratio), ratio)
