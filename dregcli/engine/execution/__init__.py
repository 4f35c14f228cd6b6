"""Computation of gradients from row weights. This package knows no objective and no estimator."""

from dataclasses import dataclass
from typing import Protocol, Self

from torch import Tensor

from dregcli.defaults import DEFAULT_INFLATION
from dregcli.engine.draws import Noise
from dregcli.engine.execution.batch import Batch, Sums
from dregcli.engine.execution.dense import DenseRows
from dregcli.engine.execution.screened import ScreenedRows, Screening
from dregcli.engine.execution.sharded import MakeBatch, ShardedRows, Shards
from dregcli.engine.execution.weighing import RowWeights, Weigh
from dregcli.names import Backward, Precision, Shard

__all__ = ["Execution", "WeighedRows"]

CAPACITY = 4096
"""Smallest number of kept rows in one forward and backward pass on a GPU; missing rows have weight 0."""

CAPACITY_SHARE = 16
"""The capacity of a pass on a GPU is at least this part of all rows: far more than are kept where screening pays."""


def gpu_capacity(rows: int) -> int:
    """Return the number of kept rows in one pass on a GPU, out of all rows of a step. It depends on nothing else.

    So every step has the same shapes, and a resumed run computes the same numbers.
    """
    return min(rows, -(-rows // (CAPACITY_SHARE * CAPACITY)) * CAPACITY)


class WeighedRows(Protocol):
    """The rows of a batch, with the weights computed from their log-weights."""

    @property
    def log_w(self) -> Tensor:
        """Log-weights, shape (K, B), nats."""
        ...

    @property
    def weights(self) -> RowWeights:
        """Row weights, with the same expectation as weights at exact log-weights."""
        ...

    def sums(self, weights: RowWeights) -> Sums:
        """Sum over rows with these weights, or with a linear function of them."""
        ...

    def also(self, weigh: Weigh) -> Self:
        """Return the same rows with other weights; earlier results do not change."""
        ...


@dataclass(frozen=True)
class Execution:
    """A way to compute gradients. All ways have the same expectation; all dense ways give the same numbers.

    Attributes:
        backward: dense uses every row; screened uses a random choice of the rows that matter.
        inflation: largest relative increase of a gradient's second moment by screening.
        precision: precision of the matrix products in screening's pass over all rows.
        k_chunk: samples in one pass over rows; None takes all at once.
        repeated: whether the work is recorded and repeated: it has one size and never waits for the device. If it
            would be larger, its gradients are not finite.
        shards: how the rows are divided among ranks; None if this process has them all.
    """

    backward: Backward = Backward.DENSE
    inflation: float = DEFAULT_INFLATION
    precision: Precision = Precision.FLOAT32
    k_chunk: int | None = None
    repeated: bool = False
    shards: Shards | None = None

    @property
    def shares_batch(self) -> bool:
        """Whether ranks share the examples of a step."""
        return self.shards is not None and self.shards.by is Shard.BATCH

    def batch(self, make: MakeBatch, pixels: Tensor, draws: Noise) -> Batch:
        """Return the batch that the rows are of.

        Args:
            make: makes a batch of one process.
            pixels: shape (B, D).
            draws: random numbers of the samples.
        """
        return make(pixels, draws) if self.shards is None else self.shards.batch(make, pixels, draws)

    def rows(self, batch: Batch, weigh: Weigh) -> WeighedRows:
        """Evaluate the rows of a batch.

        Args:
            batch: the examples, as ``batch`` returns them.
            weigh: computes row weights from log-weights.
        """
        found = self._own_rows(batch, weigh)
        return found if self.shards is None else ShardedRows(found, self.shards.ranks)

    def _own_rows(self, batch: Batch, weigh: Weigh) -> DenseRows | ScreenedRows:
        if self.backward is Backward.DENSE:
            return DenseRows(batch, weigh, k_chunk=self.k_chunk)
        pad = batch.device.type == "cuda" or self.repeated
        whole = None if self.k_chunk is None else self.k_chunk * batch.examples
        screening = Screening(
            self.inflation,
            self.precision,
            self.k_chunk,
            capacity=gpu_capacity(batch.draws.k * batch.examples) if pad else whole,
            pad=pad,
            repeated=self.repeated,
        )
        return ScreenedRows(batch, weigh, screening)
