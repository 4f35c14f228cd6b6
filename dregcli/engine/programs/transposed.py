"""Transposed convolutions to few channels, which torch computes slowly on a CPU: decoders of images end in one."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_FEW = 8
"""Torch's library for convolutions (oneDNN) works on blocks of so many channels. With AVX2 and one channel, 3 x 3 and
14 x 14 images, it took 73 ms where the function below took 20; with four channels 33 and 17, with eight 45 and 42. A
backward pass is faster with torch's own function."""

_MOST_COLUMNS = 2
"""The products may take so many times the memory of the inputs."""

_Sizes = int | tuple[int, ...]


class FewChannels(TorchFunctionMode):
    """Compute values of transposed convolutions to few channels as one product of matrices and a sum of patches.

    Inside the block, torch's function is replaced where the replacement is known to be faster: float32 on a CPU,
    without gradients. The results differ by rounding.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - torch's own convention
        """Call the function, or its replacement."""
        if func is torch.conv_transpose2d and not torch.is_grad_enabled():
            found = _values(*args, **(kwargs or {}))
            if found is not None:
                return found
        return func(*args, **(kwargs or {}))


def _values(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: _Sizes = 1,
    padding: _Sizes = 0,
    output_padding: _Sizes = 0,
    groups: int = 1,
    dilation: _Sizes = 1,
) -> Tensor | None:
    """Return what ``torch.conv_transpose2d`` returns; None if its own way is the better one."""
    if type(input) is not Tensor or input.device.type != "cpu" or not input.dtype == weight.dtype == torch.float32:
        return None
    if input.ndim != 4 or groups != 1 or weight.shape[1] >= _FEW:
        return None
    if weight[0].numel() > _MOST_COLUMNS * weight.shape[0]:
        return None
    size: list[int] = []
    kernel = weight.shape[2:]
    of_axes = zip(input.shape[2:], kernel, *map(_pair, (stride, padding, output_padding, dilation)), strict=True)
    for inputs, width, step, pad, more, spread in of_axes:
        if more >= step:
            return None
        size.append((inputs - 1) * step - 2 * pad + spread * (width - 1) + more + 1)
    # Not matmul, which would copy the inputs, since the weight requires a gradient.
    columns = torch.bmm(weight.detach().flatten(1).mT.expand(len(input), -1, -1), input.flatten(2))
    found = torch.nn.functional.fold(columns, tuple(size), tuple(kernel), dilation, padding, stride)
    return found if bias is None else found.add_(bias.view(-1, 1, 1))


def _pair(sizes: _Sizes) -> tuple[int, ...]:
    if isinstance(sizes, int):
        return sizes, sizes
    return tuple(sizes) * (2 if len(sizes) == 1 else 1)
