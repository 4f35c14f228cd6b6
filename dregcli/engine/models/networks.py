"""The reference's networks (arXiv 1810.04152): tanh layers, and diagonal Gaussians of them."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from dregcli.engine.models.base import DiagonalGaussian
from dregcli.engine.rows import Rows

RAW_SCALE_OFFSET = 0.25
"""scale = softplus(raw + 0.25), as in the reference code."""


def layer_of(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A layer with copies of these, shapes (O, I) and (O,)."""
    # Nothing is drawn: torch's own initialisation would draw from global state.
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.clone())
    if bias is not None:
        layer.bias = nn.Parameter(bias.clone())
    return layer


def network(sizes: Sequence[int], generator: torch.Generator) -> nn.ModuleList:
    """Linear layers between ``sizes``, Xavier-uniform weights and zero biases."""
    layers = nn.ModuleList()
    for inputs, outputs in pairwise(sizes):
        weight = nn.init.xavier_uniform_(torch.empty(outputs, inputs), generator=generator)
        layers.append(layer_of(weight, torch.zeros(outputs)))
    return layers


def tanh_network(layers: nn.ModuleList, inputs: Tensor) -> Tensor:
    """tanh between layers, none after the last.

    Args:
        layers: linear.
        inputs: (..., I).
    """
    for i, layer in enumerate(layers):
        inputs = layer(torch.tanh(inputs) if i else inputs)
    return inputs


def decode(
    layers: nn.ModuleList, z: Tensor, rows: Rows, *, first_bias: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """A tanh network on rows.

    Args:
        layers: linear.
        z: (K, B, Z).
        rows: applies the layers.
        first_bias: what is added to the first layer's outputs, one more input's part of them.

    Returns:
        The last layer's outputs, (K, B, O), and what a likelihood adds to them as it reads them, (O,) or None.
    """
    *hidden, last = layers
    for i, layer in enumerate(hidden):
        assert isinstance(layer, nn.Linear)
        z = rows.linear(layer, z)
        if first_bias is not None and i == 0:
            z = z + first_bias
        # Each pass over an array costs as much as its arithmetic, and a new array more.
        z = torch.tanh(z) if torch.is_grad_enabled() else torch.tanh_(z)
    assert isinstance(last, nn.Linear)
    return rows.product(last, z)


def gaussian_network(layers: nn.ModuleList, inputs: Tensor) -> DiagonalGaussian:
    """The distribution whose means and raw scales a network gives, for inputs of shape (B, I)."""
    loc, raw = tanh_network(layers, inputs).chunk(2, dim=-1)
    return DiagonalGaussian(loc, nn.functional.softplus(raw + RAW_SCALE_OFFSET))
