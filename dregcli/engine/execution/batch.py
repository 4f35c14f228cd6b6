"""The batch that an executor works on: its rows, their log-weights, and weighted sums of their gradients.

There are two forms. The built-in networks have one diagonal Gaussian and linear layers, whose derivatives are known
row by row (``GaussianBatch``); any other model is served by autograd (``dregcli.engine.programs``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from dregcli.engine.draws import Noise
from dregcli.engine.execution.weighing import RowWeights
from dregcli.engine.outer import Stacked
from dregcli.names import Precision

Named = dict[str, Tensor]
"""Gradients by parameter name."""


@dataclass
class Sums:
    """Weighted sums over rows, as descent directions for the mean over the batch.

    Attributes:
        model: M gradients of theta, by parameter name.
        posterior: P gradients by the numbers that the batch differentiates q by, (P, ...) each;
            ``Batch.through_posterior`` turns them into gradients by phi.
    """

    model: list[Named]
    posterior: Named

    def add(self, other: Self) -> None:
        """Add the sums over other rows."""
        for mine, added in zip(self.model, other.model, strict=True):
            _add(mine, added)
        self.add_posterior(other.posterior)

    def add_posterior(self, gradients: Named) -> None:
        """Add gradients of the posterior."""
        _add(self.posterior, gradients)


def _add(total: Named, gradients: Named) -> None:
    for name, gradient in gradients.items():
        total[name] = total[name].add_(gradient) if name in total else gradient


class RowPass(Protocol):
    """One forward pass with a graph over some rows, and the backward passes over it."""

    @property
    def log_w(self) -> Tensor:
        """Log-weights, (K', B') for all rows of some samples, (1, R) for chosen rows; nats, detached."""
        ...

    def sums(self, weights: RowWeights) -> Sums:
        """Compute the sums that the weights request for model and path, not for the score."""
        ...

    def score_sums(self, weights: RowWeights) -> Named:
        """Compute the score's sums, for a pass over all rows of some samples."""
        ...


class Batch(Protocol):
    """One batch of examples."""

    @property
    def examples(self) -> int:
        """Number of examples, B."""
        ...

    @property
    def device(self) -> torch.device:
        """Device of the rows."""
        ...

    @property
    def mixed(self) -> bool:
        """Whether some latents have a path and others have none."""
        ...

    @property
    def draws(self) -> Noise:
        """Random numbers of the samples; ``Draws`` if rows are screened."""
        ...

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of each entry of ``Sums.posterior``, without the axis of the P gradients."""
        ...

    def drawn(self, draws: Noise) -> Self:
        """Return the same examples with other samples."""
        ...

    def prior(self) -> "Batch":
        """Return the same samples with log p(z) in the place of log p(x, z)."""
        ...

    def of(self, examples: Tensor) -> "Batch":
        """Return some of the examples, by their indices."""
        ...

    def log_weights(self, *, k_chunk: int | None, precision: Precision = Precision.FLOAT32) -> Tensor:
        """Compute log-weights of all rows, shape (K, B), nats, without a graph, in memory for one chunk of samples.

        Args:
            k_chunk: samples per chunk; None takes all at once.
            precision: precision of the inputs of matrix products.
        """
        ...

    def samples(self, first: int, count: int) -> RowPass:
        """Return a forward pass over all rows of ``count`` samples, from ``first`` on."""
        ...

    def rows(self, k: Tensor, b: Tensor, *, k_chunk: int | None) -> RowPass:
        """Return a forward pass over chosen rows.

        Args:
            k: sample of each row, int64, (R,), ascending.
            b: example of each row, int64, (R,).
            k_chunk: samples whose random numbers are drawn at once; None draws all.
        """
        ...

    def score_sums(self, first: int, weights: RowWeights) -> Named:
        """Compute the score's sums, which need no decoder, for all rows of the samples from ``first`` on."""
        ...

    def zero(self, weights: RowWeights) -> Sums:
        """Return sums over no rows, to add to; possibly no row is added."""
        ...

    def through_posterior(self, gradients: Mapping[str, Tensor]) -> list[Named]:
        """Turn gradients of ``Sums.posterior``, (P, ...) each, into P sets of gradients by phi; graphs are kept."""
        ...

    def stacked_through_posterior(self, gradients: Mapping[str, Tensor]) -> Stacked:
        """Do the same as ``through_posterior`` in one pass: (P, ...) each."""
        ...


def chunks(k: int, k_chunk: int | None) -> list[tuple[int, int]]:
    """Return the first sample and the number of samples of each chunk of K samples; None takes all at once."""
    size = k if k_chunk is None else k_chunk
    return [(first, min(size, k - first)) for first in range(0, k, size)]


def posterior_gradients(weights: RowWeights) -> int:
    """Return how many gradients of the posterior row weights ask for, P."""
    return next((len(each) for each in (weights.path, weights.score, weights.pathless) if each is not None), 0)


def descent_weights(weights: Tensor, like: Tensor) -> Tensor:
    """Turn weights of ascent into weights of descent for the mean over the batch, in ``like``'s dtype.

    Args:
        weights: row weights.
        like: a tensor of the batch's examples, (B, ...).
    """
    return (weights * (-1.0 / len(like))).to(like.dtype)
