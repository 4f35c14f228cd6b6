"""Weighted gradients of the model's parameters from one backward pass with unit row weights.

A row is one decoder evaluation: one sample k of one example b. The model's gradient is a weighted sum over
rows, sum model_kb * d log w_kb / d theta. Back-propagating unit weights and applying ``model`` where a layer's
weight gradient is contracted, (model * input)^T delta, gives that sum for any number of weight arrays from one
pass, and leaves d log w / d z unweighted for the path. No ratio path / model appears, which would be singular
for objectives whose model weights cross zero.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Linear = Callable[[nn.Linear, Tensor], Tensor]
"""How a model applies its linear layers to rows: ``RowTape.linear`` when gradients are wanted."""


def plain_linear(layer: nn.Linear, inputs: Tensor) -> Tensor:
    """The layer as torch applies it."""
    return nn.functional.linear(inputs, layer.weight, layer.bias)


@dataclass
class _Record:
    layer: nn.Linear
    inputs: Tensor  # (K, B, I)
    delta: Tensor | None = None  # (K, B, O), d sum(log_w) / d outputs


class _TapedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, record: _Record) -> Tensor:  # noqa: ANN401 - torch's own convention
        ctx.record = record
        return plain_linear(record.layer, inputs)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        delta = grad_outputs[0]
        ctx.record.delta = delta
        return delta @ ctx.record.layer.weight.detach(), None


class RowTape:
    """Records every linear layer's input and delta, to contract them with row weights afterwards."""

    def __init__(self) -> None:
        self._records: list[_Record] = []

    def linear(self, layer: nn.Linear, inputs: Tensor) -> Tensor:
        """Apply ``layer`` to rows of shape (K, B, I), recording what its weight gradient needs."""
        record = _Record(layer, inputs.detach())
        self._records.append(record)
        return _TapedLinear.apply(inputs, record)  # pyright: ignore[reportReturnType]

    def contract(self, row_weights: Tensor, parameters: Iterable[nn.Parameter]) -> list[Tensor]:
        """The weighted gradient of each parameter.

        Args:
            row_weights: shape (K, B), what multiplies each row's gradient.
            parameters: the parameters wanted.

        Returns:
            One gradient for each parameter, in their order.

        Raises:
            RuntimeError: a parameter was applied other than through ``linear``, or a recorded layer was not
                reached by the backward pass. Its rows could not be weighted, and a silently missing gradient
                is the worst kind of bias.
        """
        found: dict[Tensor, Tensor] = {}
        weights = row_weights.reshape(-1, 1)
        for record in self._records:
            layer = record.layer
            if record.delta is None:
                message = f"the output of {layer} does not reach log w: no gradient for its parameters"
                raise RuntimeError(message)
            delta = record.delta.flatten(0, -2)
            inputs = record.inputs.flatten(0, -2)
            gradients: list[tuple[Tensor, Tensor]] = [(layer.weight, delta.mT @ (inputs * weights))]
            if layer.bias is not None:  # pyright: ignore[reportUnnecessaryComparison] - None with bias=False
                gradients.append((layer.bias, delta.mT @ weights[:, 0]))
            for parameter, gradient in gradients:
                found[parameter] = found[parameter] + gradient if parameter in found else gradient
        wanted = list(parameters)
        if any(parameter not in found for parameter in wanted):
            message = "a model parameter is applied to rows outside RowTape.linear: its rows cannot be weighted"
            raise RuntimeError(message)
        return [found[parameter] for parameter in wanted]
