"""Sticking the landing: the path alone."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from dregcli.engine.estimators.base import Coefficients, Estimator, Expectation, Formula
from dregcli.engine.objectives import Objective, Terms
from dregcli.engine.objectives.iwae import Iwae
from dregcli.names import Promise


@dataclass(frozen=True)
class Stl(Estimator):
    """The path without the score. The score's expectation is 0 for the ELBO, but not for K-sample bounds.

    Reference: Roeder, Wu, Duvenaud, arXiv 1703.09194; its bias for K > 1: arXiv 1810.04152, section 4.
    """

    name: ClassVar[str] = "stl"
    reference: ClassVar[str] = "arXiv 1703.09194"
    cites: ClassVar[tuple[str, ...]] = ("roeder2017stl",)

    def refusal(self, objective: Objective) -> str | None:
        """Refuse objectives without a path: no gradient would be left."""
        return (
            None if objective.has_path else f"'{objective.name}' has no path: '{self.name}' would leave no gradient."
        )

    def uses_score(self, objective: Objective) -> bool:
        """Return False: the score is dropped."""
        return False

    def coefficients(self, objective: Objective, terms: Terms) -> Coefficients:
        """Return (model, path, 0)."""
        return Coefficients(terms.model, terms.path, torch.zeros_like(terms.score))

    def promise(self, objective: Objective, k: int) -> Promise:
        """Promise no bias if the dropped score has expectation 0: for objectives linear in the log-weights."""
        return Promise.UNBIASED if objective.is_linear(k) else Promise.BIASED

    def antithetic_refusal(self, objective: Objective, k: int) -> str | None:
        """Refuse what is biased with independent samples too."""
        return None if objective.is_linear(k) else f"'{self.name}' is biased for '{objective.name}' with any noise."

    def expectation(self, objective: Objective) -> Expectation | None:
        """Return, for IWAE, IWAE's own gradient plus the update of rws."""
        return {"iwae": 1.0, "rws": 1.0} if isinstance(objective, Iwae) else None

    def formula(self, objective: Objective) -> Formula:
        """Return the objective's formulas without the score."""
        return Formula(objective.formula.model, objective.formula.path, "0")
