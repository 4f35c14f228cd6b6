"""A convex combination of the doubly reparameterised IWAE and RWS gradients."""

from dataclasses import dataclass
from typing import ClassVar, Self

import torch

from dregcli.engine.estimators.base import Coefficients, Expectation, Formula, IwaeEstimator
from dregcli.engine.objectives import Objective, Terms
from dregcli.names import Promise


@dataclass(frozen=True)
class DregAlpha(IwaeEstimator):
    """The mixture (1 - alpha) iwae/dreg + alpha rws/dreg: the first at alpha 0, the second at 1, half of stl at 0.5.

    Reference: arXiv 1810.04152 and its code (the code's default is alpha = 0.9).
    """

    name: ClassVar[str] = "dreg-alpha"
    reference: ClassVar[str] = "code of arXiv 1810.04152"
    cites: ClassVar[tuple[str, ...]] = ("tucker2019dreg",)

    alpha: float = 0.9

    def faults(self) -> list[str]:
        """Check that alpha is in [0, 1]."""
        return [] if 0.0 <= self.alpha <= 1.0 else [f"alpha must be from 0 to 1, got {self.alpha:g}."]

    def uses_score(self, objective: Objective) -> bool:
        """Return False: there is no score."""
        return False

    def coefficients(self, objective: Objective, terms: Terms) -> Coefficients:
        """Compute (v, (1 - alpha) v^2 + alpha v (1 - v), 0)."""
        v = terms.v
        rws = v * terms.log_rest.exp()
        # During a KL warm-up, iwae/dreg's weight is v + beta (v^2 - v).
        dreg = v.square() + (1.0 - terms.kl_weight) * (v - v.square())
        path = (1.0 - self.alpha) * dreg + self.alpha * rws
        return Coefficients(terms.model, path, torch.zeros_like(terms.score))

    def promise(self, objective: Objective, k: int) -> Promise:
        """Promise no bias only at alpha 0, where it equals dreg."""
        return Promise.UNBIASED if self.alpha == 0.0 else Promise.BIASED

    def expectation(self, objective: Objective) -> Expectation | None:
        """Return the same combination of the two updates."""
        return {"iwae": 1.0 - self.alpha, "rws": self.alpha}

    def formula(self, objective: Objective) -> Formula:
        """Return the formulas of the mixture."""
        return Formula(objective.formula.model, "(1-alpha)*v^2 + alpha*(v - v^2)", "0")

    @classmethod
    def settings(cls) -> tuple[Self, ...]:
        """Return the default, both ends, and 0.5 (half of stl)."""
        return tuple(cls(alpha) for alpha in (0.9, 0.0, 0.5, 1.0))
