"""What a study of gradient variance found, at one K and over all of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from dregcli.engine.diagnostics.jackknife import Slope, Statistic, fit_slope
from dregcli.engine.objectives import Objective
from dregcli.engine.pairs import Pair
from dregcli.names import Network, Promise

Name = Literal["variance", "snr", "power", "dsnr", "dsnr_floor", "cosine", "direction"]
Sloped = Literal["variance", "snr", "dsnr"]

NAMES: Final[tuple[Name, ...]] = get_args(Name)
SLOPED: Final[tuple[Sloped, ...]] = get_args(Sloped)

_SIGNIFICANT, _ABOVE_FLOOR = 2.0, 2.0
"""Standard errors that an SNR without its floor must be above 0, and times its floor that a DSNR must be, to be a
point of a slope."""


@dataclass(frozen=True)
class GradientOf:
    """Whose gradients one sequence of vectors is.

    Attributes:
        network: encoder or decoder.
        objective: whose gradient.
        pair: objective and estimator; None of a decoder, whose gradient is the same for all estimators.
    """

    network: Network
    objective: Objective
    pair: Pair | None


@dataclass(frozen=True)
class Row:
    """The gradients of one sequence at one K.

    Attributes:
        of: whose.
        k: samples per example.
        promise: whether the expected gradient is the objective's own.
        statistics: by name.

            - ``variance``: mean over coordinates, squared nats per unit of parameter.
            - ``snr``: see ``signal_to_noise``; of pure noise about ``snr_floor``.
            - ``power``: mean over coordinates of (mean / standard deviation)^2, unbiased for Gaussian gradients: the
              part of it that R replicates of pure noise have, 1 / R, is taken off.
            - ``dsnr``: mean of |u.g| / ||g - (u.g) u|| along the direction u of the expected gradient.
            - ``dsnr_floor``: the same of gradients without their mean, along a direction of pure noise.
            - ``cosine``: mean cosine to the reference gradient.
            - ``direction``: about the cosine between u, which is an estimate, and what it is an estimate of.
    """

    of: GradientOf
    k: int
    promise: Promise
    statistics: Mapping[Name, Statistic]

    def __getitem__(self, name: Name) -> Statistic:
        """One statistic."""
        return self.statistics[name]


@dataclass(frozen=True)
class Sampled:
    """What all pairs share at one K.

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
        network: encoder or decoder.
        objective: whose dreg gradient it is the mean of.
        k: samples per example.
        n: replicates.
        agreement: cosine between the means of its two halves; 1 is without noise.
    """

    network: Network
    objective: Objective
    k: int
    n: int
    agreement: float


@dataclass(frozen=True)
class FittedSlope:
    """How one statistic of one sequence goes with K.

    Attributes:
        of: whose.
        statistic: which. Of ``snr`` it is the slope of the root of ``power``: what |mean| of pure noise adds would
            flatten it long before the floor.
        slope: None where fewer than two points are above their floor.
        left_out: K of points at their floor, or where the statistic is not defined.
    """

    of: GradientOf
    statistic: Sloped
    slope: Slope | None
    left_out: tuple[int, ...]


def fit_slopes(rows: Sequence[Row]) -> list[FittedSlope]:
    """The slopes of every sequence, in the order of the rows."""
    found: list[FittedSlope] = []
    for of in dict.fromkeys(row.of for row in rows):
        mine = [row for row in rows if row.of == of]
        for statistic in SLOPED:
            points = {row.k: point for row in mine if (point := _point(row, statistic)) is not None}
            left_out = tuple(row.k for row in mine if row.k not in points)
            found.append(FittedSlope(of, statistic, fit_slope(list(points), list(points.values())), left_out))
    return found


def _point(row: Row, statistic: Sloped) -> Statistic | None:
    """A point of a slope, or None where it says nothing about one."""
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
