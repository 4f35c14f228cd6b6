"""Rows for values alone: no graph, and the widest arrays never leave the cache."""

import torch
from torch import Tensor, nn

from dregcli.engine.diagonal_gaussian import DiagonalGaussian
from dregcli.engine.likelihoods.base import BlockValue, Likelihood, samples_at_once
from dregcli.engine.rows import PlainRows


class ValueRows(PlainRows):
    """Rows of one pass without a graph. What all rows of an example share is computed once for the pass."""

    def __init__(self) -> None:
        super().__init__()
        self._values: dict[nn.Linear, BlockValue] = {}

    def log_likelihood(self, likelihood: Likelihood, layer: nn.Linear, inputs: Tensor, pixels: Tensor) -> Tensor:
        """Return log p(x | outputs), (K, B), on a CPU in blocks of samples."""
        if inputs.device.type != "cpu":
            return super().log_likelihood(likelihood, layer, inputs, pixels)
        value = self._values.get(layer)
        if value is None:  # several threads may compute it at once: to the same numbers
            value = self._values[layer] = self._value(likelihood, layer, pixels)
        k, b = inputs.shape[:2]
        width = len(value.weight)
        size = samples_at_once(inputs, k, b * width)
        found, products = inputs.new_empty(k, b), inputs.new_empty(size * b, width)
        for first in range(0, k, size):
            part = inputs[first : first + size]
            here = products[: len(part) * b]
            self._multiply(part.flatten(0, 1), value.weight, here)
            found[first : first + size] = value.sum(part, here.view(len(part), b, width))
        return found

    def _value(self, likelihood: Likelihood, layer: nn.Linear, pixels: Tensor) -> BlockValue:
        """Return how a block's log-density is computed."""
        return likelihood.value_from(layer, pixels)

    def _multiply(self, inputs: Tensor, weight: Tensor, out: Tensor) -> None:
        """Write inputs (R, I) times the transpose of a weight (O, I) to ``out``, (R, O)."""
        torch.mm(inputs, weight.mT, out=out)


class LinearisedRows(ValueRows):
    """Rows of one pass without a graph, with tangents in place of the pixels that are nearly linear.

    ``preparation`` must have seen the decoder at the rows of ``looked_at``, two of each example.
    """

    def preparation(self) -> PlainRows:
        """Return rows for a pass over the rows of ``looked_at``."""
        return _Preparation(self._values)

    @staticmethod
    def looked_at(posterior: DiagonalGaussian) -> Tensor:
        """Return the means of q, and latents at a distance that is usual for samples of q; (2, B, Z).

        They do not depend on the samples: ranks that share samples linearise the same pixels.
        """
        signs = torch.ones_like(posterior.loc)
        signs[:, 1::2] = -1.0
        return torch.stack([posterior.loc, torch.addcmul(posterior.loc, posterior.scale, signs)])


class _Preparation(PlainRows):
    def __init__(self, values: dict[nn.Linear, BlockValue]) -> None:
        super().__init__()
        self._values = values

    def log_likelihood(self, likelihood: Likelihood, layer: nn.Linear, inputs: Tensor, pixels: Tensor) -> Tensor:
        """Choose the pixels to linearise; the values of these rows are not needed."""
        self._values[layer] = likelihood.linearised(layer, pixels, *inputs)
        return inputs.new_zeros(inputs.shape[:2])
