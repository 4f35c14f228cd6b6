"""Matrix products of inputs rounded to bfloat16, accumulated in float32.

A CPU with matrix units does this for float32 matrices: oneDNN rounds them while it multiplies. Other CPUs have only
products of bfloat16 matrices, twice as fast as those of float32, whose results are rounded too.
"""

from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn

from dregcli.engine.likelihoods.base import BlockValue, Likelihood
from dregcli.engine.rows import PlainRows, Rows
from dregcli.engine.value_rows import ValueRows


def has_bfloat16_products(device: torch.device | str) -> bool:
    """Whether a device's processor can multiply matrices of rounded inputs in hardware, and not round the results."""
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


def rounds_in_blocks(device: torch.device | str) -> bool:
    """Whether a CPU has only products of bfloat16 matrices, which are for the small blocks of ``RoundedRows``."""
    return torch.device(device).type == "cpu" and _cpu_multiplies_bfloat16() and not has_bfloat16_products(device)


@cache
def _cpu_multiplies_bfloat16() -> bool:
    # The oldest torch that dreg takes cannot tell.
    capabilities = getattr(torch.cpu, "get_capabilities", dict[str, Any])()
    return bool(capabilities.get("avx512_bf16", False))


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


class RoundedRows(ValueRows):
    """Rows by products of bfloat16 matrices, for values without a graph on a CPU. Results are rounded as well.

    What is rounded is a product without its bias, and then a block's numbers are float32 again while they are in the
    cache.
    """

    def __init__(self) -> None:
        super().__init__()
        self._rounded: dict[Tensor, Tensor] = {}

    def product(self, layer: nn.Linear, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the product without the bias, and the bias."""
        product = self._product(inputs.flatten(0, -2), layer.weight)
        return product.to(inputs.dtype).view(*inputs.shape[:-1], -1), layer.bias

    def log_likelihood(self, likelihood: Likelihood, layer: nn.Linear, inputs: Tensor, pixels: Tensor) -> Tensor:
        """Return log p(x | outputs), (K, B); outputs are rounded only for pixels of 0 and 1.

        Their log-density changes by no more than an output does. Others can be far steeper.
        """
        if not likelihood.linearises:
            return HalfRows().log_likelihood(likelihood, layer, inputs, pixels)
        return super().log_likelihood(likelihood, layer, inputs, pixels)

    def _value(self, likelihood: Likelihood, layer: nn.Linear, pixels: Tensor) -> BlockValue:
        """Return the log-density as a function of the outputs alone.

        Where a pixel is nearly certain, its density hardly depends on the rounded output. The two parts into which
        ``value_from`` cuts it do, and the errors of one of them would remain.
        """
        return likelihood.value_of_outputs(layer, pixels)

    def _multiply(self, inputs: Tensor, weight: Tensor, out: Tensor) -> None:
        out.copy_(self._product(inputs, weight))

    def _product(self, inputs: Tensor, weight: Tensor) -> Tensor:
        half = torch.bfloat16
        if weight not in self._rounded:  # several threads may round it at once: to the same numbers
            self._rounded[weight] = weight.to(half)
        return torch.mm(inputs.to(half), self._rounded[weight].mT)


def half_rows(device: torch.device) -> Rows:
    """Return the fastest rows of rounded inputs on a device."""
    return RoundedRows() if rounds_in_blocks(device) else HalfRows()
