"""The importance-weighted bound."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dregcli.engine.antithetic import of_partners
from dregcli.engine.objectives.base import FunctionObjective, ObjectiveFormula, Terms, terms_of_function
from dregcli.engine.weights import leave_one_out_logsumexp, log_mean_exp, normalised


@dataclass(frozen=True)
class Iwae(FunctionObjective):
    """The objective log (1/K) sum_k w_k.

    Reference: Burda, Grosse, Salakhutdinov, arXiv 1509.00519, equation 8.
    """

    name: ClassVar[str] = "iwae"
    reference: ClassVar[str] = "arXiv 1509.00519, eq. 8"
    cites: ClassVar[tuple[str, ...]] = ("burda2016iwae",)
    formula: ClassVar[ObjectiveFormula] = ObjectiveFormula("v", "v", "-v", "v^2")
    has_partners: ClassVar[bool] = True
    rises_with_k: ClassVar[bool] = True

    def terms(self, log_w: Tensor) -> Terms:
        """Compute F_k = v_k and F_kk = v_k - v_k^2 with v the normalised weights, shape (K, B)."""
        v = normalised(log_w)
        return terms_of_function(log_w, log_mean_exp(log_w), v, v - v.square())

    def dscore_by_partner(self, log_w: Tensor) -> Tensor:
        """Compute v_k v_k'."""
        v = normalised(log_w)
        return v * of_partners(v)

    def replaced(self, log_w: Tensor, replacement: Tensor) -> Tensor:
        """Compute the log of the mean of the other weights and the replacement."""
        return torch.logaddexp(leave_one_out_logsumexp(log_w), replacement) - math.log(log_w.shape[0])

    def is_linear(self, k: int) -> bool:
        """Whether there is only one sample: then it equals the ELBO, which is linear."""
        return k == 1
