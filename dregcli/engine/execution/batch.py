"""What an executor works on, and the passes over rows that all executors are made of."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dregcli.engine.draws import Draws
from dregcli.engine.models.base import DiagonalGaussian, LatentModel
from dregcli.engine.rows import PLAIN_ROWS, Rows

Named = dict[str, Tensor]
"""Gradients by parameter name."""


@dataclass(frozen=True)
class Batch:
    """One batch of examples.

    Attributes:
        model: the model; its posterior is not used.
        pixels: shape (B, D).
        posterior: q(z | x), its parameters held fixed.
        draws: the samples' noise, and what an executor chooses by.
    """

    model: LatentModel
    pixels: Tensor
    posterior: DiagonalGaussian
    draws: Draws

    @property
    def examples(self) -> int:
        """B."""
        return self.pixels.shape[0]

    def chunks(self, k_chunk: int | None) -> Iterator[tuple[int, Tensor]]:
        """The first sample and the noise of each chunk of samples; None is all of them at once."""
        k = self.draws.k
        size = k if k_chunk is None else k_chunk
        for first in range(0, k, size):
            yield first, self.draws.noise(first, min(size, k - first))

    def of(self, examples: Tensor) -> "Batch":
        """Some of the examples, by their indices."""
        return replace(
            self,
            pixels=self.pixels[examples],
            posterior=self.posterior.of(examples),
            draws=_SomeExamples(self.draws, examples),
        )


@dataclass(frozen=True)
class _SomeExamples:
    """The noise of some examples of a batch, in which nothing else is drawn."""

    draws: Draws
    examples: Tensor

    @property
    def k(self) -> int:
        return self.draws.k

    def noise(self, first: int, count: int) -> Tensor:
        return self.draws.noise(first, count)[:, self.examples]

    def keep(self, probability: Tensor) -> Tensor:
        raise NotImplementedError

    def choose(self, rate: float, batch: int) -> Tensor:
        raise NotImplementedError


@torch.no_grad()
def log_weights(batch: Batch, *, k_chunk: int | None, rows: Rows = PLAIN_ROWS) -> Tensor:
    """Log-weights of all rows, shape (K, B), nats; without a graph, in memory for one chunk of samples.

    Args:
        batch: the examples.
        k_chunk: samples per chunk; None is all of them at once.
        rows: applies layers.
    """
    model, posterior = batch.model, batch.posterior
    # One array for all chunks. Kept one by one, their small results come to lie where a chunk's large arrays were
    # before, so that the next chunk's find no room there: the process grows by as much with each chunk.
    found = posterior.loc.new_empty(batch.draws.k, batch.examples)
    for first, noise in batch.chunks(k_chunk):
        log_p = model.log_joint(batch.pixels, posterior.rsample(noise), rows)
        found[first : first + len(noise)] = log_p.sub_(posterior.log_prob_at(noise))
    return found
