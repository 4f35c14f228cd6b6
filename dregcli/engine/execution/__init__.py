"""How gradients are computed from row weights. It knows no objective and no estimator."""

from dataclasses import dataclass
from typing import Protocol, Self

from torch import Tensor

from dregcli.defaults import DEFAULT_INFLATION
from dregcli.engine.execution.batch import Batch
from dregcli.engine.execution.dense import DenseRows
from dregcli.engine.execution.row_pass import Sums
from dregcli.engine.execution.screened import ScreenedRows, Screening
from dregcli.engine.execution.weighing import RowWeights, Weigh
from dregcli.names import Backward, Precision

__all__ = ["Execution", "WeighedRows"]

CAPACITY = 4096
"""Rows in one forward and backward of those that are kept, on a GPU: always so many, missing ones with weight 0."""


class WeighedRows(Protocol):
    """The rows of a batch, with the weights that were made of their log-weights."""

    @property
    def log_w(self) -> Tensor:
        """Log-weights, shape (K, B), nats."""
        ...

    @property
    def weights(self) -> RowWeights:
        """Row weights, with the expectation of those at exact log-weights."""
        ...

    def sums(self, weights: RowWeights) -> Sums:
        """Sums over rows with these weights, or others made of them linearly."""
        ...

    def also(self, weigh: Weigh) -> Self:
        """The same rows with other weights; what was computed before is not touched."""
        ...


@dataclass(frozen=True)
class Execution:
    """How gradients are computed. All ways have the same expectation, and dense ones are the same numbers.

    Attributes:
        backward: dense is every row; screened is those that matter, at random.
        inflation: what screening may add to the second moment of a gradient, as a share of it.
        precision: of the matrix products that screening looks at all rows with.
        k_chunk: samples in one pass over rows; None is all of them at once.
    """

    backward: Backward = Backward.DENSE
    inflation: float = DEFAULT_INFLATION
    precision: Precision = Precision.FLOAT32
    k_chunk: int | None = None

    def rows(self, batch: Batch, weigh: Weigh) -> WeighedRows:
        """The rows of a batch.

        Args:
            batch: the examples.
            weigh: makes row weights of log-weights.
        """
        if self.backward is Backward.DENSE:
            return DenseRows(batch, weigh, k_chunk=self.k_chunk)
        on_gpu = batch.pixels.is_cuda
        whole = None if self.k_chunk is None else self.k_chunk * batch.examples
        screening = Screening(
            self.inflation, self.precision, self.k_chunk, capacity=CAPACITY if on_gpu else whole, pad=on_gpu
        )
        return ScreenedRows(batch, weigh, screening)
