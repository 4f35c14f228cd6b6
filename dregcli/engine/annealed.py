"""The estimate of log p(x) from annealed chains, and its uncertainty."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dregcli.engine.weights import effective_sample_size, left_out_variance, log_mean_exp


@dataclass(frozen=True)
class Annealed:
    """The chains of some examples.

    Attributes:
        log_weights: log-weights of the measured chains, shape (M, B), float64, nats; exp of each has the mean p(x).
        acceptance: mean probability of acceptance over chains and temperatures, shape (B,), float64. If it is far
            below the target of 0.65, chains have hardly moved, and the estimate is too low.
    """

    log_weights: Tensor
    acceptance: Tensor

    @property
    def log_p(self) -> Tensor:
        """Log of the mean weight, shape (B,), nats; a lower bound of log p(x) in expectation."""
        return log_mean_exp(self.log_weights)

    @property
    def ess(self) -> Tensor:
        """Effective sample size of the chains, shape (B,), from 1 to M."""
        return effective_sample_size(self.log_weights)

    @property
    def stderr(self) -> Tensor:
        """Standard error of ``log_p``, by leaving out each chain in turn, shape (B,), nats.

        Its mean square over examples is right for any weights (see ``left_out_variance``). For a single example whose
        chains differ by much more than 1 nat, the standard error itself is uncertain. If all chains missed a region,
        the standard error does not show it. NaN if only one chain has a weight above 0.
        """
        return left_out_variance(self.log_weights).sqrt()


@dataclass(frozen=True)
class MeanLogP:
    """The mean of log p(x) over examples.

    Attributes:
        value: nats per example.
        stderr: standard error over examples, as for a bound; None for a single example.
        of_chains: the part of ``stderr`` that comes from the chains' random numbers: by this much the mean would vary
            if the annealing were repeated at these examples. Compare a difference from another estimate at the same
            examples with it. None if an example has only one chain with a weight above 0: it is not known then.
        n: number of examples.
    """

    value: float
    stderr: float | None
    of_chains: float | None
    n: int


def mean_log_p(parts: Sequence[Annealed]) -> MeanLogP:
    """Return the mean over the examples of all parts."""
    log_p, stderr = torch.cat([part.log_p for part in parts]), torch.cat([part.stderr for part in parts])
    n, squares = len(log_p), float(stderr.square().sum())
    return MeanLogP(
        value=float(log_p.mean()),
        stderr=float(log_p.std()) / math.sqrt(n) if n > 1 else None,
        of_chains=math.sqrt(squares) / n if math.isfinite(squares) else None,
        n=n,
    )
