"""The thermodynamic objective's own gradient by the score function, a covariance under each point's weights."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from dregcli.engine.estimators.base import Coefficients, Formula, ScoreEstimator, TvoEstimator
from dregcli.engine.objectives import Objective, Terms
from dregcli.engine.objectives.tvo import Tvo
from dregcli.names import Promise


@dataclass(frozen=True)
class Covariance(ScoreEstimator, TvoEstimator):
    """Score weight sum_j D_j v^j_k [(1 - b_j)(log w_k - m_j) K/(K-1) - 1].

    It estimates the gradient of the exact objective, whose points are expectations and not weighted means of K
    samples. Its expectation approaches that gradient as K grows. At finite K it is the gradient neither of the exact
    objective nor of the K-sample one, so it is biased; only the ELBO (one part, rule left) is the same at every K.

    Reference: Masrani, Le, Wood, arXiv 1907.00031; the factor K/(K-1) is in the code of the paper.
    """

    name: ClassVar[str] = "covariance"
    reference: ClassVar[str] = "arXiv 1907.00031"
    cites: ClassVar[tuple[str, ...]] = ("masrani2019tvo",)

    def smallest_k(self, objective: Objective) -> int:
        """Return 2: one sample has no covariance."""
        return 2

    def coefficients(self, objective: Objective, terms: Terms) -> Coefficients:
        """Compute (model, 0, the weight of the class's formula)."""
        assert isinstance(objective, Tvo)
        k, beta = len(terms.log_w), terms.kl_weight
        score = torch.zeros_like(terms.score)
        for point in objective.points(terms.log_w):
            covariance = (1.0 - beta * point.power) * point.deviation * (k / (k - 1))
            score += point.width * point.v * (covariance - beta)
        return Coefficients(terms.model, torch.zeros_like(terms.path), score)

    def promise(self, objective: Objective, k: int) -> Promise:
        """Promise no bias only where the objective is the ELBO."""
        return Promise.UNBIASED if objective.is_linear(k) else Promise.BIASED

    def formula(self, objective: Objective) -> Formula:
        """Return the formulas of ``coefficients``."""
        return Formula(objective.formula.model, "0", "c")
