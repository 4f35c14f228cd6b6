"""What an executor works on, and the passes over rows that all executors are made of."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dregcli.engine.draws import Noise, NoiseOfExamples
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
        draws: the samples' noise; ``Draws`` to be screened by.
    """

    model: LatentModel
    pixels: Tensor
    posterior: DiagonalGaussian
    draws: Noise

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
            draws=NoiseOfExamples(self.draws, examples),
        )


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
