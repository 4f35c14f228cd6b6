"""The screened executor: forward over all rows, then forward and backward over the few that matter, without bias."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from dregcli.engine.draws import Draws
from dregcli.engine.execution.batch import Batch, RowPass, Sums, chunks
from dregcli.engine.execution.joined import JoinedPasses
from dregcli.engine.execution.screening import (
    CORRECTION_RATE,
    correction_capacity,
    keep_probabilities,
    mixed_log_weights,
)
from dregcli.engine.execution.weighing import RowWeights, Weigh
from dregcli.names import Precision


@dataclass(frozen=True)
class Screening:
    """How rows are screened.

    Attributes:
        inflation: largest relative increase of a gradient's second moment by screening.
        precision: precision of the first pass's matrix products.
        k_chunk: samples per chunk of the first pass; None takes all at once.
        capacity: largest number of rows in one forward and backward pass; further rows go into another pass. None
            takes all at once.
        pad: whether every step has the same shapes, and so the same bits as a repeated one: each forward and backward
            pass has ``capacity`` rows, and a fixed number of examples is corrected. What is missing has weight 0.
        repeated: whether there is one pass of ``capacity`` rows, so that no number of rows is needed on the host. If
            more rows are kept or more examples are chosen for correction, the weights are not finite.
    """

    inflation: float
    precision: Precision
    k_chunk: int | None = None
    capacity: int | None = None
    pad: bool = False
    repeated: bool = False


@dataclass(frozen=True)
class _Kept:
    """The rows that are kept.

    Attributes:
        k: sample of each row, int64, shape (R,).
        b: example of each row.
        inverse: 1 / probability of keeping the row, float64; 0 for padding, and for known rows that are not kept.
        known: number of rows, from the first on, that have a forward pass already; the others are in the order of
            samples, so that the noise of a part lies in few chunks.
    """

    k: Tensor
    b: Tensor
    inverse: Tensor
    known: int = 0

    @classmethod
    def of(cls, keep: Tensor, probability: Tensor) -> Self:
        """Return the kept rows; see ``first`` for the arguments."""
        k, b = keep.nonzero(as_tuple=True)
        return cls(k, b, probability[k, b].reciprocal_())

    def with_known(self, keep: Tensor, probability: Tensor) -> Self:
        """Return the rows that ``keep`` marks, after these rows, which are known and may not all be marked."""
        inverse = torch.where(keep[self.k, self.b], probability[self.k, self.b].reciprocal_(), 0.0)
        rest = type(self).of(keep.index_put((self.k, self.b), keep.new_zeros(())), probability)
        k, b = torch.cat([self.k, rest.k]), torch.cat([self.b, rest.b])
        return type(self)(k, b, torch.cat([inverse, rest.inverse]), known=len(self.k))

    @classmethod
    def first(cls, keep: Tensor, probability: Tensor, capacity: int) -> Self:
        """Return the first ``capacity`` kept rows, padded as by ``padded``, without waiting for the device.

        Args:
            keep: which rows are kept, bool, (K, B).
            probability: probability of keeping each row, (K, B).
            capacity: number of rows; if more are kept, every inverse is NaN.
        """
        flat = keep.flatten()
        place = flat.cumsum(0)
        # Every row that is not wanted is written to one more slot, which is not read.
        slot = torch.where(flat & (place <= capacity), place - 1, capacity)
        rows = place.new_zeros(capacity + 1).scatter_(0, slot, torch.arange(len(flat), device=flat.device))[:capacity]
        count = place[-1:]
        there = torch.arange(capacity, device=flat.device) < count
        rows = torch.where(there, rows, rows.gather(0, (count - 1).clamp(0, capacity - 1)))
        k, b = rows // keep.shape[1], rows % keep.shape[1]
        inverse = torch.where(there, probability.flatten()[rows].reciprocal(), 0.0)
        return cls(k, b, torch.where(count > capacity, math.nan, inverse))

    def parts(self, capacity: int | None) -> Iterator[Self]:
        """Yield parts of at most ``capacity`` rows."""
        size = capacity or len(self.k)
        if len(self.k) <= size:
            yield from [self] if len(self.k) else []
            return
        for first in range(0, len(self.k), size):
            part = slice(first, first + size)
            yield type(self)(self.k[part], self.b[part], self.inverse[part])

    def padded(self, capacity: int) -> Self:
        """Repeat the last row with weight 0 to a multiple of ``capacity`` rows, unless there is no row."""
        missing = -len(self.k) % capacity
        k, b = (torch.cat([each, each[-1:].expand(missing)]) for each in (self.k, self.b))
        return type(self)(k, b, torch.cat([self.inverse, self.inverse.new_zeros(missing)]))


class ScreenedRows:
    """The rows of a batch that are kept, each with probability p and weight 1/p.

    The row weights are functions of the first pass's log-weights, fixed before rows are chosen. If the first pass is
    approximate, the weights come from approximate and exact log-weights and are corrected on a few random examples,
    which are chosen independently. Given the kept rows, the corrected weights then have the expectation of the exact
    weights; and the choice of rows depends on the first pass alone. In both cases the gradients have exactly the
    expectation of the dense gradients.

    Args:
        batch: the examples.
        weigh: computes row weights from log-weights.
        screening: settings of the screening.

    Raises:
        TypeError: the batch has only noise, and no random numbers to choose rows by.

    Attributes:
        log_w: log-weights, shape (K, B), nats, from the first pass; mixed with exact ones if it was approximate.
        weights: row weights computed from the log-weights, and corrected.
    """

    def __init__(self, batch: Batch, weigh: Weigh, screening: Screening) -> None:
        if not isinstance(batch.draws, Draws):
            message = f"screening chooses rows at random, but {type(batch.draws).__name__} has only noise"
            raise TypeError(message)
        self._first = batch.log_weights(k_chunk=screening.k_chunk, precision=screening.precision)
        self._batch, self._screening, self._draws = batch, screening, batch.draws
        # Rows of earlier weights, if one pass has them all.
        self._known: tuple[_Kept, RowPass] | None = None
        self._keep(weigh)

    def also(self, weigh: Weigh) -> Self:
        """Return rows kept for other weights, with the same first pass and the same random numbers.

        Most of them are kept for these weights too. Their forward and backward pass serves for both.
        """
        other = object.__new__(type(self))
        other._batch, other._screening, other._draws = self._batch, self._screening, self._draws
        other._first = self._first
        other._known = (self._kept, self._only) if self._only is not None and not self._screening.pad else None
        other._keep(weigh)
        return other

    def _keep(self, weigh: Weigh) -> None:
        self._only: RowPass | None = None
        exact = self._screening.precision is Precision.FLOAT32
        # The values beside the gradients are not computed from approximate log-weights.
        weights = weigh(self._first, values=exact)
        self._kept = self._chosen(weights)
        if exact:
            self.log_w, self.weights = self._first, weights
            return
        del weights  # free them before arrays of the same size are made
        kept, of_kept = self._kept, self._exact()
        if kept.known:  # the weights must not depend on rows that are known but not kept
            there = kept.inverse != 0.0
            kept, of_kept = _Kept(kept.k[there], kept.b[there], kept.inverse[there]), of_kept[there]
        self.log_w = mixed_log_weights(self._first, kept.k, kept.b, of_kept, kept.inverse)
        self.weights = self._corrected(weigh)

    def _chosen(self, weights: RowWeights) -> _Kept:
        """Draw rows by their weights."""
        screening = self._screening
        arrays = (weights.model, weights.path, weights.square, weights.path_scale)
        probability = keep_probabilities([each for each in arrays if each is not None], screening.inflation)
        keep = self._draws.keep(probability)
        if screening.repeated and screening.capacity:
            return _Kept.first(keep, probability, screening.capacity)
        if self._known:
            kept = self._known[0].with_known(keep, probability)
            if screening.capacity is None or len(kept.k) <= screening.capacity:
                return kept
        kept = _Kept.of(keep, probability)
        return kept.padded(screening.capacity) if screening.pad and screening.capacity and len(kept.k) else kept

    def _corrected(self, weigh: Weigh) -> RowWeights:
        """Return weights at mixed log-weights, corrected to the expectation of weights at exact ones."""
        weights = weigh(self.log_w)
        chosen, rates = self._examples_to_correct()
        if not len(chosen):
            return weights
        exact = self._batch.of(chosen).log_weights(k_chunk=self._screening.k_chunk)
        return weights.corrected(chosen, rates, weigh(exact))

    def _examples_to_correct(self) -> tuple[Tensor, Tensor]:
        """Return examples to correct, int64, (E,), and how many times their correction counts, float64, (E,)."""
        examples = self._batch.examples
        chosen = self._draws.choose(CORRECTION_RATE, examples)
        size = correction_capacity(examples)
        if not self._screening.repeated:
            count = len(chosen.nonzero())
            size = max(size, count) if self._screening.pad else count
        # The chosen examples first, then others, whose correction counts 0 times.
        first = torch.argsort((~chosen).to(torch.int8), stable=True)[:size]
        times = chosen[first].double() / CORRECTION_RATE
        return first, torch.where(chosen.sum() > size, math.nan, times)

    def _passes(self) -> Iterator[tuple[_Kept, RowPass]]:
        """Yield forward passes of the kept rows, ready for backward. A single pass is stored for its second use."""
        parts = list(self._kept.parts(self._screening.capacity))
        # A repeated step must not look at the rows' numbers on the host.
        chunk = None if self._screening.repeated else self._screening.k_chunk
        for part in parts:
            made = self._only or self._pass(part, chunk)
            if len(parts) == 1:
                self._only = made
            yield part, made

    def _pass(self, kept: _Kept, chunk: int | None) -> RowPass:
        """Return a forward pass over rows, in which known rows have the pass that they have."""
        known, rest = kept.known, len(kept.k) - kept.known
        if not known:
            return self._batch.rows(kept.k, kept.b, k_chunk=chunk)
        assert self._known is not None
        _, earlier = self._known
        if not rest:
            return earlier
        more = self._batch.rows(kept.k[known:], kept.b[known:], k_chunk=chunk)
        return JoinedPasses([earlier, more], [known, rest], axis=1)

    def _exact(self) -> Tensor:
        """Compute log-weights of the kept rows in full precision, shape (R,)."""
        found = [rows.log_w[0] for _, rows in self._passes()]
        return torch.cat(found) if found else self._first.new_empty(0)

    def sums(self, weights: RowWeights) -> Sums:
        """Compute weighted sums: over the kept rows, and over all rows for the score, which needs no decoder."""
        parts = (rows.sums(weights.rows(part.k, part.b, part.inverse)) for part, rows in self._passes())
        # A batch that is not finite may have no kept rows.
        total = next(parts, None) or self._batch.zero(weights)
        for part in parts:
            total.add(part)
        if weights.has_score:
            for first, count in chunks(self._batch.draws.k, self._screening.k_chunk):
                total.add_posterior(self._batch.score_sums(first, weights.samples(first, count)))
        return total
