"""A batch whose log-weights have less of their KL part: log p(x | z) + beta (log p(z) - log q(z | x)).

Such a log-weight is log w - (1 - beta) r, where r = log p(z) - log q(z | x) is the log-weight of the same samples
under the prior alone. All that an executor asks of a batch is linear in the function that is differentiated. So every
answer is that of the batch minus (1 - beta) times that of the prior's batch, and neither knows of the other.

The score is the gradient of log q itself, and stays as it is: its weights have the factor (``Terms.tempered``).
"""

import copy
from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor

from dregcli.engine.draws import Noise
from dregcli.engine.execution.batch import Batch, Named, RowPass, Sums
from dregcli.engine.execution.weighing import RowWeights
from dregcli.engine.outer import Stacked
from dregcli.names import Precision


class TemperedBatch:
    """A batch at a weight of the KL part.

    Args:
        whole: the batch itself.
        kl_weight: beta, from 0 to 1.
        k_chunk: samples per chunk of r.
    """

    def __init__(self, whole: Batch, kl_weight: float, *, k_chunk: int | None) -> None:
        self._whole, self._prior = whole, whole.prior()
        self._less = 1.0 - kl_weight
        self._k_chunk = k_chunk
        self._known: Tensor | None = None

    @property
    def _ratio(self) -> Tensor:
        """r of all rows, (K, B), nats."""
        if self._known is None:
            self._known = self._prior.log_weights(k_chunk=self._k_chunk)
        return self._known

    def untempered(self, log_w: Tensor) -> Tensor:
        """Return log w from tempered log-weights of all rows."""
        return log_w + self._less * self._ratio

    @property
    def examples(self) -> int:
        """Number of examples, B."""
        return self._whole.examples

    @property
    def device(self) -> torch.device:
        """Device of the rows."""
        return self._whole.device

    @property
    def draws(self) -> Noise:
        """Random numbers of the samples."""
        return self._whole.draws

    @property
    def mixed(self) -> bool:
        """Whether some latents have a path and others have none."""
        return self._whole.mixed

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of each entry of ``Sums.posterior``."""
        return self._whole.shapes

    def drawn(self, draws: Noise) -> Self:
        """Return the same examples with other samples."""
        return self._like(self._whole.drawn(draws))

    def of(self, examples: Tensor) -> Self:
        """Return some of the examples, by their indices."""
        return self._like(self._whole.of(examples))

    def prior(self) -> Batch:
        """Return the same samples with log p(z) in the place of log p(x, z)."""
        return self._prior

    def _like(self, whole: Batch) -> Self:
        other = copy.copy(self)
        other._whole, other._prior, other._known = whole, whole.prior(), None
        return other

    def log_weights(self, *, k_chunk: int | None, precision: Precision = Precision.FLOAT32) -> Tensor:
        """Compute log-weights of all rows, shape (K, B), nats, without a graph."""
        return self._whole.log_weights(k_chunk=k_chunk, precision=precision) - self._less * self._ratio

    def samples(self, first: int, count: int) -> RowPass:
        """Return a forward pass over all rows of some samples."""
        return _TemperedPass(self._whole.samples(first, count), self._prior.samples(first, count), self._less)

    def rows(self, k: Tensor, b: Tensor, *, k_chunk: int | None) -> RowPass:
        """Return a forward pass over chosen rows."""
        whole, prior = (batch.rows(k, b, k_chunk=k_chunk) for batch in (self._whole, self._prior))
        return _TemperedPass(whole, prior, self._less)

    def score_sums(self, first: int, weights: RowWeights) -> Named:
        """Compute the score's sums."""
        return self._whole.score_sums(first, weights)

    def zero(self, weights: RowWeights) -> Sums:
        """Return sums over no rows."""
        return self._whole.zero(weights)

    def through_posterior(self, gradients: Mapping[str, Tensor]) -> list[Named]:
        """Turn gradients of ``Sums.posterior`` into P sets of gradients by phi."""
        return self._whole.through_posterior(gradients)

    def stacked_through_posterior(self, gradients: Mapping[str, Tensor]) -> Stacked:
        """Do the same as ``through_posterior`` in one pass."""
        return self._whole.stacked_through_posterior(gradients)


class _TemperedPass:
    def __init__(self, whole: RowPass, prior: RowPass, less: float) -> None:
        self._whole, self._prior, self._less = whole, prior, less

    @property
    def log_w(self) -> Tensor:
        """Log-weights of the rows; a pass of one chunk is not asked for them."""
        return self._whole.log_w - self._less * self._prior.log_w

    def sums(self, weights: RowWeights) -> Sums:
        """Compute the sums of model and path."""
        total, of_prior = self._whole.sums(weights), self._prior.sums(weights)
        for mine, others in zip(total.model, of_prior.model, strict=True):
            _subtract(mine, others, self._less)
        _subtract(total.posterior, of_prior.posterior, self._less)
        return total

    def score_sums(self, weights: RowWeights) -> Named:
        """Compute the score's sums."""
        return self._whole.score_sums(weights)


def _subtract(total: Named, others: Named, times: float) -> None:
    """Subtract gradients; the prior depends on some parameters only."""
    for name, each in others.items():
        total[name] = total[name] - times * each
