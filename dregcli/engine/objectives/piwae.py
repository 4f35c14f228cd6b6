"""The partially importance-weighted objectives: one for the model, one for the posterior."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from torch import Tensor

from dregcli.engine.objectives.base import Objective, ObjectiveFormula, Terms
from dregcli.engine.objectives.iwae import Iwae
from dregcli.engine.objectives.miwae import Miwae, divisors, group_faults
from dregcli.names import ObjectiveName


@dataclass(frozen=True)
class Piwae(Objective):
    """theta ascends the IWAE bound over all K samples, phi the MIWAE bound over M groups of them.

    Reference: Rainforth et al., arXiv 1802.04537, section 5.
    """

    name: ClassVar[ObjectiveName] = ObjectiveName.PIWAE
    reference: ClassVar[str] = "arXiv 1802.04537, section 5"
    formula: ClassVar[ObjectiveFormula] = ObjectiveFormula("v", "v_m/M", "-v_m/M", "v_m^2/M")

    groups: int = 8

    @property
    def smallest_k(self) -> int:
        """One sample a group."""
        return self.groups

    def faults(self, k: int) -> list[str]:
        """The groups must divide the samples."""
        return group_faults(self.groups, k)

    def terms(self, log_w: Tensor) -> Terms:
        """MIWAE's terms with IWAE's model weights; the value is the IWAE bound, theta's objective."""
        iwae = Iwae().terms(log_w)
        return replace(Miwae(self.groups).terms(log_w), value=iwae.value, model=iwae.model)

    def is_linear(self, k: int) -> bool:
        """With one sample a group phi's objective is the ELBO."""
        return k == self.groups

    @classmethod
    def settings(cls, k: int) -> tuple[Self, ...]:
        """Every number of groups there can be, as long as they are few."""
        return tuple(cls(groups) for groups in divisors(k)[:4])
