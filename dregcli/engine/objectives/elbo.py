"""The evidence lower bound, averaged over the K samples."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dregcli.engine.objectives.base import Terms, terms_of_function
from dregcli.names import ObjectiveName


@dataclass(frozen=True)
class Elbo:
    """(1/K) sum_k log w_k.

    Reference: Kingma, Welling, arXiv 1312.6114, equation 7 with K samples.
    """

    name: ClassVar[ObjectiveName] = ObjectiveName.ELBO
    smallest_k: ClassVar[int] = 1

    def terms(self, log_w: Tensor) -> Terms:
        """F_k = 1/K and F_kk = 0, shape (K, B)."""
        first = torch.full_like(log_w, 1.0 / log_w.shape[0])
        return terms_of_function(log_w.mean(dim=0), first, torch.zeros_like(log_w))

    def is_linear(self, k: int) -> bool:
        """Linear in the log-weights at every K."""
        return True
