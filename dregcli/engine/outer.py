"""Gradients of a linear layer's weight as the outer products that they are sums of."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from dregcli.engine.reach import nodes_behind


@dataclass(frozen=True)
class OuterProducts:
    """P matrices, each the sum over n of left[p, n] right[n]^T: a layer's gradients by P losses of N examples.

    They take less memory than the matrices, and less time where the matrices are only read once.

    Attributes:
        left: derivatives by the layer's outputs, shape (P, N, O).
        right: the layer's inputs, shape (N, I).
    """

    left: Tensor
    right: Tensor

    @property
    def shape(self) -> torch.Size:
        """Shape of the matrices."""
        return torch.Size((self.left.shape[0], self.left.shape[2], self.right.shape[1]))

    def dense(self) -> Tensor:
        """Return the matrices, (P, O, I)."""
        return self.left.mT @ self.right


Stacked = Mapping[str, Tensor | OuterProducts]
"""P gradients by parameter name, (P, ...) each."""


def dense(gradients: Stacked) -> dict[str, Tensor]:
    """Return all gradients as tensors, (P, ...) each."""
    return {name: each.dense() if isinstance(each, OuterProducts) else each for name, each in gradients.items()}


@dataclass(frozen=True)
class LinearNode:
    """A linear layer in autograd's graph.

    Attributes:
        weight: its weight, (O, I).
        bias: its bias, (O,).
        inputs: its inputs, (N, I), detached.
        outputs: the place of its outputs, to differentiate by.
    """

    weight: Tensor
    bias: Tensor
    inputs: Tensor
    outputs: GradientEdge


def linear_nodes(outputs: Iterable[Tensor]) -> list[LinearNode]:
    """Return the linear layers behind some tensors, whose weight and bias are used nowhere else behind them."""
    nodes: dict[Any, set[Tensor]] = {}
    for each in outputs:
        nodes |= nodes_behind(each)
    times = Counter(after for node in nodes for after, _ in node.next_functions)
    found: list[LinearNode] = []
    for node in nodes:
        if node.name() != "AddmmBackward0" or (node._saved_alpha, node._saved_beta) != (1, 1):
            continue
        bias, _, transposed = (after for after, _ in node.next_functions)
        if transposed is None or transposed.name() != "TBackward0" or bias is None or not nodes.get(transposed):
            continue
        weight, _ = transposed.next_functions[0]
        if hasattr(bias, "variable") and times[weight] == times[bias] == times[transposed] == 1:
            inputs = node._saved_mat1.detach()
            found.append(LinearNode(weight.variable, bias.variable, inputs, GradientEdge(node, 0)))
    return found
