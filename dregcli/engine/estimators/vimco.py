"""The score function with a leave-one-out baseline for each sample."""

import math
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from dregcli.engine.estimators.base import Coefficients, Formula, ScoreEstimator, bracketed
from dregcli.engine.estimators.reinforce import not_a_function
from dregcli.engine.objectives import FunctionObjective, Objective, Terms
from dregcli.engine.weights import leave_one_out_sum
from dregcli.names import Promise, VimcoBaseline


@dataclass(frozen=True)
class Vimco(ScoreEstimator):
    """Score weight F - F_r - F_k, where F_r is F with w_k replaced by the mean of the other samples' weights.

    The mean is arithmetic, or geometric as in the paper.

    Reference: Mnih, Rezende, arXiv 1602.06725.
    """

    name: ClassVar[str] = "vimco"
    reference: ClassVar[str] = "arXiv 1602.06725"
    cites: ClassVar[tuple[str, ...]] = ("mnih2016vimco",)

    baseline: VimcoBaseline = VimcoBaseline.ARITHMETIC

    def refusal(self, objective: Objective) -> str | None:
        """Refuse objectives that are not a function of the log-weights."""
        return not_a_function(self.name, objective)

    def smallest_k(self, objective: Objective) -> int:
        """Return 2: there must be another sample."""
        return 2

    def _replacement(self, terms: Terms) -> Tensor:
        others = terms.log_w.shape[0] - 1
        if self.baseline is VimcoBaseline.GEOMETRIC:
            return leave_one_out_sum(terms.log_w) / others
        return terms.others - math.log(others)

    def coefficients(self, objective: Objective, terms: Terms) -> Coefficients:
        """Compute (model, 0, F - F_r - F_k)."""
        assert isinstance(objective, FunctionObjective)
        signal = terms.value - objective.replaced(terms.log_w, self._replacement(terms))
        return Coefficients(terms.model, torch.zeros_like(terms.path), signal + terms.score)

    def promise(self, objective: Objective, k: int) -> Promise:
        """Promise no bias, since a sample's baseline does not depend on the sample."""
        return Promise.UNBIASED

    def formula(self, objective: Objective) -> Formula:
        """Return the formulas of ``coefficients``."""
        return Formula(objective.formula.model, "0", f"F - F_r - {bracketed(objective.formula.path)}")

    @classmethod
    def settings(cls) -> tuple[Self, ...]:
        """Return a setting for each mean."""
        return tuple(cls(baseline) for baseline in VimcoBaseline)
