"""One step on several ranks: each passes over its own rows, and log-weights and gradients are summed over the ranks.

The rows of a step are K samples of B examples. Each rank has a block of them: some samples of all examples, or all
samples of some examples. Every rank gets the log-weights of all rows. So it makes the same row weights and the same
random choice of rows as one process would, and then it uses those of its own rows. What is left is linear: the
gradients are sums over rows, and so sums over ranks.

A rank draws the random numbers of its own samples alone, at the addresses that they have in one process.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from dregcli.defaults import NOISE_BLOCK
from dregcli.engine.draws import LatentNoise, Noise, PartOfNoise
from dregcli.engine.execution.batch import Batch, Named, RowPass, Sums, posterior_gradients
from dregcli.engine.execution.dense import DenseRows
from dregcli.engine.execution.ranks import Ranks, own_range, summed
from dregcli.engine.execution.screened import ScreenedRows
from dregcli.engine.execution.weighing import RowWeights, Weigh
from dregcli.engine.outer import dense
from dregcli.names import Precision, Shard

MakeBatch = Callable[[Tensor, Noise], Batch]
"""Makes a batch of pixels (B, D) and the random numbers of their samples."""


@dataclass(frozen=True)
class Shards:
    """How the rows of a step are divided among ranks.

    Attributes:
        ranks: the processes.
        by: whether a rank has some samples of all examples, or all samples of some examples.
    """

    ranks: Ranks
    by: Shard = Shard.SAMPLES

    def units(self, *, k: int, examples: int) -> int:
        """Return how many parts the rows can have: blocks of samples, or examples. Each rank needs one."""
        return examples if self.by is Shard.BATCH else -(-k // NOISE_BLOCK)

    def own(self, *, k: int, examples: int) -> tuple[range, range]:
        """Return the samples and the examples of this rank.

        Raises:
            ValueError: a rank would have no row.
        """
        units = self.units(k=k, examples=examples)
        if units < self.ranks.size:
            message = f"{self.ranks.size} ranks cannot share {units} parts of {k} samples of {examples} examples"
            raise ValueError(message)
        own = own_range(self.ranks, units)
        if self.by is Shard.BATCH:
            return range(k), own
        return range(own.start * NOISE_BLOCK, min(own.stop * NOISE_BLOCK, k)), range(examples)

    def batch(self, make: MakeBatch, pixels: Tensor, draws: Noise) -> "ShardedBatch":
        """Return a batch that is divided among the ranks.

        Args:
            make: makes a batch of one process.
            pixels: all examples of the step, shape (B, D), the same on each rank.
            draws: random numbers of all samples.

        Raises:
            TypeError: the random numbers are noise of one latent alone.
        """
        if not isinstance(draws, LatentNoise):
            message = f"ranks divide random numbers by address, but {type(draws).__name__} has noise alone"
            raise TypeError(message)
        k, b = self.own(k=draws.k, examples=len(pixels))
        some = pixels if len(b) == len(pixels) else pixels[b.start : b.stop]
        return ShardedBatch(self, make(some, PartOfNoise(draws, k, b)), pixels, draws)


class ShardedBatch:
    """A batch whose rows are divided among ranks; ``ShardedRows`` adds up what its passes return.

    Args:
        shards: how they are divided.
        own: the rows of this rank, as a batch of one process.
        pixels: the examples of all ranks, shape (B, D).
        draws: random numbers of all samples.
    """

    def __init__(self, shards: Shards, own: Batch, pixels: Tensor, draws: Noise) -> None:
        self._shards, self._own, self._pixels = shards, own, pixels
        self._k, self._b = shards.own(k=draws.k, examples=len(pixels))
        self.draws = draws
        self.examples = len(pixels)
        # Which of the examples are here, if they were chosen; ``_b`` are then all that this rank has.
        self._here: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """Device of the rows."""
        return self._own.device

    @property
    def mixed(self) -> bool:
        """Whether some latents have a path and others have none."""
        return self._own.mixed

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of each entry of ``Sums.posterior`` on this rank."""
        return self._own.shapes

    def drawn(self, draws: Noise) -> Self:
        """Return the same examples with other samples."""
        assert isinstance(draws, LatentNoise)
        k, _ = self._shards.own(k=draws.k, examples=len(self._pixels))
        other = self._like(self._own.drawn(PartOfNoise(draws, k, self._b)))
        other.draws, other._k = draws, k
        return other

    def prior(self) -> Self:
        """Return the same samples with log p(z) in the place of log p(x, z)."""
        return self._like(self._own.prior())

    def of(self, examples: Tensor) -> Self:
        """Return some of the examples, by their indices, to compute their log-weights."""
        here = self._has(self._b, examples)
        other = self._like(self._own.of(examples[here] - self._b.start) if here.any() else self._own)
        other.examples, other._here = len(examples), here
        return other

    def _like(self, own: Batch) -> Self:
        other = copy.copy(self)
        other._own = own
        return other

    @staticmethod
    def _has(own: range, indices: Tensor) -> Tensor:
        return (indices >= own.start) & (indices < own.stop)

    def _gathered(self, whole: Tensor) -> Tensor:
        """Return numbers of all rows from those of each rank, which has zeros in the places of the others."""
        return self._shards.ranks.sums([whole])[0]

    def log_weights(self, *, k_chunk: int | None, precision: Precision = Precision.FLOAT32) -> Tensor:
        """Compute log-weights of all rows, shape (K, B), nats, without a graph; each rank computes its own."""
        whole, here = self._nothing(self.draws.k, self.examples), self._here
        columns = slice(self._b.start, self._b.stop) if here is None else here
        if here is None or here.any():
            own = self._own.log_weights(k_chunk=k_chunk, precision=precision)
            whole[self._k.start : self._k.stop, columns] = own
        return self._gathered(whole)

    def _nothing(self, *shape: int) -> Tensor:
        return self._pixels.new_zeros(shape)

    def samples(self, first: int, count: int) -> RowPass:
        """Return a forward pass over this rank's rows of some samples."""
        k = range(max(first, self._k.start), min(first + count, self._k.stop))
        own = self._own.samples(k.start - self._k.start, len(k)) if k else None
        there = slice(k.start - first, k.stop - first), slice(self._b.start, self._b.stop)

        def gathered() -> Tensor:
            whole = self._nothing(count, self.examples)
            if own is not None:
                whole[there] = own.log_w
            return self._gathered(whole)

        def of_own(weights: RowWeights) -> RowWeights:
            part = weights.samples(k.start - first, len(k))
            return self._weights(part.of_examples(self._b.start, len(self._b)))

        return _ShardedPass(self._own, own, gathered, of_own)

    def rows(self, k: Tensor, b: Tensor, *, k_chunk: int | None) -> RowPass:
        """Return a forward pass over those of the chosen rows that this rank has."""
        here = self._has(self._k, k) & self._has(self._b, b)
        own = None
        if here.any():
            own = self._own.rows(k[here] - self._k.start, b[here] - self._b.start, k_chunk=k_chunk)

        def gathered() -> Tensor:
            whole = self._nothing(1, len(k))
            if own is not None:
                whole[:, here] = own.log_w
            return self._gathered(whole)

        return _ShardedPass(self._own, own, gathered, lambda weights: self._weights(weights.of_rows(here)))

    def _weights(self, weights: RowWeights) -> RowWeights:
        """Scale weights of own rows: a batch takes the mean over its own examples, not over those of all ranks."""
        return weights if len(self._b) == self.examples else weights.times(len(self._b) / self.examples)

    def score_sums(self, first: int, weights: RowWeights) -> Named:
        """Compute the score's sums over this rank's rows of the samples from ``first`` on."""
        count = weights.model.shape[1]
        k = range(max(first, self._k.start), min(first + count, self._k.stop))
        if not k:
            return {}
        part = weights.samples(k.start - first, len(k)).of_examples(self._b.start, len(self._b))
        return self._own.score_sums(k.start - self._k.start, self._weights(part))

    def zero(self, weights: RowWeights) -> Sums:
        """Return sums over no rows."""
        return self._own.zero(weights)

    def through_posterior(self, gradients: Mapping[str, Tensor]) -> list[Named]:
        """Turn this rank's sums into gradients by phi, and add up those of all ranks."""
        return summed(self._shards.ranks, self._own.through_posterior(gradients))

    def stacked_through_posterior(self, gradients: Mapping[str, Tensor]) -> Named:
        """Do the same as ``through_posterior`` in one pass: (P, ...) each."""
        return summed(self._shards.ranks, [dense(self._own.stacked_through_posterior(gradients))])[0]


class _ShardedPass:
    """This rank's rows of a pass; None if it has none of them.

    Args:
        batch: all rows of this rank.
        rows: its rows of the pass.
        gathered: returns the log-weights of the rows of all ranks.
        of_own: takes the weights of its own rows from those of all.
    """

    def __init__(
        self,
        batch: Batch,
        rows: RowPass | None,
        gathered: Callable[[], Tensor],
        of_own: Callable[[RowWeights], RowWeights],
    ) -> None:
        self._batch, self._rows, self._gather, self._of_own = batch, rows, gathered, of_own

    @property
    def log_w(self) -> Tensor:
        """Log-weights of the rows of all ranks, which exchange them each time that this is read."""
        return self._gather()

    def sums(self, weights: RowWeights) -> Sums:
        """Compute the sums of model and path over this rank's rows."""
        if self._rows is not None:
            return self._rows.sums(self._of_own(weights))
        nothing = self._batch.zero(weights)
        # Weights of chosen rows may have no path. The sums of the score, which are added later, then come first.
        return nothing if posterior_gradients(weights) else Sums(nothing.model, {})

    def score_sums(self, weights: RowWeights) -> Named:
        """Compute the score's sums over this rank's rows."""
        return {} if self._rows is None else self._rows.score_sums(self._of_own(weights))


class ShardedRows:
    """The rows of a sharded batch, with the model's gradients added up over all ranks.

    The sums of the posterior stay this rank's own: ``ShardedBatch.through_posterior`` adds them up after the pass
    through the encoder, since a rank may have examples that others lack.

    Args:
        rows: the rows as an executor has them, with weights computed from the log-weights of all ranks.
        ranks: the processes.

    Attributes:
        log_w: log-weights of all rows, shape (K, B), nats.
        weights: row weights of all rows.
    """

    def __init__(self, rows: DenseRows | ScreenedRows, ranks: Ranks) -> None:
        self._rows, self._ranks = rows, ranks
        self.log_w, self.weights = rows.log_w, rows.weights

    def sums(self, weights: RowWeights) -> Sums:
        """Compute the sums over all rows by theta, and over this rank's rows by the posterior's numbers."""
        total = self._rows.sums(weights)
        return Sums(summed(self._ranks, total.model), total.posterior)

    def also(self, weigh: Weigh) -> "ShardedRows":
        """Return the same rows with other weights."""
        return ShardedRows(self._rows.also(weigh), self._ranks)
