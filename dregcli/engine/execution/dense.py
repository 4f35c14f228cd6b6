"""The dense executor: every row goes forward and backward, all at once or in chunks of samples."""

import copy
from typing import Self

from torch import Tensor

from dregcli.engine.execution.batch import Batch, Sums, chunks
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
        self._whole = batch.samples(0, k) if self._k_chunk is None else None
        self.log_w: Tensor = self._whole.log_w if self._whole else batch.log_weights(k_chunk=k_chunk)
        self.weights = weigh(self.log_w)

    def also(self, weigh: Weigh) -> Self:
        """Return the same rows with other weights."""
        other = copy.copy(self)
        other.weights = weigh(self.log_w)
        return other

    def sums(self, weights: RowWeights) -> Sums:
        """Compute weighted sums over rows."""
        total = self._batch.zero(weights)
        for first, count in chunks(self._batch.draws.k, self._k_chunk):
            part = weights.samples(first, count)
            rows = self._whole or self._batch.samples(first, count)
            total.add(rows.sums(part))
            if part.has_score:
                total.add_posterior(rows.score_sums(part))
        return total
