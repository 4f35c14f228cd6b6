"""Sticking the landing: the path alone."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from dregcli.engine.estimators.base import Coefficients
from dregcli.engine.objectives.base import Objective, Terms
from dregcli.names import EstimatorName, Promise


@dataclass(frozen=True)
class Stl:
    """The score is dropped. Its expectation is 0 for the ELBO, and not for K-sample bounds.

    Reference: Roeder, Wu, Duvenaud, arXiv 1703.09194; its bias for K > 1: arXiv 1810.04152, section 4.
    """

    name: ClassVar[EstimatorName] = EstimatorName.STL
    reference: ClassVar[str] = "arXiv 1703.09194"
    smallest_k: ClassVar[int] = 1
    uses_score: ClassVar[bool] = False

    def coefficients(self, terms: Terms) -> Coefficients:
        """(model, path, 0)."""
        return Coefficients(terms.model, terms.path, torch.zeros_like(terms.score))

    def promise(self, objective: Objective, k: int) -> Promise:
        """Unbiased where the dropped score has expectation 0: objectives linear in the log-weights."""
        return Promise.UNBIASED if objective.is_linear(k) else Promise.BIASED
