"""Tests of whether a vector's mean is 0, from M independent batch means; sizes of a bias, found or detectable.

The vector is the difference of two gradient estimates on the same noise, in blocks (one per parameter). A bias is a
mean other than 0, in an unknown direction. A direction is learned from the first third of the means, and the other
means are tested along it by Student's t. The tests are asymptotic in the number of vectors in each mean; a benchmark
measures their false alarms on a model without bias.

Functions import scipy themselves: it takes 0.25 s, and a training does not need it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

FEWEST_MEANS = 48
"""Smallest number of means for a test: two thirds of them must be at least 30."""

POWER = 0.9

# Shares of a look's error probability for its tests. The learned direction finds biases in any direction, so it gets
# half.
_LEARNED, _ALONG_GRADIENT, _BLOCKS = 0.5, 0.25, 0.25

Blocks = Mapping[str, Tensor]
"""Batch means by parameter, each (M, P)."""


@dataclass(frozen=True)
class Estimate:
    """A squared norm and its standard error, both in squared gradient units."""

    value: float
    stderr: float


@dataclass(frozen=True)
class Evidence:
    """Evidence about a bias from M batch means.

    Attributes:
        p: probability of tests this extreme without a bias, corrected for the number of tests.
        t_learned: t statistic along the learned direction.
        t_gradient: t statistic along the reference gradient.
        t_blocks: t statistic along each block's own learned direction.
        t_signed_mean: t statistic of the sum over all coordinates, as in the reference implementation's bias check.
            It is only reported: biases of opposite sign cancel in it.
        square: squared norm of the bias, from cross products of independent means; the estimate may be negative.
        detectable_square: squared norm of a bias that would have been found with probability 0.9.
        critical_t: threshold that one block's |t| must exceed to count alone as a bias at level ``alpha``.
        freedom: degrees of freedom of every t statistic.
    """

    p: float
    t_learned: float
    t_gradient: float
    t_blocks: dict[str, float]
    t_signed_mean: float
    square: Estimate
    detectable_square: float
    critical_t: float
    freedom: int

    @property
    def deciding_t(self) -> float:
        """The t statistic of the test with the smallest corrected p-value: ``p`` follows from it."""
        return min(_tests(self.t_learned, self.t_gradient, [*self.t_blocks.values()], self.freedom))[1]

    @property
    def max_abs_t(self) -> float:
        """The largest |t| over blocks."""
        return max(abs(t) for t in self.t_blocks.values())


def _tests(t_learned: float, t_gradient: float, t_blocks: Sequence[float], freedom: int) -> list[tuple[float, float]]:
    """Return the p-value of each test, corrected for the number of tests, with its t statistic."""
    largest = max(t_blocks, key=abs)
    return [
        (_p(t_learned, freedom) / _LEARNED, t_learned),
        (_p(t_gradient, freedom) / _ALONG_GRADIENT, t_gradient),
        (len(t_blocks) * _p(largest, freedom) / _BLOCKS, largest),
    ]


def learning_means(means: int) -> int:
    """Return how many of the first means are used to learn the direction; the others test it."""
    return means // 3


def gram(blocks: Blocks) -> Tensor:
    """Compute inner products of the batch means, over all blocks together, shape (M, M), float64."""
    return torch.stack([rows.double() @ rows.double().mT for rows in blocks.values()]).sum(dim=0)


def squared_norm_of_mean(products: Tensor) -> Estimate:
    """Estimate the squared norm of the vectors' mean: the mean of inner products (M, M) of different vectors.

    The estimate is unbiased, since different batch means are independent. Its standard error comes from the
    jackknife, but is at least the standard error for a mean of 0: there the jackknife is too small if the estimate
    happens to be low.
    """
    m = products.shape[0]
    total, diagonal, rows = products.sum(), products.diagonal(), products.sum(dim=1)
    off = total - diagonal.sum()
    without = (off - 2.0 * (rows - diagonal)) / ((m - 1) * (m - 2))
    jackknife = math.sqrt((m - 1) / m * float((without - without.mean()).square().sum()))
    least = math.sqrt(2.0 * _traces(products)[1] / (m * (m - 1)))
    return Estimate(float(off / (m * (m - 1))), max(jackknife, least))


def _traces(products: Tensor) -> tuple[float, float]:
    """Return tr S and tr S^2 of the vectors' covariance S, from their inner products (M, M)."""
    m = products.shape[0]
    centred = products - products.mean(dim=0) - products.mean(dim=1)[:, None] + products.mean()
    off = centred - torch.diag(centred.diagonal())
    return float(centred.diagonal().sum()) / (m - 1), float(off.square().sum()) / (m * (m - 1))


def t_statistic(values: Tensor) -> float:
    """Return Student's t of the mean of independent values; 0 if all are 0."""
    mean, sd = float(values.mean()), float(values.std())
    if sd == 0.0:
        return math.copysign(math.inf, mean) if mean else 0.0
    return mean / sd * math.sqrt(len(values))


def _critical(alpha: float, freedom: int) -> float:
    """Return the |t| that is exceeded with probability ``alpha``."""
    from scipy.special import stdtrit  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]

    return float(stdtrit(freedom, 1.0 - alpha / 2.0))


def _p(t: float, freedom: int) -> float:
    """Return the two-sided p-value."""
    from scipy.special import stdtr  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]

    return 2.0 * float(stdtr(freedom, -abs(t)))


def evidence(blocks: Blocks, gradient: Mapping[str, Tensor], *, alpha: float) -> Evidence:
    """Test batch means of a difference of gradients against a mean of 0.

    Args:
        blocks: the batch means by parameter, each (M, P), at least ``FEWEST_MEANS`` of them.
        gradient: direction of the reference gradient by parameter, computed without the last two thirds' data.
        alpha: probability of a false alarm for which the detectable size and the critical t are computed.
    """
    m = len(next(iter(blocks.values())))
    if m < FEWEST_MEANS:
        message = f"{FEWEST_MEANS} batch means are needed, not {m}"
        raise ValueError(message)
    third = learning_means(m)
    freedom = m - third - 1
    learned = {name: rows[:third].double().mean(dim=0) for name, rows in blocks.items()}
    along = {name: rows[third:].double() @ learned[name] for name, rows in blocks.items()}
    t_blocks = {name: t_statistic(values) for name, values in along.items()}
    t_learned = t_statistic(torch.stack(list(along.values())).sum(dim=0))
    on_gradient = [rows[third:].double() @ gradient[name].double() for name, rows in blocks.items()]
    t_gradient = t_statistic(torch.stack(on_gradient).sum(dim=0))
    p = min(1.0, *(p for p, _ in _tests(t_learned, t_gradient, [*t_blocks.values()], freedom)))
    signed = torch.stack([rows.double().sum(dim=1) for rows in blocks.values()]).sum(dim=0)
    products = gram(blocks)
    return Evidence(
        p=p,
        t_learned=t_learned,
        t_gradient=t_gradient,
        t_blocks=t_blocks,
        t_signed_mean=t_statistic(signed),
        square=squared_norm_of_mean(products),
        detectable_square=_detectable_square(products, third, alpha * _LEARNED),
        critical_t=_critical(alpha * _BLOCKS / len(blocks), freedom),
        freedom=freedom,
    )


def _detectable_square(products: Tensor, third: int, alpha: float) -> float:
    """Return the squared norm of a bias that the learned direction finds with probability ``POWER`` at ``alpha``.

    Let the means have covariance S. The learned direction is bias + noise of covariance S / third; along it, the
    other means have mean bias.direction and variance direction' S direction. Assume that the noise in the bias's
    direction has the noise's typical variance s = tr S^2 / tr S. Then t has mean
    sqrt(rest) b^2 / sqrt(s b^2 + tr S^2 / third). It must exceed the critical value by as many standard deviations of
    t as the power requires; t varies by 1, and in addition by the random error of the learned direction.
    """
    from scipy.special import ndtri  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]

    m = products.shape[0]
    rest = m - third
    trace, trace_square = _traces(products)
    if trace <= 0.0:
        return 0.0
    usual = trace_square / trace
    critical = _critical(alpha, rest - 1)
    quantile = float(ndtri(POWER))

    def excess(square: float) -> float:
        variance = usual * square + trace_square / third
        mean_t = math.sqrt(rest / variance) * square
        spread = math.sqrt(1.0 + rest / third * usual * square / variance)
        return mean_t - critical - quantile * spread

    low, high = 0.0, trace
    while excess(high) < 0.0:
        high *= 2.0
    for _ in range(100):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if excess(middle) < 0.0 else (low, middle)
    return high
