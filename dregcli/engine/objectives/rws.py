"""Reweighted wake-sleep: the wake-phase update of the posterior, the sleep-phase update, or a mix of both."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dregcli.engine.objectives.base import Objective, ObjectiveFormula, Terms
from dregcli.engine.objectives.iwae import Iwae
from dregcli.engine.weights import log_mean_exp, log_one_minus_normalised, normalised


@dataclass(frozen=True)
class Rws(Objective):
    """Theta ascends the IWAE bound; phi follows sum_k v_k d log q(z_k | x) / d phi, not the derivative of a function.

    That is the wake phase. A share ``sleep`` of phi's update comes from the sleep phase instead: it ascends
    E_{p(x, z)} log q(z | x) on samples of the model, as many as the batch has examples. Theta is the same.

    Reference: Bornschein, Bengio, arXiv 1406.2751, section 3; the mix: Le et al., arXiv 1805.10469.

    Attributes:
        sleep: share of the sleep phase in phi's update, from 0 to 1.
    """

    name: ClassVar[str] = "rws"
    reference: ClassVar[str] = "arXiv 1406.2751"
    cites: ClassVar[tuple[str, ...]] = ("bornschein2015rws",)
    formula: ClassVar[ObjectiveFormula] = ObjectiveFormula("v", "0", "(1-sleep)*v", "(1-sleep)*(v - v^2)")
    has_path: ClassVar[bool] = False
    rises_with_k: ClassVar[bool] = True
    # Its posterior follows log q under the weights: no part of that is a KL that could have less weight.
    can_be_tempered: ClassVar[bool] = False
    written_if_set: ClassVar[tuple[str, ...]] = ("sleep",)

    sleep: float = 0.0

    @property
    def dreams(self) -> float:
        """The share of the sleep phase."""
        return self.sleep

    @property
    def of_theta(self) -> Objective:
        """The IWAE bound."""
        return Iwae()

    def faults(self, k: int) -> list[str]:
        """Check that sleep is in [0, 1]."""
        return [] if 0.0 <= self.sleep <= 1.0 else [f"sleep must be from 0 to 1, got {self.sleep:g}."]

    def terms(self, log_w: Tensor) -> Terms:
        """Compute score (1 - sleep) v_k, its derivative, and no path; the value is the IWAE bound for theta."""
        v = normalised(log_w)
        dv = v * log_one_minus_normalised(log_w).exp()
        wake = 1.0 - self.sleep
        value, nothing = log_mean_exp(log_w), torch.zeros_like(v)
        return Terms(log_w, value, model=v, path=nothing, score=wake * v, dscore=wake * dv, dmodel=dv)

    def is_linear(self, k: int) -> bool:
        """Whether there is only one sample, whose weight is always 1, or no wake phase."""
        return k == 1 or self.sleep == 1.0
