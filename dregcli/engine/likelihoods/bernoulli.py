"""The likelihood of binary pixels, or of intensities in [0, 1] that are treated as binary."""

from typing import Self

import torch
from torch import Tensor

from dregcli.engine.likelihoods.base import Likelihood
from dregcli.engine.likelihoods.fused import log_of_product, part_count
from dregcli.names import DataKind

MEAN_CLIP = 1e-3
"""Mean intensities are clipped to [0.001, 0.999] before their logit is taken, as in the reference code."""


def _evaluate(logits: Tensor, pixels: Tensor, bias: Tensor | None, *, gradient: bool) -> tuple[Tensor, Tensor | None]:
    # log p = sum x*l - softplus(l), and softplus(l) = (l + |l|)/2 - log sigmoid(|l|), where sigmoid(|l|) is in
    # [1/2, 1]: products of it are safe and nothing cancels. This needs one temporary array of the logits' size.
    logits = logits if bias is None else logits + bias
    magnitude = logits.abs()
    total = magnitude.sum(dim=-1).mul_(-0.5)
    total += log_of_product(magnitude.sigmoid_())
    centred = pixels - 0.5
    total += torch.einsum("kbd,bd->kb", logits, centred) if centred.ndim == 2 else (logits * centred).sum(dim=-1)
    if not gradient:
        return total, None
    return total, torch.sub(pixels, torch.sigmoid(logits, out=magnitude), out=magnitude)


def _evaluate_compiled(
    logits: Tensor, pixels: Tensor, bias: Tensor | None, *, gradient: bool
) -> tuple[Tensor, Tensor | None]:
    # softplus(l) = (l + |l|)/2 + log(1 + e) with e = exp(-|l|) in (0, 1]: no log1p, which has no vector code. 1 + e
    # is in (1, 2], so one logarithm is enough for the product of one pixel from each part. All parts are summed in
    # one loop over their pixels.
    parts = part_count(logits.shape[-1])
    width = logits.shape[-1] // parts
    linear, product = pixels.new_zeros(()), pixels.new_ones(())
    slopes: list[Tensor] = []
    for i in range(parts):
        part = slice(i * width, (i + 1) * width)
        each = logits[..., part] if bias is None else logits[..., part] + bias[part]
        x = pixels[..., part]
        e = torch.exp(-each.abs())
        linear = linear + (x - 0.5) * each - 0.5 * each.abs()
        product = product * (1.0 + e)
        if gradient:
            larger = 1.0 / (1.0 + e)
            slopes.append(x - torch.where(each >= 0.0, larger, e * larger))
    value = (linear - product.log()).sum(dim=-1)
    return value, torch.cat(slopes, dim=-1) if gradient else None


class Bernoulli(Likelihood):
    """The likelihood x ~ Bernoulli(sigmoid(output)) for each pixel in [0, 1]. It needs no numbers from the data.

    Its kernels also take other pixels for each sample, (K, B, D): the bits of a latent.
    """

    cites = ("kingma2014vae",)
    needs = "binary pixels"
    kernel = staticmethod(_evaluate)
    compiled_kernel = staticmethod(_evaluate_compiled)

    @classmethod
    def takes(cls, kind: DataKind, levels: int) -> bool:
        """Whether values are 0 or 1, stored or drawn."""
        return kind is DataKind.BINARY

    @classmethod
    def of(cls, *, spread: Tensor, levels: int) -> Self:
        """Return the likelihood; it needs neither argument."""
        return cls()

    def initial_bias(self, mean: Tensor) -> Tensor:
        """Return the logit of the mean intensity, clipped to [0.001, 0.999]; shape (D,).

        The reference adds this logit to the output instead; with Adam and no weight decay both train in the same way.
        """
        return torch.logit(mean.clamp(MEAN_CLIP, 1.0 - MEAN_CLIP))

    @torch.no_grad()
    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """Draw 0 or 1 for each pixel."""
        uniform = torch.rand(outputs.shape, generator=generator, device=outputs.device)
        return (uniform < torch.sigmoid(outputs)).to(outputs.dtype)

    def mean(self, outputs: Tensor) -> Tensor:
        """Return the probabilities, shape (K, B, D)."""
        return torch.sigmoid(outputs)
