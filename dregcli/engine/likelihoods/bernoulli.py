"""The likelihood of binary pixels, or of intensities in [0, 1] that are treated as binary."""

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from dregcli.engine.likelihoods.base import BlockValue, Likelihood, samples_at_once
from dregcli.engine.likelihoods.fused import log_of_product_, part_count
from dregcli.names import DataKind

MEAN_CLIP = 1e-3
"""Mean intensities are clipped to [0.001, 0.999] before their logit is taken, as in the reference code."""

LINEARISED_ERROR = 0.1
"""Largest error by tangents that is expected in a log-weight, nats."""

_MULTIPLE = 16
"""Numbers of logits are a multiple of it, so that their factors can be multiplied in whole vectors."""


def _evaluate(logits: Tensor, pixels: Tensor, bias: Tensor | None, *, gradient: bool) -> tuple[Tensor, Tensor | None]:
    # log p = sum x*l - softplus(l), and softplus(l) = (l + |l|)/2 - log sigmoid(|l|), where sigmoid(|l|) is in
    # [1/2, 1]: products of it are safe and nothing cancels. This needs one temporary array of the logits' size.
    logits = logits if bias is None else logits + bias
    array = logits.abs()
    total = array.sum(dim=-1).mul_(-0.5)
    total += log_of_product_(array.sigmoid_())
    total += torch.mul(logits, pixels - 0.5, out=array).sum(dim=-1)
    if not gradient:
        return total, None
    return total, torch.sub(pixels, torch.sigmoid(logits, out=array), out=array)


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


def _block_value(weight: Tensor, bias: Tensor, slope: Tensor, offset: Tensor) -> BlockValue:
    """Return slope . h + offset - sum (|l|/2 + log(1 + exp(-|l|))) with logits l = weight h + bias.

    The first part is sum (x - 1/2) l, whose factors slope (B, I) and offset (B,) all rows of an example share: it
    needs no pass over all logits.
    """

    def value(hidden: Tensor, logits: Tensor) -> Tensor:
        total = (hidden * slope).sum(dim=-1).add_(offset)
        total.sub_(logits.add_(bias).abs_().sum(dim=-1), alpha=0.5)
        return total.add_(log_of_product_(logits.sigmoid_()))

    return BlockValue(weight, value)


class Bernoulli(Likelihood):
    """The likelihood x ~ Bernoulli(sigmoid(output)) for each pixel in [0, 1]. It needs no numbers from the data.

    Its kernels also take other pixels for each sample, (K, B, D): the bits of a latent.
    """

    cites = ("kingma2014vae",)
    needs = "binary pixels"
    linearises = True
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

    def value_and_gradient(self, outputs: Tensor, pixels: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return log p(x | outputs) and its gradient, which takes the outputs' place."""
        if self._kernel_for(outputs) is not type(self).kernel:
            return super().value_and_gradient(outputs, pixels, bias)
        # In blocks of samples, so that there is one array of the logits' size, and the rest stays in the cache.
        k, b, width = outputs.shape
        size = samples_at_once(outputs, k, b * width)
        value, array, centred = outputs.new_empty(k, b), outputs.new_empty(size, b, width), pixels - 0.5
        for first in range(0, k, size):
            logits = outputs[first : first + size]
            here = array[: len(logits)]
            if bias is not None:
                logits.add_(bias)
            total = torch.mul(logits, centred, out=here).sum(dim=-1)
            total.sub_(torch.abs(logits, out=here).sum(dim=-1), alpha=0.5)
            # sigmoid(|l|) is the larger one of sigmoid(l) and 1 - sigmoid(l), and costs no second sigmoid.
            larger = torch.sub(logits.sigmoid_(), 0.5, out=here).abs_().add_(0.5)
            value[first : first + size] = total.add_(log_of_product_(larger))
            torch.sub(pixels, logits, out=logits)
        return value, outputs

    def value_from(self, layer: nn.Linear, pixels: Tensor) -> BlockValue:
        """Return the log-density of blocks, with the sum of pixel times logit taken over the last hidden layer."""
        centred, bias = pixels - 0.5, layer.bias.detach()
        return _block_value(layer.weight.detach(), bias, centred @ layer.weight.detach(), centred @ bias)

    def linearised(self, layer: nn.Linear, pixels: Tensor, centre: Tensor, other: Tensor) -> BlockValue:
        """Return the log-density of blocks, with tangents where softplus hardly leaves its tangent.

        softplus(l) lies above its tangent by a number that is the same for a pixel of 0 and of 1. It is measured at
        another row of each example. The tangents are a function of the hidden layer, so they cost nothing.
        """
        weight, bias = layer.weight.detach(), layer.bias.detach()
        at, moved = torch.stack([centre, other]) @ weight.mT + bias
        slope, height = at.sigmoid(), softplus(at)
        error = (softplus(moved) - height - slope * (moved - at)).square().mean(dim=0).sqrt()
        order = error.argsort(descending=True)
        # Errors of an example may all have the same sign: so they are added, not their squares.
        left = error.sum() - error[order].cumsum(dim=0)
        count = min(len(bias), -(-(1 + int((left > LINEARISED_ERROR).sum())) // _MULTIPLE) * _MULTIPLE)
        some, rest = order[:count].sort().values, order[count:]
        by_logit = pixels - 0.5
        by_logit[:, rest] = pixels[:, rest] - slope[:, rest]
        tangents = pixels[:, rest] * bias[rest] - height[:, rest] + slope[:, rest] * (at[:, rest] - bias[rest])
        offset = by_logit[:, some] @ bias[some] + tangents.sum(dim=-1)
        return _block_value(weight[some], bias[some], by_logit @ weight, offset)

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
