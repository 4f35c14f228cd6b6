"""The plain reparameterised gradient: path and score together."""

from dataclasses import dataclass
from typing import ClassVar

from dregcli.engine.estimators.base import Coefficients
from dregcli.engine.objectives.base import Objective, Terms
from dregcli.names import EstimatorName, Promise


@dataclass(frozen=True)
class Reparam:
    """The objective's own terms, unchanged: what automatic differentiation of its value gives.

    Reference: arXiv 1312.6114; for IWAE arXiv 1509.00519, equation 13.
    """

    name: ClassVar[EstimatorName] = EstimatorName.REPARAM
    reference: ClassVar[str] = "arXiv 1312.6114, 1509.00519"
    smallest_k: ClassVar[int] = 1
    uses_score: ClassVar[bool] = True

    def coefficients(self, terms: Terms) -> Coefficients:
        """(model, path, score)."""
        return Coefficients(terms.model, terms.path, terms.score)

    def promise(self, objective: Objective, k: int) -> Promise:
        """Unbiased for every objective: it is the derivative of the value."""
        return Promise.UNBIASED
