"""Binary pixels, or intensities in [0, 1] taken as such."""

from typing import Self

import torch
from torch import Tensor

from dregcli.engine.likelihoods.base import Likelihood
from dregcli.engine.likelihoods.fused import fused, log_of_product

MEAN_CLIP = 1e-3
"""Mean intensities are clipped to [0.001, 0.999] before their logit is taken, as in the reference code."""


def _evaluate(logits: Tensor, pixels: Tensor, *, gradient: bool) -> tuple[Tensor, Tensor | None]:
    # log p = sum x*l - softplus(l), and softplus(l) = (l + |l|)/2 - log sigmoid(|l|), where sigmoid(|l|) is
    # in [1/2, 1]: its products are safe and nothing cancels. One temporary the size of the logits.
    magnitude = logits.abs()
    total = magnitude.sum(dim=-1).mul_(-0.5)
    total += log_of_product(magnitude.sigmoid_())
    total += torch.einsum("kbd,bd->kb", logits, pixels - 0.5)
    if not gradient:
        return total, None
    return total, torch.sub(pixels, torch.sigmoid(logits, out=magnitude), out=magnitude)


class Bernoulli(Likelihood):
    """x ~ Bernoulli(sigmoid(output)) for each pixel. It has no buffers: it needs nothing of the data."""

    @classmethod
    def of(cls, *, spread: Tensor, levels: int) -> Self:
        """It needs neither."""
        return cls()

    def log_prob(self, outputs: Tensor, pixels: Tensor) -> Tensor:
        """sum x log p + (1 - x) log(1 - p), shape (K, B), nats, for logits (K, B, D) and pixels in [0, 1]."""
        return fused(outputs, lambda given, gradient: _evaluate(given, pixels, gradient=gradient))

    def initial_bias(self, mean: Tensor) -> Tensor:
        """The logit of the mean intensity, clipped to [0.001, 0.999]; shape (D,).

        The reference adds that logit to the output instead; with Adam and no weight decay the two train alike.
        """
        return torch.logit(mean.clamp(MEAN_CLIP, 1.0 - MEAN_CLIP))

    def mean(self, outputs: Tensor) -> Tensor:
        """The probabilities, shape (K, B, D)."""
        return torch.sigmoid(outputs)
