"""Batch means: a stream of independent vectors, stored as a bounded number of averages over equal numbers of them."""

from collections.abc import Mapping

import torch
from torch import Tensor

MOST_MEANS = 96
"""Largest number of stored means; when it is reached, neighbours are averaged, so that 48 to 96 remain."""


class BatchMeans:
    """Means of ``size`` consecutive vectors each, for several parts of a vector at a time.

    The vectors are independent and have one distribution, so their means do too, and the means are closer to normal.
    The t tests of ``bias_statistics`` need this. Parts that are not given count as 0 and cost nothing until they are
    given.

    Args:
        most: largest number of stored means, even.

    Attributes:
        size: number of vectors in each complete mean.
        count: number of vectors added.
    """

    def __init__(self, most: int = MOST_MEANS) -> None:
        self._most = most
        self.size = 1
        self.count = 0
        self._sums: dict[str, Tensor] = {}

    @property
    def whole(self) -> int:
        """Number of complete means."""
        return self.count // self.size

    def add(self, parts: Mapping[str, Tensor]) -> None:
        """Add one vector, given by its one-dimensional parts."""
        if self.count == self._most * self.size:
            self._merge()
        row = self.count // self.size
        for name, values in parts.items():
            if name not in self._sums:
                self._sums[name] = torch.zeros(self._most, values.numel(), dtype=values.dtype, device=values.device)
            elif self._sums[name].device != values.device:  # loaded from a file for a check on another device
                self._sums[name] = self._sums[name].to(values.device)
            self._sums[name][row] += values
        self.count += 1

    def _merge(self) -> None:
        for name, sums in self._sums.items():
            merged = torch.zeros_like(sums)
            merged[: self._most // 2] = sums[0::2] + sums[1::2]
            self._sums[name] = merged
        self.size *= 2

    def means(self) -> dict[str, Tensor]:
        """Return the complete means of every part, shape (M, P), in the order in which they were added."""
        return {name: sums[: self.whole] / self.size for name, sums in self._sums.items()}

    def state(self) -> tuple[dict[str, int], dict[str, Tensor]]:
        """Return the state as plain numbers and tensors; these are not copies and change with the next vector."""
        return {"size": self.size, "count": self.count}, dict(self._sums)

    def load(self, numbers: Mapping[str, int], sums: Mapping[str, Tensor]) -> None:
        """Continue from a state."""
        self.size, self.count = numbers["size"], numbers["count"]
        self._sums = {name: tensor.clone() for name, tensor in sums.items()}
