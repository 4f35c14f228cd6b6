"""Matrix products of inputs rounded to bfloat16, accumulated in float32."""

from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn

from dregcli.engine.rows import PlainRows


def has_bfloat16_products(device: torch.device | str) -> bool:
    """Whether a device's processor can multiply bfloat16 matrices in hardware."""
    match torch.device(device).type:
        case "cuda":
            if not torch.cuda.is_available():  # the work is planned for another machine
                return False
            with torch.cuda.device(torch.device(device).index):
                return torch.cuda.is_bf16_supported(including_emulation=False)
        case "cpu":
            return _cpu_has_bfloat16_products()
        case _:
            return False


@cache
def _cpu_has_bfloat16_products() -> bool:
    """Check by trial: a product of rounded inputs differs from the exact product."""
    inputs = torch.full((64, 64), 1.0 + 2.0**-12)
    return bool((_onednn_product(inputs, inputs) != nn.functional.linear(inputs, inputs)).any())


def _onednn_product(inputs: Tensor, weight: Tensor) -> Tensor:
    """Multiply float32 matrices. oneDNN rounds the inputs to bfloat16 if the processor supports it."""
    # torch adds the settings at run time.
    settings = cast("Any", torch.backends.mkldnn).matmul
    before = settings.fp32_precision
    settings.fp32_precision = "bf16"
    try:
        return nn.functional.linear(inputs, weight)
    finally:
        settings.fp32_precision = before


@contextmanager
def half_products() -> Generator[None]:
    """Let products and convolutions of float32 on the CPU round their inputs to bfloat16 inside the block.

    Sums are not rounded. Where the processor has no such products, nothing changes.
    """
    backend = cast("Any", torch.backends.mkldnn)
    settings = (backend.matmul, backend.conv)
    before = [each.fp32_precision for each in settings]
    for each in settings:
        each.fp32_precision = "bf16"
    try:
        yield
    finally:
        for each, precision in zip(settings, before, strict=True):
            each.fp32_precision = precision


class HalfRows(PlainRows):
    """Rows whose products have inputs rounded to bfloat16, for values without a graph. Sums are not rounded.

    If the processor has no such products, the inputs are rounded and multiplied in float32, which is slower than
    plain float32.
    """

    def product(self, layer: nn.Linear, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the product without the bias, and the bias."""
        weight, half = layer.weight, torch.bfloat16
        if inputs.dtype == torch.float32 and has_bfloat16_products(inputs.device):
            if inputs.device.type == "cpu":
                return _onednn_product(inputs, weight), layer.bias
            flat = torch.mm(inputs.flatten(0, -2).to(half), weight.to(half).mT, out_dtype=torch.float32)
            return flat.view(*inputs.shape[:-1], -1), layer.bias
        rounded = nn.functional.linear(inputs.to(half).to(inputs.dtype), weight.to(half).to(weight.dtype))
        return rounded, layer.bias
