"""The thermodynamic objective's own gradient by the path, doubly reparameterised."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from dregcli.engine.estimators.base import Coefficients, Formula, TvoEstimator
from dregcli.engine.objectives import Objective, Terms
from dregcli.engine.objectives.tvo import Tvo
from dregcli.names import Promise


@dataclass(frozen=True)
class Double(TvoEstimator):
    """Path weight sum_j D_j v^j_k [(1 - 2 b_j) + b_j (1 - b_j)(log w_k - m_j)].

    It is ``covariance`` without K/(K-1), with its score turned into a path. So it estimates the same gradient, of the
    exact objective, and is biased at finite K; only the ELBO (one part, rule left) is the same at every K.

    Reference: Brekelmans, Masrani, Wood, Ver Steeg, Galstyan, arXiv 2007.00642.
    """

    name: ClassVar[str] = "double"
    reference: ClassVar[str] = "arXiv 2007.00642"
    cites: ClassVar[tuple[str, ...]] = ("brekelmans2020all",)

    def uses_score(self, objective: Objective) -> bool:
        """Return False: the score becomes a path."""
        return False

    def coefficients(self, objective: Objective, terms: Terms) -> Coefficients:
        """Compute (model, the weight of the class's formula, 0)."""
        assert isinstance(objective, Tvo)
        path = torch.zeros_like(terms.path)
        for point in objective.points(terms.log_w):
            power = terms.kl_weight * point.power
            path += point.width * point.v * (1.0 - 2.0 * power + (1.0 - power) * point.tilt)
        return Coefficients(terms.model, path, torch.zeros_like(terms.score))

    def promise(self, objective: Objective, k: int) -> Promise:
        """Promise no bias only where the objective is the ELBO at every K: with one part and rule left."""
        return Promise.UNBIASED if objective.is_linear(2) else Promise.BIASED

    def formula(self, objective: Objective) -> Formula:
        """Return the formulas of ``coefficients``."""
        return Formula(objective.formula.model, "d", "0")
