"""Rows: how a model's tensors meet them, and which rows are evaluated.

A row is one decoder evaluation: one sample k of one example b. Parameters and data meet rows in two ways, and a model
says which: in a linear layer on rows, or as a tensor that belongs to examples (pixels, a conditional prior's scale,
a layer of the context) and is shared by the K rows of each example. An executor gives a model its ``Rows``. So the
executor can weight the gradient of every row, take only some rows, or multiply matrices in another precision, and no
model needs to know about this.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from dregcli.engine.diagonal_gaussian import DiagonalGaussian, standard_normal_log_prob
from dregcli.engine.indexed import sums_by_index
from dregcli.engine.likelihoods.base import Likelihood


class Rows(ABC):
    """The ways in which a model's tensors meet rows. There are no others."""

    @abstractmethod
    def linear(self, layer: nn.Linear, inputs: Tensor) -> Tensor:
        """Apply ``layer`` to rows of shape (K, B, I)."""

    @abstractmethod
    def product(self, layer: nn.Linear, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Apply ``layer`` without its bias; the caller can add the bias in a later pass over the rows.

        Returns:
            Rows of shape (K, B, O), and the bias that the caller must still add: shape (O,), or None.
        """

    @abstractmethod
    def shared(self, tensor: Tensor) -> Tensor:
        """Make a tensor of examples, (B, ...), data or computed from parameters, broadcast against rows."""

    def log_likelihood(self, likelihood: Likelihood, layer: nn.Linear, inputs: Tensor, pixels: Tensor) -> Tensor:
        """Return log p(x | outputs), where a decoder's last layer computes the outputs.

        Args:
            likelihood: the distribution of the pixels.
            layer: the last layer.
            inputs: its inputs, (K, B, I).
            pixels: shape (B, D).

        Returns:
            Shape (K, B), nats.
        """
        outputs, bias = self.product(layer, inputs)
        return likelihood.log_prob(outputs, self.shared(pixels), bias)

    def log_prior(self, prior: DiagonalGaussian, z: Tensor) -> Tensor:
        """Return the learned prior's log-density of rows z, (K, B, Z); shape (K, B), nats."""
        standardised = (z - self.shared(prior.loc)) / self.shared(prior.scale)
        return standard_normal_log_prob(standardised) - self.shared(prior.scale.log().sum(dim=-1))


class Selection(Protocol):
    """The choice of rows, out of K x B, that are evaluated; they are laid out as (K', B', ...)."""

    def take(self, tensor: Tensor) -> Tensor:
        """Make a tensor of examples, (B, ...), broadcast against the rows."""
        ...

    def each(self, tensor: Tensor) -> Tensor:
        """Expand a tensor of examples to one entry per row, (K', B', ...), without a copy where possible."""
        ...

    def sum(self, weights: Tensor, values: Tensor) -> Tensor:
        """Sum weights (P, K', B') times values (K', B', ...) over the rows of each example; (P, B, ...)."""
        ...


@dataclass(frozen=True)
class EveryRow:
    """All samples of all examples.

    Attributes:
        k: samples per example.
    """

    k: int

    def take(self, tensor: Tensor) -> Tensor:
        """Return the tensor itself, which broadcasts."""
        return tensor

    def each(self, tensor: Tensor) -> Tensor:
        """Expand the tensor without a copy."""
        return tensor.expand(self.k, *tensor.shape)

    def sum(self, weights: Tensor, values: Tensor) -> Tensor:
        """Sum over samples: one product of matrices for each example."""
        # Torch's einsum would copy the matrices of each example by themselves.
        by_example = values.reshape(*values.shape[:2], -1).transpose(0, 1).contiguous()
        products = torch.bmm(weights.permute(2, 0, 1).contiguous(), by_example).transpose(0, 1)
        return products.reshape(*products.shape[:2], *values.shape[2:])


@dataclass(frozen=True)
class SomeRows:
    """Any choice of R rows, laid out as one sample of each of R examples.

    Attributes:
        examples: index of each row's example, int64, shape (R,).
        batch: number of examples in the batch, B.
    """

    examples: Tensor
    batch: int

    def take(self, tensor: Tensor) -> Tensor:
        """Return the entry of each row's example, (R, ...)."""
        return tensor.index_select(0, self.examples)

    def each(self, tensor: Tensor) -> Tensor:
        """Return the entry of each row's example with a sample axis, (1, R, ...)."""
        return self.take(tensor).unsqueeze(0)

    def sum(self, weights: Tensor, values: Tensor) -> Tensor:
        """Sum by example; examples without a row get 0."""
        flat = weights.flatten(1)
        rows = flat.reshape(*flat.shape, *(1,) * (values.ndim - 2)) * values[0]
        # How the products after it are rounded depends on the layout.
        return sums_by_index(rows.transpose(0, 1), self.examples, self.batch).transpose(0, 1).contiguous()


class PlainRows(Rows):
    """Rows computed as torch does it: for values, and for gradients by autograd.

    Args:
        selection: the chosen rows; all rows if it is not given.
    """

    def __init__(self, selection: Selection | None = None) -> None:
        self._selection = selection

    def linear(self, layer: nn.Linear, inputs: Tensor) -> Tensor:
        """Apply the layer as torch does; for values the bias is added in place.

        Torch would first fill the output with the bias and then add the product.
        """
        if torch.is_grad_enabled():
            return nn.functional.linear(inputs, layer.weight, layer.bias)
        product, bias = self.product(layer, inputs)
        return product if bias is None else product.add_(bias)

    def product(self, layer: nn.Linear, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the product alone for values; for gradients include the bias, so that autograd sees it."""
        if torch.is_grad_enabled():
            return self.linear(layer, inputs), None
        return nn.functional.linear(inputs, layer.weight), layer.bias

    def shared(self, tensor: Tensor) -> Tensor:
        """Return the tensor, or its entries for the selected rows."""
        return self._selection.take(tensor) if self._selection else tensor


PLAIN_ROWS = PlainRows()
