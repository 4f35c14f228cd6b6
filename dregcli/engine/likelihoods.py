"""Log-likelihoods of pixels given a decoder's output, reduced over pixels in few passes over memory."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_SAFE_FACTORS = 64
"""Values in [1/2, 1] whose product is still far from float32's smallest normal number (2^-64 against 2^-126)."""


def _log_of_product(factors: Tensor) -> Tensor:
    """sum over the last axis of log(factors), for factors in [1/2, 1]: few logarithms of products."""
    width, factor = factors.shape[-1], 1
    while width % 2 == 0 and factor < _SAFE_FACTORS:
        width //= 2
        factor *= 2
        factors = factors[..., :width] * factors[..., width:]
    return factors.log().sum(dim=-1)


class _Bernoulli(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, pixels: Tensor) -> Tensor:  # noqa: ANN401 - torch's own convention
        # log p = sum x*l - softplus(l), and softplus(l) = (l + |l|)/2 - log sigmoid(|l|), where sigmoid(|l|) is
        # in [1/2, 1]: its products are safe and nothing cancels. One temporary the size of the logits.
        magnitude = logits.abs()
        total = magnitude.sum(dim=-1).mul_(-0.5)
        total += _log_of_product(magnitude.sigmoid_())
        total += torch.einsum("kbd,bd->kb", logits, pixels - 0.5)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(torch.sub(pixels, torch.sigmoid(logits, out=magnitude), out=magnitude))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401  # pyright: ignore[reportIncompatibleMethodOverride]
        (delta,) = ctx.saved_tensors
        return delta * grad_outputs[0].unsqueeze(-1), None


def bernoulli_log_likelihood(logits: Tensor, pixels: Tensor) -> Tensor:
    """log p(x | logits) of independent Bernoulli pixels.

    Args:
        logits: shape (K, B, D), float32 or better.
        pixels: shape (B, D), in [0, 1].

    Returns:
        Shape (K, B), nats.
    """
    return _Bernoulli.apply(logits, pixels)  # pyright: ignore[reportReturnType]
