"""The batch that an executor works on, and the passes over rows that all executors share."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dregcli.engine.draws import Noise, NoiseOfExamples
from dregcli.engine.models.base import DiagonalGaussian, Model
from dregcli.engine.rows import PLAIN_ROWS, Rows

Named = dict[str, Tensor]
"""Gradients by parameter name."""


@dataclass(frozen=True)
class Batch:
    """One batch of examples.

    Attributes:
        model: the model; its posterior is not used.
        pixels: shape (B, D).
        posterior: q(z | x) with its parameters held fixed.
        draws: noise of the samples; ``Draws`` if rows are screened.
    """

    model: Model
    pixels: Tensor
    posterior: DiagonalGaussian
    draws: Noise

    @property
    def examples(self) -> int:
        """Number of examples, B."""
        return self.pixels.shape[0]

    def chunks(self, k_chunk: int | None) -> Iterator[tuple[int, Tensor]]:
        """Yield the first sample and the noise of each chunk of samples; None takes all at once."""
        k = self.draws.k
        size = k if k_chunk is None else k_chunk
        for first in range(0, k, size):
            yield first, self.draws.noise(first, min(size, k - first))

    def of(self, examples: Tensor) -> "Batch":
        """Return some of the examples, by their indices."""
        return replace(
            self,
            pixels=self.pixels[examples],
            posterior=self.posterior.of(examples),
            draws=NoiseOfExamples(self.draws, examples),
        )


@torch.no_grad()
def log_weights(batch: Batch, *, k_chunk: int | None, rows: Rows = PLAIN_ROWS) -> Tensor:
    """Compute log-weights of all rows, shape (K, B), nats, without a graph, in memory for one chunk of samples.

    Args:
        batch: the examples.
        k_chunk: samples per chunk; None takes all at once.
        rows: applies layers.
    """
    model, posterior = batch.model, batch.posterior
    # One array for all chunks. Separate small results would be allocated where a chunk's large arrays were before;
    # the next chunk's arrays would then find no room there, and the process would grow with each chunk.
    found = posterior.loc.new_empty(batch.draws.k, batch.examples)
    for first, noise in batch.chunks(k_chunk):
        log_p = model.log_joint(batch.pixels, posterior.rsample(noise), rows)
        found[first : first + len(noise)] = log_p.sub_(posterior.log_prob_at(noise))
    return found
