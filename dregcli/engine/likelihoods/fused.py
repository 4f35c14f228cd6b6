"""Log-likelihoods computed together with their gradient, summed over pixels in few passes over memory.

The K x B x D numbers of a likelihood are read from and written to main memory, and autograd would keep several such
arrays and make several backward passes over them. Here the gradient is computed together with the value, while the
numbers are in the cache; compiled code needs one pass over them.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Evaluate = Callable[[Tensor, bool], tuple[Tensor, Tensor | None]]
"""Maps outputs (K, B, O) and whether to compute the gradient to the value (K, B) and gradient (K, B, O) or None."""

MOST_FACTORS = 64
"""Number of values in [1/2, 1] whose product stays far above float32's smallest normal number (2^-64 and 2^-126)."""

MOST_PARTS = 16
"""Number of values in [1, 2] whose product stays far below float32's largest; the code fits an instruction cache."""

_LANES = 16
"""Number of float32 values in the widest vector registers."""


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
    """Return a function of a decoder's outputs with its gradient; it can be differentiated once.

    Args:
        outputs: the variable of the gradient, shape (K, B, O).
        evaluate: computes the function and its gradient.
    """
    return _Fused.apply(outputs, evaluate)  # pyright: ignore[reportReturnType]


def part_count(width: int) -> int:
    """Return the best number of equal parts of ``width`` numbers for compiled code: most parts of whole vectors.

    One loop runs over the places of a part and handles the same place of every part together.
    """
    possible = [count for count in range(1, MOST_PARTS + 1) if width % count == 0]
    return max(possible, key=lambda count: (width // count % _LANES == 0, count))


def _factors(width: int) -> int:
    """Return how many of ``width`` numbers can be multiplied before a logarithm is taken: a power of 2."""
    count = 1
    while count < MOST_FACTORS and width % (2 * count) == 0:
        count *= 2
    return count


def log_of_product_(each: Tensor) -> Tensor:
    """Return the sum of log(each) over the last axis for values in [1/2, 1], by few logarithms of products.

    The values are overwritten.
    """
    halvings = _factors(each.shape[-1]).bit_length() - 1
    for i in range(halvings):
        width = each.shape[-1] // 2
        # The last product is a new array without gaps: the logarithm of one with gaps takes several times as long.
        out = each[..., :width] if i < halvings - 1 else None
        each = torch.mul(each[..., :width], each[..., width:], out=out)
    return each.log_().sum(dim=-1)
