"""Rows: how a model's tensors meet them, and which of them there are.

A row is one decoder evaluation: one sample k of one example b. Parameters and data meet rows in two ways, and a model
says which: by a linear layer on rows, and by a tensor that belongs to examples (pixels, a conditional prior's scale,
a layer of the context) and is shared by the K rows of each. An executor gives a model its ``Rows``: it can have the
gradient of every row weighted, take just some rows, or multiply matrices in another precision, and no model knows.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn


class Rows(ABC):
    """How a model's tensors meet rows. They meet in no other way."""

    @abstractmethod
    def linear(self, layer: nn.Linear, inputs: Tensor) -> Tensor:
        """Apply ``layer`` to rows of shape (K, B, I)."""

    @abstractmethod
    def product(self, layer: nn.Linear, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """As ``linear``, with the layer's bias left to the caller, who can add it on a way over the rows.

        Returns:
            Rows of shape (K, B, O), and what is still to be added to them: shape (O,), or None.
        """

    @abstractmethod
    def shared(self, tensor: Tensor) -> Tensor:
        """A tensor of examples, shape (B, ...), data or made of parameters, as one that broadcasts against rows."""


class Selection(Protocol):
    """Which of the K x B rows are worked on; they are laid out as (K', B', ...)."""

    def take(self, tensor: Tensor) -> Tensor:
        """A tensor of examples, (B, ...), as one that broadcasts against the rows."""
        ...

    def each(self, tensor: Tensor) -> Tensor:
        """The same with an entry for every row, (K', B', ...); without copies where there need be none."""
        ...

    def sum(self, weights: Tensor, values: Tensor) -> Tensor:
        """Sums over the rows of each example: weights (P, K', B') times values (K', B', ...), (P, B, ...)."""
        ...


@dataclass(frozen=True)
class EveryRow:
    """All samples of all examples.

    Attributes:
        k: samples per example.
    """

    k: int

    def take(self, tensor: Tensor) -> Tensor:
        """The tensor itself, which broadcasts."""
        return tensor

    def each(self, tensor: Tensor) -> Tensor:
        """Expanded, without a copy."""
        return tensor.expand(self.k, *tensor.shape)

    def sum(self, weights: Tensor, values: Tensor) -> Tensor:
        """Over samples."""
        return torch.einsum("pkb,kb...->pb...", weights, values)


@dataclass(frozen=True)
class SomeRows:
    """Any rows, laid out as one sample of each of R examples.

    Attributes:
        examples: of which example each row is, int64, shape (R,).
        batch: examples there are, B.
    """

    examples: Tensor
    batch: int

    def take(self, tensor: Tensor) -> Tensor:
        """The entries of each row's example, (R, ...)."""
        return tensor.index_select(0, self.examples)

    def each(self, tensor: Tensor) -> Tensor:
        """The same with the axis of samples, (1, R, ...)."""
        return self.take(tensor).unsqueeze(0)

    def sum(self, weights: Tensor, values: Tensor) -> Tensor:
        """By example; examples without a row get 0."""
        rows = weights.flatten(1).reshape(*weights.flatten(1).shape, *(1,) * (values.ndim - 2)) * values[0]
        found = values.new_zeros(len(weights), self.batch, *values.shape[2:])
        return found.index_add_(1, self.examples, rows)


class PlainRows(Rows):
    """As torch would do it; for values, and for gradients by autograd.

    Args:
        selection: which rows; all of them where it is not given.
    """

    def __init__(self, selection: Selection | None = None) -> None:
        self._selection = selection

    def linear(self, layer: nn.Linear, inputs: Tensor) -> Tensor:
        """The layer as torch applies it; for values the bias is added in place.

        Torch would first fill the output with it, and have the product added to that.
        """
        if torch.is_grad_enabled():
            return nn.functional.linear(inputs, layer.weight, layer.bias)
        product, bias = self.product(layer, inputs)
        return product if bias is None else product.add_(bias)

    def product(self, layer: nn.Linear, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """The product alone for values; for gradients all of it, so that autograd sees the bias."""
        if torch.is_grad_enabled():
            return self.linear(layer, inputs), None
        return nn.functional.linear(inputs, layer.weight), layer.bias

    def shared(self, tensor: Tensor) -> Tensor:
        """The tensor, or its entries for the rows there are."""
        return self._selection.take(tensor) if self._selection else tensor


PLAIN_ROWS = PlainRows()
