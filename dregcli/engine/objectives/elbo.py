"""The evidence lower bound, averaged over the K samples."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dregcli.engine.objectives.base import FunctionObjective, ObjectiveFormula, Terms, terms_of_function
from dregcli.engine.weights import leave_one_out_sum


@dataclass(frozen=True)
class Elbo(FunctionObjective):
    """The objective (1/K) sum_k log w_k.

    Reference: Kingma, Welling, arXiv 1312.6114, equation 7 with K samples.
    """

    name: ClassVar[str] = "elbo"
    reference: ClassVar[str] = "arXiv 1312.6114, eq. 7"
    cites: ClassVar[tuple[str, ...]] = ("kingma2014vae",)
    formula: ClassVar[ObjectiveFormula] = ObjectiveFormula("1/K", "1/K", "-1/K", "1/K")
    has_partners: ClassVar[bool] = True
    rises_with_k: ClassVar[bool] = True

    def terms(self, log_w: Tensor) -> Terms:
        """Compute F_k = 1/K and F_kk = 0, shape (K, B)."""
        first = torch.full_like(log_w, 1.0 / log_w.shape[0])
        return terms_of_function(log_w, log_w.mean(dim=0), first, torch.zeros_like(log_w))

    def dscore_by_partner(self, log_w: Tensor) -> Tensor:
        """Return 0: it is linear."""
        return torch.zeros_like(log_w)

    def replaced(self, log_w: Tensor, replacement: Tensor) -> Tensor:
        """Compute the mean of the other log-weights and the replacement."""
        return (leave_one_out_sum(log_w) + replacement) / log_w.shape[0]

    def is_linear(self, k: int) -> bool:
        """Return True: it is linear in the log-weights at every K."""
        return True
