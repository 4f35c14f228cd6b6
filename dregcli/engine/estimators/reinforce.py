"""The score function alone, without a baseline."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from dregcli.engine.estimators.base import Coefficients, Formula, ScoreEstimator, bracketed
from dregcli.engine.objectives import Objective, Terms
from dregcli.names import Promise


@dataclass(frozen=True)
class Reinforce(ScoreEstimator):
    """Score weight F - F_k: the value times the score, and the value's own dependence on log q.

    Reference: Williams, Machine Learning 8, 1992; for K samples Mnih, Rezende, arXiv 1602.06725.
    """

    name: ClassVar[str] = "reinforce"
    reference: ClassVar[str] = "Williams 1992; arXiv 1602.06725"
    cites: ClassVar[tuple[str, ...]] = ("williams1992reinforce", "mnih2016vimco")

    def refusal(self, objective: Objective) -> str | None:
        """Refuse objectives that are not a function of the log-weights."""
        return not_a_function(self.name, objective)

    def coefficients(self, objective: Objective, terms: Terms) -> Coefficients:
        """Compute (model, 0, F - F_k)."""
        return Coefficients(terms.model, torch.zeros_like(terms.path), terms.value + terms.score)

    def promise(self, objective: Objective, k: int) -> Promise:
        """Promise no bias, by the log-derivative rule."""
        return Promise.UNBIASED

    def formula(self, objective: Objective) -> Formula:
        """Return the formulas of ``coefficients``."""
        return Formula(objective.formula.model, "0", f"F - {bracketed(objective.formula.path)}")


def not_a_function(estimator: str, objective: Objective) -> str | None:
    """Return the reason why a score-function estimator cannot take an objective, or None if it can."""
    if objective.is_function:
        return None
    return f"'{estimator}' needs one function of the log-weights; '{objective.name}' has no such function."
