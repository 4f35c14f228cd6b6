"""The reference's networks (arXiv 1810.04152): tanh layers, and diagonal Gaussians computed from them."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from dregcli.engine.diagonal_gaussian import DiagonalGaussian
from dregcli.engine.rows import Rows
from dregcli.engine.tanh import tanh

RAW_SCALE_OFFSET = 0.25
"""Offset in scale = softplus(raw + 0.25), as in the reference code."""


def layer_of(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return a layer with copies of a weight and a bias, shapes (O, I) and (O,)."""
    # On "meta" nothing is drawn; torch's own initialisation would draw from global state.
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.clone())
    if bias is not None:
        layer.bias = nn.Parameter(bias.clone())
    return layer


def network(sizes: Sequence[int], generator: torch.Generator) -> nn.ModuleList:
    """Return linear layers between ``sizes``, with Xavier-uniform weights and zero biases."""
    layers = nn.ModuleList()
    for inputs, outputs in pairwise(sizes):
        weight = nn.init.xavier_uniform_(torch.empty(outputs, inputs), generator=generator)
        layers.append(layer_of(weight, torch.zeros(outputs)))
    return layers


def tanh_network(layers: nn.ModuleList, inputs: Tensor) -> Tensor:
    """Apply layers with tanh between them, but no tanh after the last.

    Args:
        layers: linear layers.
        inputs: inputs of the first layer, (..., I).
    """
    for i, layer in enumerate(layers):
        inputs = layer(torch.tanh(inputs) if i else inputs)
    return inputs


def decode(
    layers: nn.ModuleList, z: Tensor, rows: Rows, *, first_bias: Tensor | None = None
) -> tuple[Tensor, nn.Linear]:
    """Apply a tanh network, but for its last layer, to rows.

    Args:
        layers: linear layers.
        z: latents, (K, B, Z).
        rows: applies the layers.
        first_bias: added to the first layer's outputs: the part that comes from another input.

    Returns:
        The last layer's inputs, (K, B, I), and the last layer.
    """
    *hidden, last = layers
    for i, layer in enumerate(hidden):
        assert isinstance(layer, nn.Linear)
        z = rows.linear(layer, z)
        if first_bias is not None and i == 0:
            z = z + first_bias
        z = tanh(z)
    assert isinstance(last, nn.Linear)
    return z, last


def gaussian_network(layers: nn.ModuleList, inputs: Tensor) -> DiagonalGaussian:
    """Return the distribution whose means and raw scales a network computes from inputs of shape (B, I)."""
    loc, raw = tanh_network(layers, inputs).chunk(2, dim=-1)
    return DiagonalGaussian(loc, nn.functional.softplus(raw + RAW_SCALE_OFFSET))
