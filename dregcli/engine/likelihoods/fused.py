"""Log-likelihoods that bring their gradient along, reduced over pixels in few passes over memory.

The K x B x D numbers of a likelihood are read and written from main memory, and autograd would keep several such
arrays and take several passes back. Here the gradient is computed beside the value, while the numbers are at hand;
and compiled, in one pass over them.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Evaluate = Callable[[Tensor, bool], tuple[Tensor, Tensor | None]]
"""Outputs (K, B, O), and whether the gradient is wanted -> the value (K, B), and the gradient (K, B, O) or None."""

MOST_FACTORS = 64
"""Values in [1/2, 1] whose product is still far from float32's smallest normal number (2^-64 against 2^-126)."""

MOST_PARTS = 16
"""Values in [1, 2] whose product is far from float32's largest number; and code that an instruction cache holds."""

_LANES = 16
"""float32 numbers of the widest vector registers."""


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, outputs: Tensor, evaluate: Evaluate) -> Tensor:  # noqa: ANN401 - torch's own convention
        value, gradient = evaluate(outputs.detach(), ctx.needs_input_grad[0])
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401  # pyright: ignore[reportIncompatibleMethodOverride]
        (gradient,) = ctx.saved_tensors
        return gradient * grad_outputs[0].unsqueeze(-1), None


def fused(outputs: Tensor, evaluate: Evaluate) -> Tensor:
    """A function of a decoder's outputs with its gradient by them; it can be differentiated once.

    Args:
        outputs: what is differentiated by, shape (K, B, O).
        evaluate: the function and its gradient.
    """
    return _Fused.apply(outputs, evaluate)  # pyright: ignore[reportReturnType]


def part_count(width: int) -> int:
    """Into how many equal parts compiled code best takes ``width`` numbers: as many as it may, of whole vectors.

    A part is what one loop runs over, with the same place of every part at hand.
    """
    possible = [count for count in range(1, MOST_PARTS + 1) if width % count == 0]
    return max(possible, key=lambda count: (width // count % _LANES == 0, count))


def _factors(width: int) -> int:
    """How many neighbours of ``width`` numbers can be multiplied before a logarithm is taken: a power of 2."""
    count = 1
    while count < MOST_FACTORS and width % (2 * count) == 0:
        count *= 2
    return count


def log_of_product(each: Tensor) -> Tensor:
    """sum over the last axis of log(each), for values in [1/2, 1]: few logarithms of products."""
    for _ in range(_factors(each.shape[-1]).bit_length() - 1):
        width = each.shape[-1] // 2
        each = each[..., :width] * each[..., width:]
    return each.log().sum(dim=-1)
