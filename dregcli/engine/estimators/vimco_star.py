"""The score function with VIMCO's baseline minus its constant: variance O(K^-3) without reparameterisation."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from dregcli.engine.estimators.base import Coefficients, Formula, IwaeEstimator, ScoreEstimator
from dregcli.engine.objectives import Objective, Terms
from dregcli.names import Promise


@dataclass(frozen=True)
class VimcoStar(ScoreEstimator, IwaeEstimator):
    """Score weight -log(1 - v) - v: arithmetic VIMCO without its constant log(1 - 1/K); ovis at gamma 0.

    Reference: Lievin, Dittadi, Christensen, Winther, arXiv 2008.01998.
    """

    name: ClassVar[str] = "vimco-star"
    reference: ClassVar[str] = "arXiv 2008.01998"
    cites: ClassVar[tuple[str, ...]] = ("lievin2020ovis",)

    def smallest_k(self, objective: Objective) -> int:
        """Return 2: with one sample 1 - v is 0."""
        return 2

    def coefficients(self, objective: Objective, terms: Terms) -> Coefficients:
        """Compute (v, 0, -log(1 - v) - v)."""
        score = -terms.log_rest - terms.kl_weight * terms.v
        return Coefficients(terms.model, torch.zeros_like(terms.path), score)

    def promise(self, objective: Objective, k: int) -> Promise:
        """Promise no bias, since it differs from VIMCO by a constant times the score."""
        return Promise.UNBIASED

    def formula(self, objective: Objective) -> Formula:
        """Return the formulas of ``coefficients``."""
        return Formula(objective.formula.model, "0", "-log(1-v) - v")
