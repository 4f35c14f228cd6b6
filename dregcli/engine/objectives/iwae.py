"""The importance-weighted bound."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from dregcli.engine.objectives.base import Terms, terms_of_function
from dregcli.engine.weights import log_mean_exp, normalised
from dregcli.names import ObjectiveName


@dataclass(frozen=True)
class Iwae:
    """log (1/K) sum_k w_k.

    Reference: Burda, Grosse, Salakhutdinov, arXiv 1509.00519, equation 8.
    """

    name: ClassVar[ObjectiveName] = ObjectiveName.IWAE
    smallest_k: ClassVar[int] = 1

    def terms(self, log_w: Tensor) -> Terms:
        """F_k = v_k and F_kk = v_k - v_k^2 with v the normalised weights, shape (K, B)."""
        v = normalised(log_w)
        return terms_of_function(log_mean_exp(log_w), v, v - v.square())

    def is_linear(self, k: int) -> bool:
        """Linear only with one sample, where it is the ELBO."""
        return k == 1
