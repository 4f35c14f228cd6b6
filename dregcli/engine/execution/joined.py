"""Several forward passes over rows as one."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dregcli.engine.execution.batch import Named, RowPass, Sums
from dregcli.engine.execution.weighing import RowWeights


class JoinedPasses:
    """Several passes as one; their rows follow each other along one axis.

    Args:
        parts: at least one pass.
        sizes: number of samples or of rows of each pass.
        axis: 0 if the passes have different samples, 1 if they have different chosen rows.
    """

    def __init__(self, parts: Sequence[RowPass], sizes: Sequence[int], axis: int) -> None:
        self._parts, self._sizes, self._axis = parts, list(sizes), axis

    @property
    def log_w(self) -> Tensor:
        """Log-weights of all rows."""
        return torch.cat([part.log_w for part in self._parts], dim=self._axis)

    def sums(self, weights: RowWeights) -> Sums:
        """Add the sums of all passes."""
        (first, *others) = (part.sums(each) for part, each in zip(self._parts, self._split(weights), strict=True))
        for each in others:
            first.add(each)
        return first

    def score_sums(self, weights: RowWeights) -> Named:
        """Add the score's sums of all passes."""
        total = Sums([], {})
        for part, each in zip(self._parts, self._split(weights), strict=True):
            total.add_posterior(part.score_sums(each))
        return total.posterior

    def _split(self, weights: RowWeights) -> list[RowWeights]:
        """Return each pass's part of the weights."""
        arrays = [
            [None] * len(self._sizes) if each is None else list(torch.split(each, self._sizes, dim=1 + self._axis))
            for each in weights.arrays()[1:]
        ]
        return [weights.with_arrays((weights.value, *part)) for part in zip(*arrays, strict=True)]
