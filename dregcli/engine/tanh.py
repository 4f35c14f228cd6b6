"""tanh of a decoder's rows. On processors without very wide vectors torch's own takes three times as long."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def tanh(x: Tensor) -> Tensor:
    """Return the hyperbolic tangent; without a graph it overwrites ``x``.

    Its absolute error is the rounding of 1 in the dtype.
    """
    if torch.is_grad_enabled():
        return _Tanh.apply(x)  # pyright: ignore[reportReturnType]
    return _tanh_(x)


def _tanh_(x: Tensor) -> Tensor:
    """Overwrite x with tanh(x) = 2 sigmoid(2 x) - 1: torch has fast vector code for the sigmoid, but not for tanh."""
    if x.device.type != "cpu":
        return x.tanh_()
    return x.mul_(2.0).sigmoid_().mul_(2.0).sub_(1.0)


class _Tanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ANN401 - torch's own convention
        found = _tanh_(x.clone())
        ctx.save_for_backward(found)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:  # noqa: ANN401  # pyright: ignore[reportIncompatibleMethodOverride]
        (found,) = ctx.saved_tensors
        return torch.ops.aten.tanh_backward(grad_outputs[0], found)
