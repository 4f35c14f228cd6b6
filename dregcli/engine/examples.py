"""The stored examples of a split, however they are kept."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Examples(Protocol):
    """Rows of stored values that are asked for by index."""

    @property
    def device(self) -> torch.device:
        """Where rows are given."""
        ...

    def __len__(self) -> int:
        """How many there are, N."""
        ...

    def rows(self, indices: Tensor) -> Tensor:
        """Stored values, uint8 or float32, shape (B, D), for int64 indices of shape (B,)."""
        ...

    def expect(self, indices: Tensor) -> None:
        """A hint that these rows will be asked for next."""
        ...


@dataclass(frozen=True)
class ResidentExamples:
    """Examples in the device's memory.

    Attributes:
        stored: uint8 or float32, shape (N, D).
    """

    stored: Tensor

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.stored.device

    def __len__(self) -> int:
        return self.stored.shape[0]

    def rows(self, indices: Tensor) -> Tensor:
        """The rows, copied."""
        return self.stored[indices.to(self.stored.device)]

    def expect(self, indices: Tensor) -> None:
        """Nothing: they are there."""
