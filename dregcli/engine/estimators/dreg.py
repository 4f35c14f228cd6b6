"""Doubly reparameterised gradients, for any objective."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from dregcli.engine.estimators.base import Coefficients, Estimator, Formula
from dregcli.engine.objectives import Objective, Terms
from dregcli.names import Promise


@dataclass(frozen=True)
class Dreg(Estimator):
    """The score weight s_k is turned into the path weight d s_k / d log w_k, with the same expectation.

    For IWAE that is path v_k + (v_k^2 - v_k) = v_k^2.

    Reference: Tucker, Lawson, Gu, Maddison, arXiv 1810.04152, equations 5 and 8.
    """

    name: ClassVar[str] = "dreg"
    reference: ClassVar[str] = "arXiv 1810.04152, eqs. 5 and 8"
    cites: ClassVar[tuple[str, ...]] = ("tucker2019dreg",)

    def uses_path(self, objective: Objective) -> bool:
        """Always: what has no path gets one from its score."""
        return True

    def uses_score(self, objective: Objective) -> bool:
        """Never."""
        return False

    def coefficients(self, objective: Objective, terms: Terms) -> Coefficients:
        """(model, path + dscore, 0)."""
        return Coefficients(terms.model, terms.path + terms.dscore, torch.zeros_like(terms.score))

    def promise(self, objective: Objective, k: int) -> Promise:
        """Unbiased for every objective: the rule keeps the expectation."""
        return Promise.UNBIASED

    def formula(self, objective: Objective) -> Formula:
        """The objective's, after the rule."""
        return Formula(objective.formula.model, objective.formula.dreg, "0")
