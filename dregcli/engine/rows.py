"""Weighted gradients of the model's parameters from one backward pass with unit row weights.

A row is one decoder evaluation: one sample k of one example b. The model's gradient is a weighted sum over
rows, sum model_kb * d log w_kb / d theta. Back-propagating unit weights and applying ``model`` where a layer's
weight gradient is contracted, (model * input)^T delta, gives that sum for any number of weight arrays from one
pass, and leaves d log w / d z unweighted for the path. No ratio path / model appears, which would be singular
for objectives whose model weights cross zero.

Parameters meet rows in two ways, and a model says which: by a linear layer on rows, and by a tensor that belongs to
examples (a conditional prior's scale, a layer of the context) and is shared by the K rows of each. Of the latter the
backward pass leaves d log w / d tensor for every row; their weighted sum over k seeds the examples' own graph.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn


class Rows(ABC):
    """How a model's tensors meet rows.

    Since they meet in no other way, an executor can weight each row's gradient, and take just some of the rows.
    """

    @abstractmethod
    def linear(self, layer: nn.Linear, inputs: Tensor) -> Tensor:
        """Apply ``layer`` to rows of shape (K, B, I)."""

    @abstractmethod
    def shared(self, tensor: Tensor) -> Tensor:
        """A tensor of examples, shape (B, ...), data or made of parameters, as one that broadcasts against rows."""


class PlainRows(Rows):
    """As torch would do it; for values, and for gradients by autograd."""

    def linear(self, layer: nn.Linear, inputs: Tensor) -> Tensor:
        """The layer as torch applies it."""
        return nn.functional.linear(inputs, layer.weight, layer.bias)

    def shared(self, tensor: Tensor) -> Tensor:
        """The tensor itself, which broadcasts."""
        return tensor


PLAIN_ROWS = PlainRows()


@dataclass
class _Layer:
    """A layer's application to rows."""

    layer: nn.Linear
    inputs: Tensor  # (K, B, I)
    delta: Tensor | None = None  # (K, B, O), d sum(log_w) / d outputs


@dataclass
class _Shared:
    """A tensor of examples and what rows see of it."""

    tensor: Tensor  # (B, ...), on the examples' graph
    leaf: Tensor  # (K, B, ...), the same numbers for every k without a copy of them
    delta: Tensor | None = None  # (K, B, ...), d sum(log_w) / d leaf


class _TapedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, record: _Layer) -> Tensor:  # noqa: ANN401 - torch's own convention
        ctx.record = record
        return PLAIN_ROWS.linear(record.layer, inputs)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        delta = grad_outputs[0]
        ctx.record.delta = delta
        return delta @ ctx.record.layer.weight.detach(), None


class RowTape(Rows):
    """Records what parameters did to rows, to contract their gradients with row weights afterwards.

    Use it for one forward pass, call ``backward`` once, and then ``contract`` as often as there are row weights.

    Args:
        k: samples per example, K.
    """

    def __init__(self, k: int) -> None:
        self._k = k
        self._layers: list[_Layer] = []
        self._shared: list[_Shared] = []

    def linear(self, layer: nn.Linear, inputs: Tensor) -> Tensor:
        """Apply ``layer`` to rows of shape (K, B, I), recording what its weight gradient needs."""
        record = _Layer(layer, inputs.detach())
        self._layers.append(record)
        return _TapedLinear.apply(inputs, record)  # pyright: ignore[reportReturnType]

    def shared(self, tensor: Tensor) -> Tensor:
        """The tensor expanded to (K, B, ...), cut off from its graph; data, which has none, as it is."""
        if not tensor.requires_grad:
            return tensor
        leaf = tensor.detach().expand(self._k, *tensor.shape).requires_grad_()
        self._shared.append(_Shared(tensor, leaf))
        return leaf

    def backward(self, log_w: Tensor, latents: Sequence[Tensor]) -> list[Tensor]:
        """The one backward pass, with unit row weights.

        Args:
            log_w: shape (K, B), made with this tape.
            latents: leaves of shape (K, B, Z_layer).

        Returns:
            d sum(log_w) / d latents.

        Raises:
            RuntimeError: log w depends on something else that requires grad, whose rows could not be weighted, or
                not on a latent.
        """
        leaves = [*latents, *(record.leaf for record in self._shared)]
        if strays := _reached(log_w) - set(leaves):
            shapes = ", ".join(str(tuple(stray.shape)) for stray in strays)
            message = f"log w depends on parameters outside Rows.linear and Rows.shared, of shape {shapes}"
            raise RuntimeError(message)
        # Typed as tensors, and None for what is not reached.
        found: list[Any] = list(torch.autograd.grad(log_w, leaves, torch.ones_like(log_w), allow_unused=True))
        for record, delta in zip(self._shared, found[len(latents) :], strict=True):
            record.delta = delta
        if any(each is None for each in found[: len(latents)]):
            message = "log w does not depend on a latent"
            raise RuntimeError(message)
        return found[: len(latents)]

    def contract(self, row_weights: Tensor, parameters: Iterable[nn.Parameter]) -> list[Tensor]:
        """The weighted gradient of each parameter.

        Args:
            row_weights: shape (K, B), what multiplies each row's gradient.
            parameters: the parameters wanted.

        Returns:
            One gradient for each parameter, in their order.

        Raises:
            RuntimeError: a parameter is reached by no recorded layer and no shared tensor, or one of those was not
                reached by the backward pass. Its rows could not be weighted, and a silently missing gradient is the
                worst kind of bias.
        """
        wanted = list(parameters)
        found: dict[Tensor, Tensor] = {}
        for parameter, gradient in (*self._by_layers(row_weights), *self._by_shared(row_weights, wanted)):
            found[parameter] = found[parameter] + gradient if parameter in found else gradient
        if any(parameter not in found for parameter in wanted):
            message = "a model parameter reaches rows outside Rows.linear and Rows.shared: they cannot be weighted"
            raise RuntimeError(message)
        return [found[parameter] for parameter in wanted]

    def _by_layers(self, row_weights: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Parameters of recorded layers, with the gradient that each application gives."""
        weights = row_weights.reshape(-1, 1)
        for record in self._layers:
            layer = record.layer
            if record.delta is None:
                message = f"the output of {layer} does not reach log w: no gradient for its parameters"
                raise RuntimeError(message)
            delta = record.delta.flatten(0, -2)
            inputs = record.inputs.flatten(0, -2)
            yield layer.weight, delta.mT @ (inputs * weights)
            if layer.bias is not None:  # pyright: ignore[reportUnnecessaryComparison] - None with bias=False
                yield layer.bias, delta.mT @ weights[:, 0]

    def _by_shared(self, row_weights: Tensor, wanted: list[nn.Parameter]) -> Iterator[tuple[Tensor, Tensor]]:
        """Parameters that shared tensors are made of, with the gradient through all of those; the graph is kept."""
        if not self._shared:
            return
        seeds: list[Tensor] = []
        for record in self._shared:
            if record.delta is None:
                message = f"a shared tensor of shape {tuple(record.tensor.shape)} does not reach log w"
                raise RuntimeError(message)
            seeds.append(torch.einsum("kb,kb...->b...", row_weights, record.delta))
        outputs = [record.tensor for record in self._shared]
        found: list[Any] = list(torch.autograd.grad(outputs, wanted, seeds, retain_graph=True, allow_unused=True))
        for parameter, gradient in zip(wanted, found, strict=True):
            if gradient is not None:
                yield parameter, gradient


def _reached(output: Tensor) -> set[Tensor]:
    """The leaves to whose ``grad`` a backward pass from ``output`` would add."""
    todo, found = [output.grad_fn], set[Tensor]()
    seen = set(todo)
    while todo:
        node = todo.pop()
        if node is None:
            continue
        if node.name() == "torch::autograd::AccumulateGrad":
            found.add(cast("Any", node).variable)
        following = {each for each, _ in node.next_functions} - seen
        seen |= following
        todo += following
    return found
