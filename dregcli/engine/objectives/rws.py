"""Reweighted wake-sleep with the wake-phase update of the posterior."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dregcli.engine.objectives.base import Objective, ObjectiveFormula, Terms
from dregcli.engine.weights import log_mean_exp, log_one_minus_normalised, normalised


@dataclass(frozen=True)
class Rws(Objective):
    """Theta ascends the IWAE bound; phi follows sum_k v_k d log q(z_k | x) / d phi, not the derivative of a function.

    Reference: Bornschein, Bengio, arXiv 1406.2751 (wake-phase update of q).
    """

    name: ClassVar[str] = "rws"
    reference: ClassVar[str] = "arXiv 1406.2751"
    cites: ClassVar[tuple[str, ...]] = ("bornschein2015rws",)
    formula: ClassVar[ObjectiveFormula] = ObjectiveFormula("v", "0", "v", "v - v^2")
    has_path: ClassVar[bool] = False
    # Its posterior follows log q under the weights: no part of that is a KL that could have less weight.
    can_be_tempered: ClassVar[bool] = False

    def terms(self, log_w: Tensor) -> Terms:
        """Compute score v_k, its derivative v_k (1 - v_k), and no path; the value is the IWAE bound for theta."""
        v = normalised(log_w)
        dv = v * log_one_minus_normalised(log_w).exp()
        return Terms(log_w, log_mean_exp(log_w), model=v, path=torch.zeros_like(v), score=v, dscore=dv, dmodel=dv)

    def is_linear(self, k: int) -> bool:
        """Whether there is only one sample: then its weight is always 1."""
        return k == 1
