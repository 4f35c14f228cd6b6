"""Signal, noise and bias of many pairs' gradients at one K, all on the same replicates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from dregcli.engine.diagnostics.jackknife import Statistic, leave_one_out, statistic_of_sets
from dregcli.engine.diagnostics.measurement import GROUPS
from dregcli.engine.diagnostics.references import direction_of
from dregcli.engine.diagnostics.replicates import Replicates
from dregcli.engine.diagnostics.unlike_groups import product_of_means
from dregcli.engine.moments import GroupMoments
from dregcli.engine.pairs import Pair
from dregcli.engine.randomness import Randomness, Stream
from dregcli.errors import NotFinite
from dregcli.names import Network

MOST_COORDINATES: Final = 2**16
"""Largest number of a network's parameters that are measured. More are represented by a random part of them, the same
for all pairs, so that memory does not grow with the model: a ratio of two pairs' variances over so many parameters
is known far better than the replicates know it."""

FEWEST_REPLICATES: Final = 2 * GROUPS
"""Smallest number of replicates: two per group, since one replicate has no variance."""


@dataclass(frozen=True)
class Numbers:
    """Signal and noise of one gradient; means over coordinates, squared nats per squared unit.

    Attributes:
        variance: variance of the gradient of a step.
        signal: squared expectation, without the noise's part; it may be below 0 where it is lost in noise.
        along: product of the expectation with that of the objective's own gradient, without the noise's part.
        squared_bias: squared difference between these two expectations, without the noise's part.
        target: squared expectation of the objective's own gradient, without the noise's part.
    """

    variance: Statistic
    signal: Statistic
    along: Statistic
    squared_bias: Statistic
    target: Statistic


@dataclass(frozen=True)
class Found:
    """The results of a study.

    Attributes:
        encoder: for each pair with a finite gradient, the numbers of the posterior's gradient.
        decoder: for each of them, the numbers of the model's gradient, which most pairs of an objective share; empty
            if only the posterior and the prior have parameters.
    """

    encoder: dict[Pair, Numbers]
    decoder: dict[Pair, Numbers]


def not_finite(pair: Pair, k: int) -> NotFinite:
    """Return the error for a pair without a finite gradient."""
    what = f"'{pair.word}' has no finite gradient at K={k}."
    return NotFinite(what, hint="leave out this estimator or this K")


class StepStudy:
    """A study of pairs of one objective at one K.

    Args:
        source: source of the replicates.
        pairs: pairs of one objective, all defined with ``k`` samples.
        k: samples per example.
        replicates: number of replicates; rounded up to whole draws, and to one draw in each group.
    """

    def __init__(self, source: Replicates, pairs: Sequence[Pair], k: int, *, replicates: int) -> None:
        self._source, self._asked, self._k = source, list(pairs), k
        assert len({pair.objective for pair in pairs}) == 1, "one study is of one objective"
        self._target = direction_of(pairs[0].objective, k, source.takes) or pairs[0]
        self._pairs = list(dict.fromkeys([*pairs, self._target]))
        self._draws = max(FEWEST_REPLICATES, -(-replicates // source.at_once))
        self._networks = [each for each in (Network.ENCODER, Network.DECODER) if each in source.networks]
        self._moments = {network: GroupMoments(GROUPS) for network in self._networks}
        self._chosen: dict[Network, Tensor | None] = {}
        self._finite = list(self._pairs)
        self.drawn = 0

    @property
    def total(self) -> int:
        """Number of draws."""
        return self._draws

    @property
    def done(self) -> bool:
        """Whether there is nothing left to draw."""
        return self.drawn == self._draws

    def advance(self) -> None:
        """Make one draw.

        Raises:
            NotFinite: no pair has a finite gradient here, or the one that all are compared with has none.
        """
        drawn = self._source.draw(Stream.VARIANCE_NOISE, self.drawn, self._source.at_once, self._pairs, self._k)
        group = self.drawn * GROUPS // self._draws
        for network in self._networks:
            vectors = self._some(network, drawn.gradients[network])
            if network is Network.ENCODER:
                self._leave_out(vectors)
            self._moments[network].add(group, vectors)
        self.drawn += 1

    def _some(self, network: Network, vectors: Tensor) -> Tensor:
        """Return the coordinates that are measured of vectors (P, n, D)."""
        width = vectors.shape[-1]
        if network not in self._chosen:
            order = (
                Randomness(0).permutation(Stream.DIAGNOSTIC_EXAMPLES, 0, width) if width > MOST_COORDINATES else None
            )
            kept = None if order is None else order[:MOST_COORDINATES].sort().values.to(vectors.device)
            self._chosen[network] = kept
        chosen = self._chosen[network]
        return vectors if chosen is None else vectors[..., chosen]

    def _leave_out(self, vectors: Tensor) -> None:
        """Leave out the pairs without a finite gradient, given all vectors (P, n, D)."""
        are_finite = torch.isfinite(vectors).flatten(1).all(dim=1)
        broken = [pair for pair, each in zip(self._pairs, are_finite, strict=True) if not bool(each)]
        self._finite = [pair for pair in self._finite if pair not in broken]
        left = [pair for pair in self._asked if pair in self._finite]
        if not left or self._target not in self._finite:
            raise not_finite(self._target if left else self._asked[0], self._k)

    def found(self) -> Found:
        """Return the results of all draws."""
        target = self._pairs.index(self._target)
        finite = [(i, pair) for i, pair in enumerate(self._pairs) if pair in self._asked and pair in self._finite]
        encoder = {pair: self._numbers(Network.ENCODER, i, target) for i, pair in finite}
        decoder: dict[Pair, Numbers] = {}
        if Network.DECODER in self._networks:
            thetas = list(dict.fromkeys(pair.theta for pair in self._pairs))
            of_target = thetas.index(self._target.theta)
            found = {
                each: self._numbers(Network.DECODER, thetas.index(each), of_target)
                for each in dict.fromkeys(pair.theta for pair in encoder)
            }
            decoder = {pair: found[pair.theta] for pair in encoder}
        return Found(encoder, decoder)

    def _numbers(self, network: Network, i: int, target: int) -> Numbers:
        moments = self._moments[network]
        own, of_target = ([moments.merged(each, [g])[1] for g in range(GROUPS)] for each in (i, target))
        apart = [a - b for a, b in zip(own, of_target, strict=True)]
        variance = statistic_of_sets([float(moments.merged(i, groups)[2].mean()) for groups in leave_one_out(GROUPS)])
        sizes = moments.counts
        return Numbers(
            variance,
            product_of_means(own, own, sizes),
            product_of_means(own, of_target, sizes),
            product_of_means(apart, apart, sizes),
            product_of_means(of_target, of_target, sizes),
        )
