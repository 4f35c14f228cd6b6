"""The results of a study of gradient variance, at one K and over all K."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from dregcli.engine.diagnostics.jackknife import Slope, Statistic, fit_slope
from dregcli.engine.objectives import Objective
from dregcli.engine.pairs import Pair
from dregcli.names import Network, PriorGradient, Promise

Name = Literal["variance", "snr", "power", "dsnr", "dsnr_floor", "cosine", "direction", "squared_bias"]
Sloped = Literal["variance", "snr", "dsnr"]

NAMES: Final[tuple[Name, ...]] = get_args(Name)
SLOPED: Final[tuple[Sloped, ...]] = get_args(Sloped)

_SIGNIFICANT, _ABOVE_FLOOR = 2.0, 2.0
"""Conditions for a point of a slope: an SNR minus its floor must be this many standard errors above 0, and a DSNR
must be at least this many times its floor."""


@dataclass(frozen=True)
class GradientOf:
    """The gradient that a sequence of vectors belongs to.

    Attributes:
        network: encoder, decoder or prior.
        objective: objective of the gradient.
        pair: objective and estimator; None for decoder and prior, whose gradients are the same for all estimators
            but those that leave samples out of them.
        prior: kind of the prior's gradient; None for encoder and decoder.
    """

    network: Network
    objective: Objective
    pair: Pair | None = None
    prior: PriorGradient | None = None

    @classmethod
    def of_theta(cls, network: Network, pair: Pair, prior: PriorGradient | None = None) -> "GradientOf":
        """Return a pair's gradient of the decoder or of the prior."""
        return cls(network, pair.objective, None if pair.keeps_theta else pair, prior)


@dataclass(frozen=True)
class Row:
    """The gradients of one sequence at one K.

    Attributes:
        of: the gradient that the vectors belong to.
        k: samples per example.
        promise: whether the expected gradient is that of its target: the objective, or the pair's own target.
        statistics: statistics by name.

            - ``variance``: mean over coordinates, squared nats per squared unit of a parameter.
            - ``snr``: see ``signal_to_noise``; about ``snr_floor`` for pure noise.
            - ``power``: mean over coordinates of (mean / standard deviation)^2, unbiased for Gaussian gradients: the
              value for R replicates of pure noise, 1 / R, is subtracted.
            - ``dsnr``: mean of |u.g| / ||g - (u.g) u|| along the direction u of the expected gradient.
            - ``dsnr_floor``: the same for gradients without their mean, along a direction of pure noise.
            - ``cosine``: mean cosine to the reference gradient.
            - ``direction``: approximate cosine between u, which is estimated, and the true direction.
            - ``squared_bias``: mean over coordinates of the squared difference between the expected gradient and that
              of its target, squared nats per squared unit of a parameter. The estimate has no bias of its own, so
              that it is about 0 for an unbiased pair, and may be below.
    """

    of: GradientOf
    k: int
    promise: Promise
    statistics: Mapping[Name, Statistic]

    def __getitem__(self, name: Name) -> Statistic:
        """Return one statistic."""
        return self.statistics[name]


@dataclass(frozen=True)
class Sampled:
    """The results that all pairs share at one K.

    Attributes:
        k: samples per example.
        ess: effective sample size.
        bound: the IWAE bound, nats per example.
    """

    k: int
    ess: Statistic
    bound: Statistic


@dataclass(frozen=True)
class Reference:
    """The gradient that others are compared with.

    Attributes:
        network: encoder, decoder or prior.
        pair: the objective, and the estimator whose gradients are averaged.
        k: samples per example.
        n: number of replicates.
        agreement: cosine between the means of its two halves; 1 means no noise.
        prior: kind of the prior's gradient that is averaged; None for encoder and decoder.
    """

    network: Network
    pair: Pair
    k: int
    n: int
    agreement: float
    prior: PriorGradient | None = None


@dataclass(frozen=True)
class FittedSlope:
    """The slope of one statistic of one sequence against K.

    Attributes:
        of: the gradient that the vectors belong to.
        statistic: name of the statistic. For ``snr`` the slope of the root of ``power`` is fitted: the noise's part
            of |mean| would flatten the slope of ``snr`` long before the floor.
        slope: the slope; None if fewer than two points are above their floor.
        left_out: K of points that are at their floor or where the statistic is not defined.
    """

    of: GradientOf
    statistic: Sloped
    slope: Slope | None
    left_out: tuple[int, ...]


def fit_slopes(rows: Sequence[Row]) -> list[FittedSlope]:
    """Fit the slopes of every sequence, in the order of the rows."""
    found: list[FittedSlope] = []
    for of in dict.fromkeys(row.of for row in rows):
        mine = [row for row in rows if row.of == of]
        for statistic in SLOPED:
            points = {row.k: point for row in mine if (point := _point(row, statistic)) is not None}
            left_out = tuple(row.k for row in mine if row.k not in points)
            found.append(FittedSlope(of, statistic, fit_slope(list(points), list(points.values())), left_out))
    return found


def _point(row: Row, statistic: Sloped) -> Statistic | None:
    """Return a point of a slope, or None if it is not usable."""
    if statistic == "snr":
        power = row["power"]
        usable = power.value > _SIGNIFICANT * power.stderr
        return power.map(math.sqrt) if usable and _positive(power) else None
    point = row[statistic]
    if statistic == "dsnr" and not point.value >= _ABOVE_FLOOR * row["dsnr_floor"].value:
        return None
    return point if _positive(point) else None


def _positive(point: Statistic) -> bool:
    return all(0.0 < each < math.inf for each in (point.value, *point.without))
