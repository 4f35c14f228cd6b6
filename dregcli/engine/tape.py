"""Weighted gradients of the model's parameters from one backward pass with unit row weights.

The model's gradient is a weighted sum over rows, sum model_kb * d log w_kb / d theta. Back-propagating unit weights
and applying ``model`` where a layer's weight gradient is contracted, (model * input)^T delta, gives that sum for any
number of weight arrays from one pass, and leaves d log w / d z unweighted for the path. No ratio path / model
appears, which would be singular for objectives whose model weights cross zero.

Of the tensors that belong to examples the backward pass leaves d log w / d tensor for every row; their weighted sum
over samples seeds the examples' own graph.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dregcli.engine.reach import Reach
from dregcli.engine.rows import Rows, Selection


@dataclass
class _Layer:
    """A layer's application to rows."""

    layer: nn.Linear
    with_bias: bool  # whether the output has it, or it is added to the output: its gradient is the same
    inputs: Tensor  # (K', B', I)
    delta: Tensor | None = None  # (K', B', O), d sum(log_p) / d outputs


@dataclass
class _Shared:
    """A tensor of examples and what rows see of it."""

    tensor: Tensor  # (B, ...), on the examples' graph
    leaf: Tensor  # (K', B', ...), the same numbers for every row of an example
    delta: Tensor | None = None  # (K', B', ...), d sum(log_p) / d leaf


class _TapedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, record: _Layer) -> Tensor:  # noqa: ANN401 - torch's own convention
        ctx.record = record
        layer = record.layer
        return nn.functional.linear(inputs, layer.weight, layer.bias if record.with_bias else None)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        delta = grad_outputs[0]
        ctx.record.delta = delta
        return delta @ ctx.record.layer.weight.detach(), None


class RowTape(Rows):
    """Records what parameters did to rows, to contract their gradients with row weights afterwards.

    Use it for one forward pass, call ``backward`` once, and then ``contract`` as often as there are row weights.

    Args:
        selection: which rows.
        check: whether to walk the graph for what else requires grad; once is enough for a model.
    """

    def __init__(self, selection: Selection, *, check: bool = True) -> None:
        self._selection = selection
        self._check = check
        self._layers: list[_Layer] = []
        self._shared: list[_Shared] = []

    def linear(self, layer: nn.Linear, inputs: Tensor) -> Tensor:
        """Apply ``layer`` to rows of shape (K', B', I), recording what its weight gradient needs."""
        return self._apply(layer, inputs, with_bias=True)

    def product(self, layer: nn.Linear, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """The product alone and the bias, cut off from its parameter, whose gradient ``contract`` knows."""
        bias = layer.bias.detach() if layer.bias is not None else None  # pyright: ignore[reportUnnecessaryComparison]
        return self._apply(layer, inputs, with_bias=False), bias

    def _apply(self, layer: nn.Linear, inputs: Tensor, *, with_bias: bool) -> Tensor:
        record = _Layer(layer, with_bias, inputs.detach())
        self._layers.append(record)
        return _TapedLinear.apply(inputs, record)  # pyright: ignore[reportReturnType]

    def shared(self, tensor: Tensor) -> Tensor:
        """The tensor with an entry for every row, cut off from its graph; data, which has none, just taken."""
        if not tensor.requires_grad:
            return self._selection.take(tensor)
        leaf = self._selection.each(tensor.detach()).requires_grad_()
        self._shared.append(_Shared(tensor, leaf))
        return leaf

    def backward(self, log_p: Tensor, latents: Sequence[Tensor]) -> list[Tensor]:
        """The one backward pass, with unit row weights.

        Args:
            log_p: log p(x, z), shape (K', B'), made with this tape.
            latents: leaves of shape (K', B', Z_layer).

        Returns:
            d sum(log_p) / d latents.

        Raises:
            RuntimeError: log p depends on something else that requires grad, whose rows could not be weighted, or
                not on a latent.
        """
        leaves = [*latents, *(record.leaf for record in self._shared)]
        if self._check and (strays := Reach.of(log_p).leaves - set(leaves)):
            shapes = ", ".join(str(tuple(stray.shape)) for stray in strays)
            message = f"log p depends on parameters outside Rows.linear and Rows.shared, of shape {shapes}"
            raise RuntimeError(message)
        # Typed as tensors, and None for what is not reached.
        found: list[Any] = list(torch.autograd.grad(log_p, leaves, torch.ones_like(log_p), allow_unused=True))
        for record, delta in zip(self._shared, found[len(latents) :], strict=True):
            record.delta = delta
        if any(each is None for each in found[: len(latents)]):
            message = "log p does not depend on a latent"
            raise RuntimeError(message)
        return found[: len(latents)]

    def contract(self, row_weights: Tensor, parameters: Iterable[nn.Parameter]) -> list[Tensor]:
        """The weighted gradient of each parameter.

        Args:
            row_weights: shape (K', B'), what multiplies each row's gradient.
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
                message = f"the output of {layer} does not reach log p: no gradient for its parameters"
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
                message = f"a shared tensor of shape {tuple(record.tensor.shape)} does not reach log p"
                raise RuntimeError(message)
            seeds.append(self._selection.sum(row_weights.unsqueeze(0), record.delta)[0])
        outputs = [record.tensor for record in self._shared]
        found: list[Any] = list(torch.autograd.grad(outputs, wanted, seeds, retain_graph=True, allow_unused=True))
        for parameter, gradient in zip(wanted, found, strict=True):
            if gradient is not None:
                yield parameter, gradient
