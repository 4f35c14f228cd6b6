"""The screened executor: forward over all rows, forward and backward over the few that matter, without bias."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from dregcli.engine.draws import Draws
from dregcli.engine.execution.batch import Batch, log_weights
from dregcli.engine.execution.row_pass import RowPass, Sums, score_sums
from dregcli.engine.execution.screening import CORRECTION_RATE, keep_probabilities, mixed_log_weights
from dregcli.engine.execution.weighing import RowWeights, Weigh
from dregcli.engine.half import HALF_ROWS
from dregcli.engine.rows import PLAIN_ROWS, SomeRows
from dregcli.names import Precision


@dataclass(frozen=True)
class Screening:
    """How rows are screened.

    Attributes:
        inflation: what screening may add to the second moment of a gradient, as a share of it.
        precision: of the first pass's matrix products.
        k_chunk: samples per chunk of the first pass; None is all of them at once.
        capacity: most rows in one forward and backward; further ones go into another. None is all of them at once.
        pad: whether every forward and backward has ``capacity`` rows, the missing ones with weight 0, so that its
            shapes are always the same.
    """

    inflation: float
    precision: Precision
    k_chunk: int | None = None
    capacity: int | None = None
    pad: bool = False


@dataclass(frozen=True)
class _Kept:
    """Rows that are kept.

    Attributes:
        k: sample of each, int64, shape (R,), ascending.
        b: example of each.
        inverse: 1 / probability of keeping it, float64; 0 for padding.
    """

    k: Tensor
    b: Tensor
    inverse: Tensor

    def parts(self, capacity: int | None) -> Iterator[Self]:
        """So many rows at a time."""
        size = capacity or len(self.k)
        for first in range(0, len(self.k), max(size, 1)):
            part = slice(first, first + size)
            yield type(self)(self.k[part], self.b[part], self.inverse[part])

    def padded(self, capacity: int) -> Self:
        """A multiple of ``capacity`` rows, unless there is none: the last one again, with weight 0."""
        missing = -len(self.k) % capacity
        k, b = (torch.cat([each, each[-1:].expand(missing)]) for each in (self.k, self.b))
        return type(self)(k, b, torch.cat([self.inverse, self.inverse.new_zeros(missing)]))


class ScreenedRows:
    """The rows of a batch that are kept, each with probability p and weight 1/p.

    The row weights are functions of the first pass's log-weights, fixed before any row is kept or not. With a first
    pass in bfloat16 they come from a mixture of both precisions, and are corrected on a random few of the examples,
    chosen independently, so that they have the expectation of the exact ones given which rows are kept; and which are
    depends on the first pass alone. Either way the gradients have exactly the expectation of the dense ones.

    Args:
        batch: the examples.
        weigh: makes row weights of log-weights.
        screening: how.

    Raises:
        TypeError: the batch has noise alone, and nothing to choose rows by.

    Attributes:
        log_w: log-weights, shape (K, B), nats: the first pass's, mixed where it was in bfloat16.
        weights: what was made of them, and corrected.
    """

    def __init__(self, batch: Batch, weigh: Weigh, screening: Screening) -> None:
        if not isinstance(batch.draws, Draws):
            message = f"screening chooses rows at random, and {type(batch.draws).__name__} has noise alone"
            raise TypeError(message)
        half = screening.precision is Precision.BFLOAT16
        self._first = log_weights(batch, k_chunk=screening.k_chunk, rows=HALF_ROWS if half else PLAIN_ROWS)
        self._batch, self._screening, self._draws = batch, screening, batch.draws
        self._keep(weigh)

    def also(self, weigh: Weigh) -> Self:
        """Rows kept for other weights, with the same first pass and the same random numbers."""
        other = object.__new__(type(self))
        other._batch, other._screening, other._draws = self._batch, self._screening, self._draws
        other._first = self._first
        other._keep(weigh)
        return other

    def _keep(self, weigh: Weigh) -> None:
        self._only: RowPass | None = None
        half = self._screening.precision is Precision.BFLOAT16
        # What is estimated beside the gradients is not wanted of approximate log-weights.
        weights = weigh(self._first, values=not half)
        self._kept = self._chosen(weights)
        if not half:
            self.log_w, self.weights = self._first, weights
            return
        del weights  # before as many are made again
        self.log_w = mixed_log_weights(self._first, self._kept.k, self._kept.b, self._exact(), self._kept.inverse)
        self.weights = self._corrected(weigh)

    def _chosen(self, weights: RowWeights) -> _Kept:
        """Rows drawn by their weights."""
        screening = self._screening
        wanted = [weights.model] if weights.path is None else [weights.model, weights.path]
        probability = keep_probabilities(wanted, screening.inflation)
        # In the order of samples, so that the noise of a part of them is in few chunks.
        k, b = self._draws.keep(probability).nonzero(as_tuple=True)
        kept = _Kept(k, b, probability[k, b].reciprocal_())
        return kept.padded(screening.capacity) if screening.pad and screening.capacity and len(k) else kept

    def _corrected(self, weigh: Weigh) -> RowWeights:
        """The weights at mixed log-weights, with the expectation of those at exact ones."""
        weights = weigh(self.log_w)
        chosen = self._draws.choose(CORRECTION_RATE, self._batch.examples).nonzero()[:, 0]
        if not len(chosen):
            return weights
        exact = log_weights(self._batch.of(chosen), k_chunk=self._screening.k_chunk)
        return weights.corrected(chosen, CORRECTION_RATE, weigh(exact))

    def _passes(self) -> Iterator[tuple[_Kept, RowPass]]:
        """The kept rows forward, ready to go backward. A single pass is kept, since it is asked for twice."""
        parts = list(self._kept.parts(self._screening.capacity))
        for part in parts:
            made = self._only or RowPass(self._batch, self._noise(part), self._selection(part))
            if len(parts) == 1:
                self._only = made
            yield part, made

    def _selection(self, part: _Kept) -> SomeRows:
        return SomeRows(part.b, self._batch.examples)

    def _noise(self, part: _Kept) -> Tensor:
        """The noise of rows, shape (1, R, Z)."""
        draws, k = self._batch.draws, self._batch.draws.k
        size = self._screening.k_chunk or k
        if size >= k:
            return draws.noise(0, k)[part.k, part.b].unsqueeze(0)
        rows = self._first.new_empty(len(part.k), self._batch.model.latent_width)
        for first in range(int(part.k[0]) // size * size, int(part.k[-1]) + 1, size):
            here = ((part.k >= first) & (part.k < first + size)).nonzero()[:, 0]
            rows[here] = draws.noise(first, min(size, k - first))[part.k[here] - first, part.b[here]]
        return rows.unsqueeze(0)

    def _exact(self) -> Tensor:
        """Log-weights of the kept rows in full precision, shape (R,)."""
        found = [rows.log_w[0] for _, rows in self._passes()]
        return torch.cat(found) if found else self._first.new_empty(0)

    def sums(self, weights: RowWeights) -> Sums:
        """Weighted sums over rows: over those kept, and of the score, which needs no decoder, over all."""
        parts = (rows.sums(weights.rows(part.k, part.b, part.inverse)) for part, rows in self._passes())
        # Of a batch that is not finite there may be none.
        total = next(parts, None) or Sums.zero(weights, self._batch)
        for part in parts:
            total.add(part)
        if weights.score is not None:
            for first, noise in self._batch.chunks(self._screening.k_chunk):
                total.add_posterior(score_sums(self._batch, noise, weights.score[:, first : first + len(noise)]))
        return total
