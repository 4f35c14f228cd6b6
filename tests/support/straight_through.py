"""A discrete family with a path that is none."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Bernoulli


class StraightThrough(Bernoulli):
    """Bits whose ``rsample`` has the gradient of the probabilities: good for pairs without a path only."""

    has_rsample = True

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw bits, which seem to move with their probabilities."""
        return self.sample(torch.Size(sample_shape)) + (self.probs - self.probs.detach())
