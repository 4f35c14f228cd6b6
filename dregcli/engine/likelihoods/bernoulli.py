"""Binary pixels, or intensities in [0, 1] taken as such."""

from typing import Self

import torch
from torch import Tensor

from dregcli.engine.likelihoods.base import Likelihood
from dregcli.engine.likelihoods.fused import factors, log_of_product

MEAN_CLIP = 1e-3
"""Mean intensities are clipped to [0.001, 0.999] before their logit is taken, as in the reference code."""


def _evaluate(logits: Tensor, pixels: Tensor, bias: Tensor | None, *, gradient: bool) -> tuple[Tensor, Tensor | None]:
    # log p = sum x*l - softplus(l), and softplus(l) = (l + |l|)/2 - log sigmoid(|l|), where sigmoid(|l|) is
    # in [1/2, 1]: its products are safe and nothing cancels. One temporary the size of the logits.
    logits = logits if bias is None else logits + bias
    magnitude = logits.abs()
    total = magnitude.sum(dim=-1).mul_(-0.5)
    total += log_of_product(magnitude.sigmoid_())
    total += torch.einsum("kbd,bd->kb", logits, pixels - 0.5)
    if not gradient:
        return total, None
    return total, torch.sub(pixels, torch.sigmoid(logits, out=magnitude), out=magnitude)


def _evaluate_compiled(
    logits: Tensor, pixels: Tensor, bias: Tensor | None, *, gradient: bool
) -> tuple[Tensor, Tensor | None]:
    # softplus(l) = relu(l) + log(1 + e) with e = exp(-|l|) in (0, 1]: no log1p, which has no vector code, and a
    # logarithm of neighbours' product, 1 + e being in (1, 2].
    logits = logits if bias is None else logits + bias
    e = torch.exp(-logits.abs())
    count = min(16, factors(logits.shape[-1]))
    product = (1.0 + e).reshape(*e.shape[:-1], e.shape[-1] // count, count).prod(dim=-1)
    total = (pixels * logits - torch.relu(logits)).sum(dim=-1) - product.log().sum(dim=-1)
    if not gradient:
        return total, None
    larger = 1.0 / (1.0 + e)
    return total, pixels - torch.where(logits >= 0.0, larger, e * larger)


class Bernoulli(Likelihood):
    """x ~ Bernoulli(sigmoid(output)) for each pixel in [0, 1]. It has no buffers: it needs nothing of the data."""

    kernel = staticmethod(_evaluate)
    compiled_kernel = staticmethod(_evaluate_compiled)

    @classmethod
    def of(cls, *, spread: Tensor, levels: int) -> Self:
        """It needs neither."""
        return cls()

    def initial_bias(self, mean: Tensor) -> Tensor:
        """The logit of the mean intensity, clipped to [0.001, 0.999]; shape (D,).

        The reference adds that logit to the output instead; with Adam and no weight decay the two train alike.
        """
        return torch.logit(mean.clamp(MEAN_CLIP, 1.0 - MEAN_CLIP))

    def mean(self, outputs: Tensor) -> Tensor:
        """The probabilities, shape (K, B, D)."""
        return torch.sigmoid(outputs)
