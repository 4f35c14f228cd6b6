"""The stored examples of a split, for any kind of storage."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Examples(Protocol):
    """Rows of stored values, requested by index."""

    @property
    def device(self) -> torch.device:
        """The device on which rows are returned."""
        ...

    def __len__(self) -> int:
        """Return the number of examples, N."""
        ...

    def rows(self, indices: Tensor) -> Tensor:
        """Return stored values, uint8 or float32, shape (B, D), for int64 indices of shape (B,)."""
        ...

    def expect(self, indices: Tensor) -> None:
        """Announce that these rows will be requested next."""
        ...


@dataclass(frozen=True)
class ResidentExamples:
    """Examples in the device's memory.

    Attributes:
        stored: stored values, uint8 or float32, shape (N, D).
    """

    stored: Tensor

    @property
    def device(self) -> torch.device:
        """The device of the examples."""
        return self.stored.device

    def __len__(self) -> int:
        return self.stored.shape[0]

    def rows(self, indices: Tensor) -> Tensor:
        """Return a copy of the rows."""
        return self.stored[indices.to(self.stored.device)]

    def expect(self, indices: Tensor) -> None:
        """Do nothing: the rows are already in memory."""
