"""Doubly reparameterised weights, normalised to sum to one."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from dregcli.engine.estimators.base import Coefficients, Estimator, Formula, bracketed
from dregcli.engine.objectives import Objective, Terms
from dregcli.engine.objectives.iwae import Iwae
from dregcli.engine.objectives.rws import Rws
from dregcli.engine.weights import leave_one_out_logsumexp, normalised
from dregcli.names import Promise


@dataclass(frozen=True)
class DregNorm(Estimator):
    """dreg's path weights divided by their sum over the samples: v^2 / sum v^2, of rws (v - v^2) / sum (v - v^2).

    Both are softmaxes, of 2 log w and of log w_k + log sum_{j != k} w_j, so that 0/0 cannot arise where the quotient
    would have it: when one weight dominates.

    Reference: the reference implementation of arXiv 1810.04152 (dreg-norm, rws-dreg-norm).
    """

    name: ClassVar[str] = "dreg-norm"
    reference: ClassVar[str] = "code of arXiv 1810.04152"
    cites: ClassVar[tuple[str, ...]] = ("tucker2019dreg",)

    def refusal(self, objective: Objective) -> str | None:
        """Anything but iwae and rws."""
        if isinstance(objective, (Iwae, Rws)):
            return None
        return f"'{self.name}' is defined for objectives 'iwae' and 'rws' only."

    def smallest_k(self, objective: Objective) -> int:
        """Of rws two: with one sample it is 0/0."""
        return 1 if isinstance(objective, Iwae) else 2

    def uses_path(self, objective: Objective) -> bool:
        """Always."""
        return True

    def uses_score(self, objective: Objective) -> bool:
        """Never."""
        return False

    def coefficients(self, objective: Objective, terms: Terms) -> Coefficients:
        """(model, dreg's path over its sum, 0)."""
        rest = terms.log_w if isinstance(objective, Iwae) else leave_one_out_logsumexp(terms.log_w)
        return Coefficients(terms.model, normalised(terms.log_w + rest), torch.zeros_like(terms.score))

    def promise(self, objective: Objective, k: int) -> Promise:
        """With one sample iwae's only weight is 1 either way; else the division costs the expectation."""
        return Promise.UNBIASED if k == 1 else Promise.BIASED

    def formula(self, objective: Objective) -> Formula:
        """dreg's, over its sum."""
        dreg = objective.formula.dreg
        return Formula(objective.formula.model, f"{bracketed(dreg)} / sum({dreg})", "0")
