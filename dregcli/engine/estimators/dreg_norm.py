"""Doubly reparameterised weights, normalised to sum to one."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from dregcli.engine.estimators.base import Coefficients, Estimator, Formula
from dregcli.engine.objectives import Objective, Terms
from dregcli.engine.objectives.iwae import Iwae
from dregcli.engine.objectives.rws import Rws
from dregcli.engine.weights import normalised
from dregcli.names import Promise


@dataclass(frozen=True)
class DregNorm(Estimator):
    """Path weights of dreg divided by their sum over samples: v^2 / sum v^2; for rws (v - v^2) / sum (v - v^2).

    Both are computed as softmaxes, of 2 log w and of log w_k + log sum_{j != k} w_j. The quotient would give 0/0 when
    one weight dominates; a softmax does not.

    Reference: the reference implementation of arXiv 1810.04152 (dreg-norm, rws-dreg-norm).
    """

    name: ClassVar[str] = "dreg-norm"
    reference: ClassVar[str] = "code of arXiv 1810.04152"
    cites: ClassVar[tuple[str, ...]] = ("tucker2019dreg",)
    # Its quotients are softmaxes only where all of log q is in the weights.
    can_be_tempered: ClassVar[bool] = False

    def refusal(self, objective: Objective) -> str | None:
        """Refuse every objective except iwae and rws."""
        if isinstance(objective, (Iwae, Rws)):
            return None
        return f"'{self.name}' is defined for objectives 'iwae' and 'rws' only."

    def smallest_k(self, objective: Objective) -> int:
        """Return 2 for rws, since one sample gives 0/0, and 1 for iwae."""
        return 1 if isinstance(objective, Iwae) else 2

    def uses_path(self, objective: Objective) -> bool:
        """Return True: all weight is in the path."""
        return True

    def uses_score(self, objective: Objective) -> bool:
        """Return False: there is no score."""
        return False

    def coefficients(self, objective: Objective, terms: Terms) -> Coefficients:
        """Compute (model, dreg's path divided by its sum, 0)."""
        rest = terms.log_w if isinstance(objective, Iwae) else terms.others
        # The sum is that of the objective's own weights, without the share of the dreams.
        path = (1.0 - objective.dreams) * normalised(terms.log_w + rest)
        return Coefficients(terms.model, path, torch.zeros_like(terms.score))

    def promise(self, objective: Objective, k: int) -> Promise:
        """Promise no bias with one sample, whose weight is 1; otherwise the division changes the expectation.

        With dreams alone there are no weights.
        """
        return Promise.UNBIASED if k == 1 or objective.dreams == 1.0 else Promise.BIASED

    def formula(self, objective: Objective) -> Formula:
        """Return dreg's formula divided by its sum over samples; of rws the part that the wake phase has."""
        path = "v^2 / sum(v^2)" if isinstance(objective, Iwae) else "(1-sleep)*(v - v^2) / sum(v - v^2)"
        return Formula(objective.formula.model, path, "0")
