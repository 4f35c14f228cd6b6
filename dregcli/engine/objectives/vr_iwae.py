"""The variational Renyi importance-weighted bound."""

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from dregcli.engine.antithetic import of_partners
from dregcli.engine.objectives.base import FunctionObjective, ObjectiveFormula, Terms, terms_of_function
from dregcli.engine.objectives.elbo import Elbo
from dregcli.engine.objectives.iwae import Iwae
from dregcli.engine.weights import leave_one_out_sum, log_mean_exp, normalised

_NEAR = 1e-3
"""Powers of weights this close to 1 are computed as 1 plus a small number."""


@dataclass(frozen=True)
class VrIwae(FunctionObjective):
    """The value 1 / (1 - alpha) * log (1/K) sum_k w_k^(1 - alpha): IWAE at alpha 0, the ELBO in the limit alpha 1.

    Reference: Daudel, Benton, Shi, Doucet, arXiv 2210.06226; Li, Turner, arXiv 1602.02311.
    """

    name: ClassVar[str] = "vr-iwae"
    reference: ClassVar[str] = "arXiv 2210.06226, 1602.02311"
    cites: ClassVar[tuple[str, ...]] = ("daudel2023vriwae", "li2016renyi")
    formula: ClassVar[ObjectiveFormula] = ObjectiveFormula("u", "u", "-u", "alpha*u + (1-alpha)*u^2")
    has_partners: ClassVar[bool] = True
    rises_with_k: ClassVar[bool] = True

    alpha: float = 0.5

    def faults(self, k: int) -> list[str]:
        """Check that alpha is in [0, 1]: outside this range the value is not a lower bound."""
        return [] if 0.0 <= self.alpha <= 1.0 else [f"alpha must be from 0 to 1, got {self.alpha:g}."]

    def terms(self, log_w: Tensor) -> Terms:
        """Compute F_k = u_k and F_kk = (1 - alpha)(u_k - u_k^2) with u = softmax((1 - alpha) log w), shape (K, B)."""
        power = 1.0 - self.alpha
        if power == 0.0:
            return Elbo().terms(log_w)
        u = normalised(power * log_w)
        return terms_of_function(log_w, self._value(log_w), u, power * (u - u.square()))

    def dscore_by_partner(self, log_w: Tensor) -> Tensor:
        """Compute (1 - alpha) u_k u_k'."""
        power = 1.0 - self.alpha
        if power == 0.0:
            return Elbo().dscore_by_partner(log_w)
        u = normalised(power * log_w)
        return power * u * of_partners(u)

    def _value(self, log_w: Tensor) -> Tensor:
        power = 1.0 - self.alpha
        far = log_mean_exp(power * log_w) / power
        # Close to alpha = 1 the quotient would lose digits; the mean plus a small correction keeps them.
        centre = log_w.mean(dim=0)
        scaled = power * (log_w - centre)
        near = centre + torch.log1p(torch.expm1(scaled).mean(dim=0)) / power
        return torch.where(scaled.abs().amax(dim=0) < _NEAR, near, far)

    def replaced(self, log_w: Tensor, replacement: Tensor) -> Tensor:
        """Compute the value with each weight replaced in turn, by IWAE of the weights' powers."""
        power = 1.0 - self.alpha
        if power == 0.0:
            return Elbo().replaced(log_w, replacement)
        far = Iwae().replaced(power * log_w, power * replacement) / power
        centre = log_w.mean(dim=0)
        scaled, replacing = power * (log_w - centre), power * (replacement - centre)
        mean = (leave_one_out_sum(torch.expm1(scaled)) + torch.expm1(replacing)) / log_w.shape[0]
        is_near = (scaled.abs().amax(dim=0) < _NEAR) & (replacing.abs().amax(dim=0) < _NEAR)
        return torch.where(is_near, centre + torch.log1p(mean) / power, far)

    def is_linear(self, k: int) -> bool:
        """Whether it equals the ELBO, which is linear."""
        return k == 1 or self.alpha == 1.0

    @classmethod
    def settings(cls, k: int) -> tuple[Self, ...]:
        """Return both ends and a value between."""
        return tuple(cls(alpha) for alpha in (0.0, 0.3, 1.0))
