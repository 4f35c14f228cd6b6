"""The score function with the asymptotically optimal baseline; unbiased at gamma 0."""

import math
from dataclasses import dataclass
from typing import ClassVar, Self

import torch

from dregcli.engine.estimators.base import Coefficients, Expectation, Formula, IwaeEstimator, ScoreEstimator
from dregcli.engine.objectives import Objective, Terms
from dregcli.names import Promise


@dataclass(frozen=True)
class Ovis(ScoreEstimator, IwaeEstimator):
    """Score weight gamma log(1 - 1/K) - log(1 - v) - (1 - gamma) v; its mean is IWAE's plus gamma times rws's update.

    Reference: Lievin, Dittadi, Christensen, Winther, arXiv 2008.01998.
    """

    name: ClassVar[str] = "ovis"
    reference: ClassVar[str] = "arXiv 2008.01998"
    cites: ClassVar[tuple[str, ...]] = ("lievin2020ovis",)

    gamma: float = 0.0

    def faults(self) -> list[str]:
        """Check that gamma is in [0, 1]."""
        return [] if 0.0 <= self.gamma <= 1.0 else [f"gamma must be from 0 to 1, got {self.gamma:g}."]

    def smallest_k(self, objective: Objective) -> int:
        """Return 2: with one sample 1 - v is 0."""
        return 2

    def coefficients(self, objective: Objective, terms: Terms) -> Coefficients:
        """Compute (v, 0, gamma log(1 - 1/K) - log(1 - v) - (1 - gamma) v)."""
        v = terms.v
        constant = self.gamma * math.log1p(-1.0 / v.shape[0])
        score = constant - terms.log_rest - (terms.kl_weight - self.gamma) * v
        return Coefficients(terms.model, torch.zeros_like(terms.path), score)

    def promise(self, objective: Objective, k: int) -> Promise:
        """Promise no bias only at gamma 0, where it equals vimco-star."""
        return Promise.UNBIASED if self.gamma == 0.0 else Promise.BIASED

    def expectation(self, objective: Objective) -> Expectation | None:
        """Return IWAE's gradient plus gamma times rws's update; at gamma 1 it equals stl's expectation."""
        return {"iwae": 1.0, "rws": self.gamma}

    def formula(self, objective: Objective) -> Formula:
        """Return the formulas of ``coefficients``."""
        return Formula(objective.formula.model, "0", "gamma*log(1-1/K) - log(1-v) - (1-gamma)*v")

    @classmethod
    def settings(cls) -> tuple[Self, ...]:
        """Return both ends and a value between."""
        return tuple(cls(gamma) for gamma in (0.0, 0.25, 1.0))
