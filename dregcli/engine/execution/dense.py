"""The dense executor: every row goes forward and backward, all at once or in chunks of samples."""

import copy
from typing import Self

from torch import Tensor

from dregcli.engine.execution.batch import Batch, log_weights
from dregcli.engine.execution.row_pass import RowPass, Sums, score_sums
from dregcli.engine.execution.weighing import RowWeights, Weigh


class DenseRows:
    """All rows of a batch.

    With chunks, a first pass computes the log-weights; then each sum costs a forward and a backward pass for each
    chunk. So memory does not grow with K.

    Args:
        batch: the examples.
        weigh: computes row weights from log-weights.
        k_chunk: samples per chunk; None takes all at once.

    Attributes:
        log_w: log-weights, shape (K, B), nats.
        weights: row weights computed from the log-weights.
    """

    def __init__(self, batch: Batch, weigh: Weigh, *, k_chunk: int | None) -> None:
        k = batch.draws.k
        self._batch = batch
        self._k_chunk = None if k_chunk is None or k_chunk >= k else k_chunk
        self._whole = RowPass(batch, batch.draws.noise(0, k)) if self._k_chunk is None else None
        self.log_w: Tensor = self._whole.log_w if self._whole else log_weights(batch, k_chunk=k_chunk)
        self.weights = weigh(self.log_w)

    def also(self, weigh: Weigh) -> Self:
        """Return the same rows with other weights."""
        other = copy.copy(self)
        other.weights = weigh(self.log_w)
        return other

    def sums(self, weights: RowWeights) -> Sums:
        """Compute weighted sums over rows."""
        total = Sums.zero(weights, self._batch)
        for first, noise in self._batch.chunks(self._k_chunk):
            part = weights.samples(first, len(noise))
            total.add((self._whole or RowPass(self._batch, noise)).sums(part))
            if part.score is not None:
                total.add_posterior(score_sums(self._batch, noise, part.score))
        return total
