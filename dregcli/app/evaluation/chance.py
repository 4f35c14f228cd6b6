"""What chance and a limited K leave in a mean of bounds, and where neither can be known."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dregcli.names import ChanceMethod

FEWEST_FREEDOM: Final = 10.0
"""Effective degrees of freedom of a variance: with fewer its root has itself a standard error above 22 %."""

FASTEST: Final = 0.5
SLOWEST: Final = 0.9
"""Limits of the ratio of one rise to the one before, as K doubles: bounds near log p(x) with 1/K, or with K to the
power -0.15 alone."""

FIRST_K: Final = 500
"""Samples to begin with where so few were drawn that nothing is known."""

MOST_TIMES: Final = 100.0
"""The K of a hint is at most so many times the K that was tried: an extrapolation reaches no further."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Chance:
    """How much a mean over these examples would vary from one draw of samples to the next.

    Attributes:
        stderr: nats per example; None where it cannot be known.
        method: how it was found; None with it.
    """

    stderr: float | None
    method: ChanceMethod | None

    def as_json(self) -> dict[str, float | str | None]:
        """As plain values."""
        return {"mc_stderr": self.stderr, "mc_method": self.method.value if self.method else None}


def chance_of(bound: Values, squares: Values, groups: int, left_out: Values | None, ess: Values) -> Chance:
    """The chance in the mean over examples of bounds at one K; examples are drawn independently of each other.

    The variance between independent values of an example holds whatever the weights. Where there are too few of them
    it is by leaving out samples, which needs but one; at K = 1 there is then nothing.

    Args:
        bound: nats, shape (R, n) for R independent draws.
        squares: within each draw, between its groups of K: see ``Curve``; shape (R, n).
        groups: of K in one draw.
        left_out: see ``left_out_variance``, shape (R, n); None where K is not the largest.
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
    """The chance in a mean of independent examples, from the variance of each and its degrees of freedom."""
    total = float(variances.sum())
    if not math.isfinite(total):
        return Chance(None, None)
    if total > 0.0:
        # Welch and Satterthwaite, with an unbiased estimate of each variance's square.
        effective = total**2 / float((np.square(variances) / (freedom + 2.0)).sum())
        if effective < FEWEST_FREEDOM:
            return Chance(None, None)
    return Chance(math.sqrt(total) / len(variances), method)


@dataclass(frozen=True)
class Bias:
    """About what a mean of bounds is below the mean of log p(x), for want of samples.

    Attributes:
        value: nats, not above 0.
        ratio: what a doubling of K multiplies it by.
    """

    value: float
    ratio: float

    def k_for(self, k: int, allowed: float) -> int:
        """About the K from which on it is within so many nats if it goes on as at k, rounded up to one digit."""
        steps = math.log(max(-self.value / allowed, 1.0)) / -math.log(self.ratio)
        needed = k * min(max(2.0**steps, 2.0), MOST_TIMES)
        unit = 10 ** math.floor(math.log10(needed))
        return math.ceil(needed / unit - 1e-9) * unit


def bias_of(rises: Values | None) -> Bias | None:
    """The bias at the largest K, from the three last doublings of K.

    The bound rises to log p(x) as K grows. The last doublings of K say how fast the rises shrink, and what all
    further ones would add is their geometric series: for weights of little variance half that variance over K. It
    knows nothing of mass that no sample has met.

    Args:
        rises: at the three last doublings, shape (3, R, n), nats; None where K is too small for them.
    """
    if rises is None:
        return None
    first, second, third = (float(each.mean()) for each in rises)
    before, after = max(first + second, 0.0), max(second + third, 0.0)
    ratio = min(max(after / before, FASTEST), SLOWEST) if before > 0.0 else SLOWEST
    # The last rise as the series has it: of the largest K alone it is the least known.
    last = after * ratio / (1.0 + ratio)
    return Bias(-last * ratio / (1.0 - ratio), ratio)
