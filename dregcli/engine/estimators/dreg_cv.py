"""A learned mixture of reparameterised, doubly reparameterised and score-function gradients with baselines."""

import math
from dataclasses import dataclass
from typing import ClassVar, Self

import torch

from dregcli.engine.estimators.base import Coefficients, Formula, IwaeEstimator
from dregcli.engine.objectives import Objective, Terms
from dregcli.names import Promise


@dataclass(frozen=True)
class DregCv(IwaeEstimator):
    """A gradient with four scalars, which are learned during training to make the posterior's squared gradient small.

    ``alpha`` moves weight from the path to the score function with a leave-one-out baseline (as in VIMCO), ``beta``
    from the score to dreg's path; ``gamma`` and ``delta`` weaken the two baselines. The expectation does not depend
    on the scalars. All 0 gives IWAE with a baseline of 1/K; beta = 1 gives dreg; delta = 1 gives reparam.

    Reference: the reference implementation of arXiv 1810.04152 (dreg-cv).
    """

    name: ClassVar[str] = "dreg-cv"
    reference: ClassVar[str] = "code of arXiv 1810.04152"
    cites: ClassVar[tuple[str, ...]] = ("tucker2019dreg",)
    learned: ClassVar[tuple[str, ...]] = ("alpha", "beta", "gamma", "delta")

    alpha: float = 0.0
    beta: float = 0.0
    gamma: float = 0.0
    delta: float = 0.0

    def faults(self) -> list[str]:
        """Check that the scalars are finite."""
        values = {name: getattr(self, name) for name in self.learned}
        return [f"{name} must be finite, got {value}." for name, value in values.items() if not math.isfinite(value)]

    def smallest_k(self, objective: Objective) -> int:
        """Return 2: the leave-one-out baseline needs another sample."""
        return 2

    def coefficients(self, objective: Objective, terms: Terms) -> Coefficients:
        """Compute (v, (1-alpha) v + beta (v^2 - v), alpha (L - (1-gamma) B_k) + (1-beta) ((1-delta)/K - v))."""
        v, baseline = terms.v, terms.others
        own = terms.kl_weight * v  # minus the objective's score
        path = (1.0 - self.alpha) * v + self.beta * terms.kl_weight * (v.square() - v)
        share = (1.0 - self.delta) / v.shape[0]
        score = self.alpha * (terms.value - (1.0 - self.gamma) * baseline) + (1.0 - self.beta) * (share - own)
        return Coefficients(terms.model, path, score)

    def derivatives(self, objective: Objective, terms: Terms) -> dict[str, Coefficients]:
        """Compute the derivatives; the coefficients are linear in each scalar."""
        v, baseline = terms.v, terms.others
        zero = torch.zeros_like(v)
        share = (1.0 - self.delta) / v.shape[0]
        return {
            "alpha": Coefficients(zero, -v, terms.value - (1.0 - self.gamma) * baseline),
            "beta": Coefficients(zero, terms.kl_weight * (v.square() - v), terms.kl_weight * v - share),
            "gamma": Coefficients(zero, zero, self.alpha * baseline),
            "delta": Coefficients(zero, zero, torch.full_like(v, -(1.0 - self.beta) / v.shape[0])),
        }

    def promise(self, objective: Objective, k: int) -> Promise:
        """Promise no bias for any scalars that do not depend on the samples they weight."""
        return Promise.UNBIASED

    def formula(self, objective: Objective) -> Formula:
        """Return the formulas of ``coefficients``."""
        return Formula(
            objective.formula.model,
            "(1-alpha)*v + beta*(v^2 - v)",
            "alpha*(L - (1-gamma)*B) + (1-beta)*((1-delta)/K - v)",
        )

    @classmethod
    def settings(cls) -> tuple[Self, ...]:
        """Return the values where learning starts, and values of which none is 0."""
        return cls(), cls(alpha=0.01, beta=0.5, gamma=0.02, delta=0.5)
