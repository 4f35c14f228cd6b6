"""Weighted gradients of the model's parameters from one backward pass with unit row weights.

The model's gradient is a weighted sum over rows, sum model_kb * d log w_kb / d theta. The backward pass uses unit
weights, and ``model`` is applied where a layer's weight gradient is contracted, (model * input)^T delta. This gives
the sum for any number of weight arrays from one pass, and leaves d log w / d z unweighted for the path. It needs no
ratio path / model, which would be singular for objectives whose model weights cross zero.

For tensors that belong to examples, the backward pass gives d log w / d tensor for every row; the weighted sum of
these over samples starts the backward pass of the examples' own graph.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dregcli.engine.diagonal_gaussian import DiagonalGaussian
from dregcli.engine.likelihoods.base import Likelihood
from dregcli.engine.reach import Reach
from dregcli.engine.rows import Rows, Selection


@dataclass
class _Layer:
    """A layer's application to rows."""

    layer: nn.Linear
    with_bias: bool  # whether the output includes it or it is added later: the gradient is the same
    inputs: Tensor  # (K', B', I)
    delta: Tensor | None = None  # (K', B', O), d sum(log_p) / d outputs
    times: Tensor | None = None  # (K', B'), a factor that ``delta`` still lacks


@dataclass
class _Shared:
    """A tensor of examples, and its copy for the rows."""

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


class _TapedLikelihood(torch.autograd.Function):
    """A decoder's last layer and the likelihood together: no array of the outputs' size is made a second time."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, record: _Layer, likelihood: Likelihood, pixels: Tensor) -> Tensor:  # noqa: ANN401
        layer = record.layer
        outputs = nn.functional.linear(inputs, layer.weight)
        value, ctx.slope = likelihood.value_and_gradient(outputs, pixels, layer.bias)
        ctx.record = record
        return value

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None]:  # noqa: ANN401
        (times,) = grad_outputs
        ctx.record.delta, ctx.record.times = ctx.slope, times
        return (ctx.slope @ ctx.record.layer.weight.detach()).mul_(times.unsqueeze(-1)), None, None, None


class RowTape(Rows):
    """Record what parameters did to rows, to contract their gradients with row weights afterwards.

    Use it for one forward pass, call ``backward`` once, and then call ``contract`` once for each array of row
    weights.

    Args:
        selection: the chosen rows.
        check: whether to search the graph for other tensors that require grad; once is enough for a model.
    """

    def __init__(self, selection: Selection, *, check: bool = True) -> None:
        self._selection = selection
        self._check = check
        self._layers: list[_Layer] = []
        self._shared: list[_Shared] = []
        self._prior: list[_Shared] = []

    def linear(self, layer: nn.Linear, inputs: Tensor) -> Tensor:
        """Apply ``layer`` to rows of shape (K', B', I) and record what its weight gradient needs."""
        return self._apply(layer, inputs, with_bias=True)

    def product(self, layer: nn.Linear, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the product and the bias, detached from its parameter; ``contract`` computes its gradient."""
        bias = layer.bias.detach() if layer.bias is not None else None  # pyright: ignore[reportUnnecessaryComparison]
        return self._apply(layer, inputs, with_bias=False), bias

    def _apply(self, layer: nn.Linear, inputs: Tensor, *, with_bias: bool) -> Tensor:
        record = _Layer(layer, with_bias, inputs.detach())
        self._layers.append(record)
        return _TapedLinear.apply(inputs, record)  # pyright: ignore[reportReturnType]

    def shared(self, tensor: Tensor) -> Tensor:
        """Return the tensor with one entry per row, detached from its graph; data has no graph and is only taken."""
        if not tensor.requires_grad:
            return self._selection.take(tensor)
        leaf = self._selection.each(tensor.detach()).requires_grad_()
        self._shared.append(_Shared(tensor, leaf))
        return leaf

    def log_likelihood(self, likelihood: Likelihood, layer: nn.Linear, inputs: Tensor, pixels: Tensor) -> Tensor:
        """Return log p(x | outputs), (K', B'), and record what the last layer's gradient needs."""
        record = _Layer(layer, with_bias=False, inputs=inputs.detach())
        self._layers.append(record)
        return _TapedLikelihood.apply(inputs, record, likelihood, self.shared(pixels))  # pyright: ignore[reportReturnType]

    def log_prior(self, prior: DiagonalGaussian, z: Tensor) -> Tensor:
        """Return the learned prior's log-density, and record how the prior meets rows.

        Raises:
            RuntimeError: there is more than one prior.
        """
        if self._prior:
            message = "a model of the fast path has one prior"
            raise RuntimeError(message)
        first = len(self._shared)
        found = super().log_prior(prior, z)
        self._prior = self._shared[first:]
        return found

    def prior(self) -> DiagonalGaussian | None:
        """Return the learned prior of each row, its parameters being (K', B', Z) and fixed; None if there is none."""
        if not self._prior:
            return None
        loc, scale, _ = self._prior
        return DiagonalGaussian(loc.leaf.detach(), scale.leaf.detach())

    def backward(self, log_p: Tensor, latents: Sequence[Tensor]) -> list[Tensor]:
        """Do the only backward pass, with unit row weights.

        Args:
            log_p: log p(x, z), shape (K', B'), computed with this tape.
            latents: leaves of shape (K', B', Z_layer).

        Returns:
            d sum(log_p) / d latents.

        Raises:
            RuntimeError: log p depends on another tensor that requires grad, whose rows could not be weighted, or
                log p does not depend on a latent.
        """
        leaves = [*latents, *(record.leaf for record in self._shared)]
        if self._check and (strays := Reach.of(log_p).leaves - set(leaves)):
            shapes = ", ".join(str(tuple(stray.shape)) for stray in strays)
            message = f"log p depends on parameters outside Rows.linear and Rows.shared, of shape {shapes}"
            raise RuntimeError(message)
        # torch's types say tensors, but unreached entries are None.
        # A sum, because torch's check of the shapes of given weights would import sympy.
        with torch.enable_grad():
            total = log_p.sum()
        found: list[Any] = list(torch.autograd.grad(total, leaves, allow_unused=True))
        for record, delta in zip(self._shared, found[len(latents) :], strict=True):
            record.delta = delta
        if any(each is None for each in found[: len(latents)]):
            message = "log p does not depend on a latent"
            raise RuntimeError(message)
        return found[: len(latents)]

    def contract(
        self, row_weights: Tensor, parameters: Iterable[nn.Parameter], *, prior: DiagonalGaussian | None = None
    ) -> list[Tensor]:
        """Return the weighted gradient of each parameter.

        Args:
            row_weights: factor of each row's gradient, shape (K', B').
            parameters: the requested parameters.
            prior: another gradient by the prior's mean and scale than the weighted one, (B, Z) each.

        Returns:
            One gradient for each parameter, in their order.

        Raises:
            RuntimeError: no recorded layer and no shared tensor uses a parameter, or the backward pass did not reach
                such a layer or tensor. Its rows could not be weighted, and a silently missing gradient would be the
                worst kind of bias.
        """
        wanted = list(parameters)
        found: dict[Tensor, Tensor] = {}
        for parameter, gradient in (*self._by_layers(row_weights), *self._by_shared(row_weights, wanted, prior)):
            found[parameter] = found[parameter] + gradient if parameter in found else gradient
        if any(parameter not in found for parameter in wanted):
            message = "a model parameter reaches rows outside Rows.linear and Rows.shared: they cannot be weighted"
            raise RuntimeError(message)
        return [found[parameter] for parameter in wanted]

    def _by_layers(self, row_weights: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the parameters of recorded layers, with the gradient from each application."""
        for record in self._layers:
            layer = record.layer
            weights = (row_weights if record.times is None else row_weights * record.times).reshape(-1, 1)
            if record.delta is None:
                message = f"the output of {layer} does not reach log p: no gradient for its parameters"
                raise RuntimeError(message)
            delta = record.delta.flatten(0, -2)
            inputs = record.inputs.flatten(0, -2)
            yield layer.weight, delta.mT @ (inputs * weights)
            if layer.bias is not None:  # pyright: ignore[reportUnnecessaryComparison] - None with bias=False
                yield layer.bias, delta.mT @ weights[:, 0]

    def _by_shared(
        self, row_weights: Tensor, wanted: list[nn.Parameter], prior: DiagonalGaussian | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the parameters behind shared tensors, with the gradient through all of these; the graph is kept."""
        if not self._shared:
            return
        seeds: list[Tensor] = []
        given: dict[int, Tensor] = {}
        if prior is not None:
            loc, scale, log_scale = map(id, self._prior)
            given = {loc: prior.loc, scale: prior.scale, log_scale: torch.zeros_like(prior.loc[..., 0])}
        for record in self._shared:
            if id(record) in given:
                seeds.append(given[id(record)])
                continue
            if record.delta is None:
                message = f"a shared tensor of shape {tuple(record.tensor.shape)} does not reach log p"
                raise RuntimeError(message)
            seeds.append(self._selection.sum(row_weights.unsqueeze(0), record.delta)[0])
        outputs = [record.tensor for record in self._shared]
        found: list[Any] = list(torch.autograd.grad(outputs, wanted, seeds, retain_graph=True, allow_unused=True))
        for parameter, gradient in zip(wanted, found, strict=True):
            if gradient is not None:
                yield parameter, gradient
