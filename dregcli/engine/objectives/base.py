"""What an objective is: a value of the log-weights and the weight arrays of its gradient."""

from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor

from dregcli.names import ObjectiveName


@dataclass(frozen=True)
class Terms:
    """An objective at given log-weights. All directions are ascent; every array but ``value`` is (K, B).

    With theta the model's and phi the posterior's parameters, the gradient of the objective is

        theta:  sum_k model_k * d log w_k / d theta
        phi:    sum_k path_k * (d log w_k / d z_k, q's parameters held fixed) * d z_k / d phi
              + sum_k score_k * d log q(z_k | x) / d phi      (z_k held fixed)

    Attributes:
        value: what is maximised, shape (B,), nats per example.
        model: weight of each sample in theta's gradient.
        path: weight of each sample's reparameterised path in phi's gradient.
        score: weight of each sample's score in phi's gradient.
        dscore: d score_k / d log w_k. The double-reparameterisation rule turns a score weight into this
            path weight with the same expectation (arXiv 1810.04152, section 3.1; arXiv 2101.11046).
    """

    value: Tensor
    model: Tensor
    path: Tensor
    score: Tensor
    dscore: Tensor


def terms_of_function(value: Tensor, first: Tensor, second: Tensor) -> Terms:
    """The terms of an objective that is one scalar function F of an example's K log-weights.

    Args:
        value: F, shape (B,), nats per example.
        first: dF / d log w_k, shape (K, B).
        second: d2F / d log w_k^2, the diagonal only, shape (K, B).
    """
    return Terms(value=value, model=first, path=first, score=-first, dscore=-second)


class Objective(Protocol):
    """An objective: a frozen dataclass whose fields are its parameters."""

    name: ClassVar[ObjectiveName]
    smallest_k: ClassVar[int]

    def terms(self, log_w: Tensor) -> Terms:
        """The objective's value and weight arrays at float64 log-weights of shape (K, B)."""
        ...

    def is_linear(self, k: int) -> bool:
        """Whether dscore is 0 everywhere with ``k`` samples, so that dropping the score costs no bias."""
        ...
