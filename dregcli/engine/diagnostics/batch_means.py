"""Batch means: a stream of independent vectors kept as a bounded number of averages of equally many of them."""

from collections.abc import Mapping

import torch
from torch import Tensor

MOST_MEANS = 96
"""Means kept; when they are full, neighbours are averaged, so that from 48 to 96 are kept ever after."""


class BatchMeans:
    """Means of ``size`` consecutive vectors each, for several parts of a vector at a time.

    The vectors are independent and alike, so their means are, too, and closer to normal; that is what the t tests of
    ``bias_statistics`` rest on. Parts that are not given are 0 throughout, and cost nothing until they are not.

    Args:
        most: means kept at most, an even number.

    Attributes:
        size: vectors in each whole mean.
        count: vectors added.
    """

    def __init__(self, most: int = MOST_MEANS) -> None:
        self._most = most
        self.size = 1
        self.count = 0
        self._sums: dict[str, Tensor] = {}

    @property
    def whole(self) -> int:
        """Means that are complete."""
        return self.count // self.size

    def add(self, parts: Mapping[str, Tensor]) -> None:
        """Add one vector, given by its parts, each of one dimension."""
        if self.count == self._most * self.size:
            self._merge()
        row = self.count // self.size
        for name, values in parts.items():
            if name not in self._sums:
                self._sums[name] = torch.zeros(self._most, values.numel(), dtype=values.dtype, device=values.device)
            elif self._sums[name].device != values.device:  # loaded from a file, for a check on another device
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
        """The whole means of every part, shape (M, P), in the order they were added."""
        return {name: sums[: self.whole] / self.size for name, sums in self._sums.items()}

    def state(self) -> tuple[dict[str, int], dict[str, Tensor]]:
        """Everything, as plain numbers and tensors; these are no copies, and change with the next vector."""
        return {"size": self.size, "count": self.count}, dict(self._sums)

    def load(self, numbers: Mapping[str, int], sums: Mapping[str, Tensor]) -> None:
        """Continue from a state."""
        self.size, self.count = numbers["size"], numbers["count"]
        self._sums = {name: tensor.clone() for name, tensor in sums.items()}
