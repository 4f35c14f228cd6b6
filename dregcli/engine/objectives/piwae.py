"""The partially importance-weighted objectives: one for the model, one for the posterior."""

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from dregcli.engine.objectives.base import Objective, ObjectiveFormula, Terms
from dregcli.engine.objectives.iwae import Iwae
from dregcli.engine.objectives.miwae import Grouped, Miwae


@dataclass(frozen=True)
class Piwae(Grouped):
    """Theta ascends the IWAE bound over all K samples, phi the MIWAE bound over M groups of these samples.

    Reference: Rainforth et al., arXiv 1802.04537, section 5.
    """

    name: ClassVar[str] = "piwae"
    reference: ClassVar[str] = "arXiv 1802.04537, section 5"
    cites: ClassVar[tuple[str, ...]] = ("rainforth2018tighter",)
    formula: ClassVar[ObjectiveFormula] = ObjectiveFormula("v", "v_m/M", "-v_m/M", "v_m^2/M")
    has_partners: ClassVar[bool] = True

    @property
    def of_theta(self) -> Objective:
        """The IWAE bound."""
        return Iwae()

    def terms(self, log_w: Tensor) -> Terms:
        """Combine MIWAE's terms with IWAE's model weights; the value is the IWAE bound, theta's objective."""
        iwae = Iwae().terms(log_w)
        return replace(Miwae(self.groups).terms(log_w), value=iwae.value, model=iwae.model, dmodel=iwae.dmodel)

    def dscore_by_partner(self, log_w: Tensor) -> Tensor:
        """Compute that of phi's bound."""
        return Miwae(self.groups).dscore_by_partner(log_w)
