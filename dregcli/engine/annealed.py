"""What annealed chains say of log p(x), and how well they know it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dregcli.engine.weights import effective_sample_size, log_mean_exp


@dataclass(frozen=True)
class Annealed:
    """The chains of some examples.

    Attributes:
        log_weights: of the measured chains, shape (M, B), float64, nats; exp of each has the mean p(x).
        acceptance: mean probability of acceptance over chains and temperatures, shape (B,), float64. Far below the
            0.65 that is aimed at, chains have hardly moved, and the estimate is low.
    """

    log_weights: Tensor
    acceptance: Tensor

    @property
    def log_p(self) -> Tensor:
        """log of the mean weight, shape (B,), nats; a lower bound of log p(x) in expectation."""
        return log_mean_exp(self.log_weights)

    @property
    def ess(self) -> Tensor:
        """Effective sample size of the chains, shape (B,), from 1 to M."""
        return effective_sample_size(self.log_weights)

    @property
    def stderr(self) -> Tensor:
        """Standard error of ``log_p`` by the delta method, shape (B,), nats.

        The weights' standard error over their mean: the root of (M / ESS - 1) / (M - 1). It is of first order, and as
        good as the sample of weights: honest where log-weights vary by less than about 1 nat. It is at most 1,
        at ESS = 1, and then says no more than that the chains disagree. What all chains have missed, none can tell.
        """
        chains = len(self.log_weights)
        return ((chains / self.ess - 1.0).clamp(min=0.0) / (chains - 1)).sqrt()


@dataclass(frozen=True)
class MeanLogP:
    """The mean of log p(x) over examples.

    Attributes:
        value: nats per example.
        stderr: standard error over examples, as that of a bound; None for a single one.
        of_chains: the part of it that the chains' chance makes: what repeating the annealing at these examples would
            vary by, and what the difference from another estimate at the same examples is to be compared with.
        n: examples.
    """

    value: float
    stderr: float | None
    of_chains: float
    n: int


def mean_log_p(parts: Sequence[Annealed]) -> MeanLogP:
    """The mean over the examples of all parts."""
    log_p, stderr = torch.cat([part.log_p for part in parts]), torch.cat([part.stderr for part in parts])
    n = len(log_p)
    return MeanLogP(
        value=float(log_p.mean()),
        stderr=float(log_p.std()) / math.sqrt(n) if n > 1 else None,
        of_chains=float(stderr.square().sum().sqrt()) / n,
        n=n,
    )
