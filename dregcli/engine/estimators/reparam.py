"""The plain gradient of the objective: path and score together."""

from dataclasses import dataclass
from typing import ClassVar

from dregcli.engine.estimators.base import Coefficients, Estimator, Formula
from dregcli.engine.objectives import Objective, Terms
from dregcli.names import Promise


@dataclass(frozen=True)
class Reparam(Estimator):
    """The objective's own terms, unchanged: the result of automatic differentiation of its value.

    Reference: arXiv 1312.6114; for IWAE arXiv 1509.00519, equation 13.
    """

    name: ClassVar[str] = "reparam"
    reference: ClassVar[str] = "arXiv 1312.6114, 1509.00519 eq. 13"
    cites: ClassVar[tuple[str, ...]] = ("kingma2014vae", "burda2016iwae")

    def coefficients(self, objective: Objective, terms: Terms) -> Coefficients:
        """Return (model, path, score)."""
        return Coefficients(terms.model, terms.path, terms.score)

    def needs_score_identity(self, objective: Objective) -> bool:
        """Return False if there is a path, since the path weight is then minus the score weight."""
        return not objective.has_path

    def promise(self, objective: Objective, k: int) -> Promise:
        """Promise no bias: it is the derivative of the value (for rws, the update itself)."""
        return Promise.UNBIASED

    def antithetic_refusal(self, objective: Objective, k: int) -> str | None:
        """Refuse objectives without a path: their update is the derivative of no value at fixed noise."""
        return None if objective.has_path else f"'{objective.name}' needs independent samples."

    def formula(self, objective: Objective) -> Formula:
        """Return the objective's own formulas."""
        return Formula(objective.formula.model, objective.formula.path, objective.formula.score)
