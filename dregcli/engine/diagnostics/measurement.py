"""The gradients of one network at one K: moments, directions and cosines of many sequences, replicate by replicate.

Directional signal-to-noise ratio: Rainforth et al., arXiv 1802.04537, section 4.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from dregcli.engine.diagnostics.jackknife import (
    Statistic,
    leave_one_out,
    mean_of_groups,
    statistic_of_sets,
)
from dregcli.engine.diagnostics.references import directions_of, own_direction_of
from dregcli.engine.diagnostics.replicates import Replicates
from dregcli.engine.diagnostics.unlike_groups import product_of_means
from dregcli.engine.diagnostics.variance_result import NAMES, GradientOf, Name
from dregcli.engine.moments import GroupMoments
from dregcli.engine.pairs import Pair
from dregcli.engine.snr import ratios, signal_to_noise
from dregcli.names import Network, PriorGradient, Promise

GROUPS: Final = 10
"""Number of groups of replicates, for the jackknife. Directions are learned on the first half, used on the second."""

LEARNING: Final = range(GROUPS // 2)
MEASURING: Final = range(GROUPS // 2, GROUPS)
_ALL: Final = range(GROUPS)

_RATIOS: tuple[Name, ...] = ("cosine", "dsnr", "dsnr_floor")


def working_pairs(pairs: Sequence[Pair], k: int) -> list[Pair]:
    """Return the pairs that are defined with k samples."""
    return [pair for pair in pairs if not pair.faults(k)]


_PRIOR_DIRECTIONS = (PriorGradient.BLEND, PriorGradient.GDREG, PriorGradient.SCORE)
"""Kinds of the prior's gradient that show its direction, those with the least noise first: they all have the same
expectation."""


def prior_direction(possible: Sequence[PriorGradient]) -> list[PriorGradient]:
    """Return the possible kind that shows the direction of the prior's gradient; empty for a fixed prior."""
    return [kind for kind in _PRIOR_DIRECTIONS if kind in possible][:1]


@dataclass(frozen=True)
class Plan:
    """The gradients that are drawn at one K.

    Attributes:
        pairs: the requested pairs, then the pairs that show the directions of their targets, if they were not
            requested.
        prior: the requested kinds of the prior's gradient, then the kind that shows its direction, if it was not
            requested; empty for a fixed prior.
        sequences: sequences that are reported, by network; in the order in which a draw returns them.
        directions: for each network and sequence, the sequence whose mean gives the direction of measurement.
        targets: for each network and sequence, the sequence whose mean is the gradient of its target.
    """

    pairs: list[Pair]
    prior: list[PriorGradient]
    sequences: dict[Network, list[GradientOf]]
    directions: dict[Network, list[int]]
    targets: dict[Network, list[int]]

    @classmethod
    def of(cls, pairs: Sequence[Pair], k: int, source: Replicates, prior: Sequence[PriorGradient]) -> "Plan":
        """Plan for the pairs that are defined with k samples, and for kinds of the prior's gradient."""
        asked = working_pairs(pairs, k)
        shown = {pair.objective: pair for pair in directions_of(asked, k, source.takes)}
        aims = [own_direction_of(pair, k, source.takes) or shown[pair.objective] for pair in asked]
        drawn = list(dict.fromkeys([*asked, *aims]))
        # An unbiased pair points in the same direction as the one that has the least noise; a biased pair does not.
        along = [aim if pair.promise(k) is Promise.UNBIASED else pair for pair, aim in zip(asked, aims, strict=True)]
        # A pair and the one that shows its direction have the same theta, so that no other theta is drawn.
        every = dict.fromkeys(pair.theta for pair in asked)
        thetas = [next(pair for pair in asked if pair.theta == each) for each in every]
        shows = prior_direction(source.prior_gradients)
        kinds = list(dict.fromkeys([*prior, *shows]))
        first = [kinds.index(each) * len(thetas) for each in shows]
        sequences = {
            Network.ENCODER: [GradientOf(Network.ENCODER, pair.objective, pair) for pair in asked],
            Network.DECODER: [GradientOf.of_theta(Network.DECODER, each) for each in thetas],
            Network.PRIOR: [GradientOf.of_theta(Network.PRIOR, each, kind) for kind in prior for each in thetas],
        }
        directions = {
            Network.ENCODER: [drawn.index(each) for each in along],
            Network.DECODER: [*range(len(thetas))],
            Network.PRIOR: [start + i for start in first for _ in prior for i in range(len(thetas))],
        }
        targets = directions | {Network.ENCODER: [drawn.index(each) for each in aims]}
        return cls(
            drawn,
            kinds,
            {network: sequences[network] for network in source.networks},
            {network: directions[network] for network in source.networks},
            {network: targets[network] for network in source.networks},
        )

    def promise(self, of: GradientOf, k: int) -> Promise:
        """Return a sequence's promise. The expected gradient of theta is that of its target for every estimator."""
        return of.pair.promise(k) if of.pair else Promise.UNBIASED


class Measurement:
    """The replicates of one network at one K.

    Args:
        directions: for each reported sequence, the sequence that gives its direction.
        targets: for each reported sequence, the sequence that has the expectation of its target.
        references: for each reported sequence, a unit vector, shape (P, D).
        replicates: number of replicates, R.
    """

    def __init__(
        self, directions: Sequence[int], targets: Sequence[int], references: Tensor, replicates: int
    ) -> None:
        self._directions, self._targets, self._references = list(directions), list(targets), references
        self._moments = GroupMoments(GROUPS)
        self._ratios = torch.full((len(_RATIOS), len(self._directions), replicates), math.nan, dtype=torch.float64)
        self._group = groups_of(replicates, GROUPS)
        self._along: tuple[Tensor, Tensor, Tensor] | None = None

    def add(self, first: int, group: int, vectors: Tensor) -> None:
        """Add replicates from ``first`` on, all in one group, shape (P, n, D); reported sequences come first."""
        reported = vectors[: len(self._directions)]
        here = slice(first, first + reported.shape[1])
        self._references = self._references.to(vectors.dtype)
        self._ratios[0, :, here] = _cosines(reported, self._references)
        if group in MEASURING:
            direction, noise, mean = self._along = self._along or self._learned(vectors.dtype)
            self._ratios[1, :, here] = _directional(reported, direction)
            self._ratios[2, :, here] = _directional(reported - mean.unsqueeze(1), noise)
        self._moments.add(group, vectors)

    def _learned(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Return from the first half: unit vectors along means, unit vectors along its parts' differences, and means.

        In differences the signal cancels; the noise that is left is like the noise of the direction. Along such a
        difference, gradients without their mean show the ratio of pure noise, in the noise's effective dimensions.
        """
        parts = [self._moments.mean(groups) for groups in (LEARNING, LEARNING[:2], LEARNING[2:])]
        means = parts[0][: len(self._directions)]
        parts = [each[self._directions] for each in parts]
        return units(parts[0]).to(dtype), units(parts[1] - parts[2]).to(dtype), means.to(dtype)

    def statistics(self, unsure: Sequence[slice] = ()) -> list[dict[Name, Statistic]]:
        """Return the statistics of each reported sequence.

        Args:
            unsure: coordinates of parameters that perhaps no gradient reaches; those that none does do not count.
        """
        width = self._references.shape[-1]
        idle = sum(each.stop - each.start for each in unsure if self._moments.is_idle(each))
        share = width / (width - idle) if idle < width else 1.0
        return [self._statistics(i, share) for i in range(len(self._directions))]

    def _statistics(self, i: int, share: float) -> dict[Name, Statistic]:
        """Return the statistics of one sequence; ``share`` is that of all coordinates to those that count."""
        sets = [_variance_and_snr(*self._moments.merged(i, groups)) for groups in leave_one_out(GROUPS)]
        variance, snr, power = map(statistic_of_sets, zip(*sets, strict=True))
        cosine, dsnr, floor = (
            mean_of_groups(self._ratios[j, i], self._group, groups)
            for j, groups in enumerate((range(GROUPS), MEASURING, MEASURING))
        )
        direction = statistic_of_sets(
            [
                _reliability(*self._moments.merged(self._directions[i], [LEARNING[each] for each in groups]))
                for groups in leave_one_out(len(LEARNING))
            ]
        )
        variance, bias = (each.map(lambda value: share * value) for each in (variance, self._squared_bias(i)))
        found = (variance, snr, power, dsnr, floor, cosine, direction, bias)
        return dict(zip(NAMES, found, strict=True))

    def _squared_bias(self, i: int) -> Statistic:
        """Return the squared difference from the target, mean over coordinates, without the noise's part."""
        apart = [self._moments.merged(i, [g])[1] - self._moments.merged(self._targets[i], [g])[1] for g in _ALL]
        return product_of_means(apart, apart, self._moments.counts)

    def state(self) -> dict[str, Tensor]:
        """Return the arrays that a later process needs; directions follow from the moments."""
        return {"ratios": self._ratios, **self._moments.state()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore what ``state`` returned."""
        self._ratios = state.pop("ratios").cpu()
        self._moments.load(state)


def groups_of(replicates: int, groups: int) -> Tensor:
    """Return the group of each replicate, in order; sizes differ by at most one; int64, shape (R,)."""
    return torch.arange(replicates) * groups // replicates


def units(vectors: Tensor) -> Tensor:
    """Scale vectors to length 1; NaN where there is no direction."""
    return vectors / _lengths(vectors).unsqueeze(-1)


def _cosines(vectors: Tensor, along: Tensor) -> Tensor:
    """Return cosines of vectors (P, n, D) to unit vectors (P, D): (P, n), float64 on the CPU."""
    part = torch.einsum("pnd,pd->pn", vectors, along)
    return (part / _lengths(vectors)).double().cpu()


def _directional(vectors: Tensor, along: Tensor) -> Tensor:
    """Return |u.g| / ||g - (u.g) u|| for vectors (P, n, D) and unit vectors (P, D): (P, n), float64 on the CPU."""
    part = torch.einsum("pnd,pd->pn", vectors, along)
    across = vectors - part.unsqueeze(-1) * along.unsqueeze(1)
    return (part.abs() / _lengths(across)).double().cpu()


def _lengths(vectors: Tensor) -> Tensor:
    return vectors.square().sum(dim=-1).sqrt()


def _variance_and_snr(n: int, mean: Tensor, variance: Tensor) -> tuple[float, float, float]:
    """Return means over coordinates of the variance, of |mean| / sd, and of its square without noise's part."""
    each, varies = ratios(mean, variance)
    # n times the square is a non-central F(1, n - 1), whose mean is (n - 1) / (n - 3) (1 + n mu^2 / sigma^2).
    power = float(each[varies].square().mean()) * (n - 3) / (n - 1) - 1.0 / n
    return float(variance.mean()), float(signal_to_noise([(mean[None], variance[None])])), power


def _reliability(n: int, mean: Tensor, variance: Tensor) -> float:
    """Estimate the cosine between a mean of n vectors and its expectation: sqrt(signal / (signal + noise))."""
    size = float(mean.square().sum())
    return math.sqrt(max(0.0, 1.0 - float(variance.sum()) / n / size)) if size else math.nan
