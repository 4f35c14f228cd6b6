"""Doubly reparameterised gradients, for any objective."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from dregcli.engine.estimators.base import Coefficients, Estimator, Formula
from dregcli.engine.objectives import Objective, Terms
from dregcli.names import Promise


@dataclass(frozen=True)
class Dreg(Estimator):
    """Turn the score weight s_k into the path weight d s_k / d log w_k, which has the same expectation.

    For IWAE the path weight becomes v_k + (v_k^2 - v_k) = v_k^2.

    Reference: Tucker, Lawson, Gu, Maddison, arXiv 1810.04152, equations 5 and 8.
    """

    name: ClassVar[str] = "dreg"
    reference: ClassVar[str] = "arXiv 1810.04152, eqs. 5 and 8"
    cites: ClassVar[tuple[str, ...]] = ("tucker2019dreg",)

    def uses_path(self, objective: Objective) -> bool:
        """Return True: an objective without a path gets one from its score."""
        return True

    def uses_score(self, objective: Objective) -> bool:
        """Return False: the score becomes a path."""
        return False

    def coefficients(self, objective: Objective, terms: Terms) -> Coefficients:
        """Compute (model, path + dscore, 0); with antithetic samples q's mean and deviation have one path each."""
        path, score = terms.path + terms.dscore, torch.zeros_like(terms.score)
        if terms.dscore_by_partner is None:
            return Coefficients(terms.model, path, score)
        by_partner = terms.dscore_by_partner
        return Coefficients(terms.model, path - by_partner, score, path_scale=path + by_partner)

    def promise(self, objective: Objective, k: int) -> Promise:
        """Promise no bias for every objective, since the rule keeps the expectation."""
        return Promise.UNBIASED

    def antithetic_refusal(self, objective: Objective, k: int) -> str | None:
        """Refuse objectives whose score weights have no known derivative by the partner."""
        if objective.has_partners:
            return None
        return f"'{self.name}' has no corrected weights for '{objective.name}'."

    def formula(self, objective: Objective) -> Formula:
        """Return the objective's formulas after the rule."""
        return Formula(objective.formula.model, objective.formula.dreg, "0")
