"""A convex combination of the ELBO and the importance-weighted bound."""

from dataclasses import dataclass
from typing import ClassVar, Self

from torch import Tensor

from dregcli.engine.objectives.base import FunctionObjective, ObjectiveFormula, Terms, terms_of_function
from dregcli.engine.objectives.elbo import Elbo
from dregcli.engine.objectives.iwae import Iwae


@dataclass(frozen=True)
class Ciwae(FunctionObjective):
    """The objective beta * ELBO + (1 - beta) * IWAE.

    Reference: Rainforth et al., arXiv 1802.04537, section 5.
    """

    name: ClassVar[str] = "ciwae"
    reference: ClassVar[str] = "arXiv 1802.04537, section 5"
    cites: ClassVar[tuple[str, ...]] = ("rainforth2018tighter",)
    formula: ClassVar[ObjectiveFormula] = ObjectiveFormula(
        "beta/K + (1-beta)*v", "beta/K + (1-beta)*v", "-beta/K - (1-beta)*v", "beta/K + (1-beta)*v^2"
    )
    has_partners: ClassVar[bool] = True
    rises_with_k: ClassVar[bool] = True

    beta: float = 0.5

    def faults(self, k: int) -> list[str]:
        """Check that beta is in [0, 1]."""
        return [] if 0.0 <= self.beta <= 1.0 else [f"beta must be from 0 to 1, got {self.beta:g}."]

    def terms(self, log_w: Tensor) -> Terms:
        """Compute F_k = beta/K + (1 - beta) v_k and F_kk = (1 - beta)(v_k - v_k^2), shape (K, B)."""
        elbo, iwae = Elbo().terms(log_w), Iwae().terms(log_w)
        first = self.beta * elbo.path + (1.0 - self.beta) * iwae.path
        return terms_of_function(log_w, self._mixed(elbo.value, iwae.value), first, -(1.0 - self.beta) * iwae.dscore)

    def dscore_by_partner(self, log_w: Tensor) -> Tensor:
        """Compute (1 - beta) v_k v_k'."""
        return (1.0 - self.beta) * Iwae().dscore_by_partner(log_w)

    def _mixed(self, elbo: Tensor, iwae: Tensor) -> Tensor:
        # At beta = 0 the ELBO is omitted, not multiplied by 0: it is -inf if one weight is 0.
        if self.beta == 0.0:
            return iwae
        return self.beta * elbo + (1.0 - self.beta) * iwae

    def replaced(self, log_w: Tensor, replacement: Tensor) -> Tensor:
        """Combine the replaced values of ELBO and IWAE in the same way."""
        return self._mixed(Elbo().replaced(log_w, replacement), Iwae().replaced(log_w, replacement))

    def is_linear(self, k: int) -> bool:
        """Whether it equals the ELBO, which is linear."""
        return k == 1 or self.beta == 1.0

    @classmethod
    def settings(cls, k: int) -> tuple[Self, ...]:
        """Return both ends and a value between."""
        return tuple(cls(beta) for beta in (0.0, 0.4, 1.0))
