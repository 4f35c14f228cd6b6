"""The base class of objectives: a value computed from log-weights, and the weight arrays of its gradient."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Self

from torch import Tensor

from dregcli.engine.weights import leave_one_out_logsumexp, log_one_minus_normalised, normalised


@dataclass(frozen=True)
class Terms:
    """An objective at given log-weights. All directions are ascent; every array except ``value`` is (K, B).

    Theta are the model's parameters and phi the posterior's. The gradient of the objective is

        theta:  sum_k model_k * d log w_k / d theta
        phi:    sum_k path_k * (d log w_k / d z_k, q's parameters held fixed) * d z_k / d phi
              + sum_k score_k * d log q(z_k | x) / d phi      (z_k held fixed)

    Attributes:
        log_w: log-weights, shape (K, B), nats.
        value: the value that is maximised, shape (B,), nats per example. It is not always a bound.
        model: weight of each sample in theta's gradient.
        path: weight of each sample's reparameterised path in phi's gradient.
        score: weight of each sample's score in phi's gradient.
        dscore: d score_k / d log w_k. The double-reparameterisation rule turns a score weight into this
            path weight with the same expectation (arXiv 1810.04152, section 3.1; arXiv 2101.11046).
        dmodel: d model_k / d log w_k, from which the gradient along samples of the prior is made (arXiv 2101.11046).
        kl_weight: how much of log p(z) - log q(z | x) the log-weights have; less than 1 only during a KL warm-up.
        dscore_by_partner: d score_k / d log w_k', where k' is the partner of an antithetic sample; None if samples
            are independent, or if the derivative is not known.
    """

    log_w: Tensor
    value: Tensor
    model: Tensor
    path: Tensor
    score: Tensor
    dscore: Tensor
    dmodel: Tensor
    kl_weight: float = 1.0
    dscore_by_partner: Tensor | None = None

    @cached_property
    def v(self) -> Tensor:
        """The normalised weights, which several estimators share."""
        return normalised(self.log_w)

    @cached_property
    def others(self) -> Tensor:
        """The log of the sum of the other samples' weights."""
        return leave_one_out_logsumexp(self.log_w)

    @cached_property
    def log_rest(self) -> Tensor:
        """log(1 - v)."""
        return log_one_minus_normalised(self.log_w)

    def tempered(self, kl_weight: float) -> "Terms":
        """Return the terms at log-weights log p(x | z) + beta (log p(z) - log q(z | x)), where beta is ``kl_weight``.

        The objective then depends on log q only through beta log q. So the weight of the score, which is the
        objective's own dependence on log q, is beta times as large. The path needs no factor: it goes along the
        derivative of the tempered log-weight.
        """
        return replace(
            self,
            score=kl_weight * self.score,
            dscore=kl_weight * self.dscore,
            kl_weight=kl_weight,
            dscore_by_partner=None if self.dscore_by_partner is None else kl_weight * self.dscore_by_partner,
        )


@dataclass(frozen=True)
class ObjectiveFormula:
    """The weights of an objective in the field's notation, as shown by ``dreg estimators``.

    ``dregcli.engine.formulas.SYMBOLS`` explains the symbols; the tests evaluate the strings and compare them with the
    arrays.

    Attributes:
        model: weight of theta's gradient.
        path: weight of the reparameterised path.
        score: weight of the score.
        dreg: path + dscore, the path weight after the double-reparameterisation rule has removed the score.
    """

    model: str
    path: str
    score: str
    dreg: str


class Objective(ABC):
    """An objective: a frozen dataclass whose fields are its parameters.

    Attributes:
        name: the name that the user types.
        reference: short reference to its source.
        cites: keys in ``references.bib`` of the works that a user of the objective cites.
        formula: formulas of its weights, for display.
        is_function: whether the objective is one scalar function F of an example's log-weights, for both theta and
            phi.
        has_path: whether phi's gradient has a path. For rws it has none: there is only the score.
        can_be_tempered: whether its gradient is known if the KL part of the log-weights has less weight than 1.
        has_partners: whether ``dscore_by_partner`` is known.
        rises_with_k: whether its value is known to be a lower bound of log p(x) whose expectation never falls as K
            grows. Then a gain of the value by more samples is a tighter bound.
        written_if_set: parameters that a word has only where they differ from their defaults. They were added after
            runs had been kept, whose words and hashes must stay the same.
        fitted_fields: fields that are no parameters of its word. They hold numbers that are fitted to log-weights
            between the steps of a training: they are state, which is kept in checkpoints.
    """

    name: ClassVar[str]
    reference: ClassVar[str]
    cites: ClassVar[tuple[str, ...]]
    formula: ClassVar[ObjectiveFormula]
    is_function: ClassVar[bool] = False
    has_path: ClassVar[bool] = True
    can_be_tempered: ClassVar[bool] = True
    has_partners: ClassVar[bool] = False
    rises_with_k: ClassVar[bool] = False
    written_if_set: ClassVar[tuple[str, ...]] = ()
    fitted_fields: ClassVar[tuple[str, ...]] = ()

    @property
    def smallest_k(self) -> int:
        """The smallest number of samples for which the objective is defined."""
        return 1

    @property
    def dreams(self) -> float:
        """Share of phi's update that follows samples of the model itself, from 0 to 1.

        The weights of ``terms`` are those of the rest. The step adds this share of the gradient of
        E_{p(x, z)} log q(z | x), which has no weights.
        """
        return 0.0

    @property
    def of_theta(self) -> "Objective":
        """The objective whose weights of theta it has: itself, unless phi alone follows it."""
        return self

    @property
    def fitted_names(self) -> tuple[str, ...]:
        """The names of the numbers that are fitted to log-weights; most objectives have none."""
        return ()

    @property
    def fitted_values(self) -> dict[str, float]:
        """The numbers that are fitted, by name; empty before the first fit."""
        return {}

    @property
    def unfitted(self) -> str | None:
        """The reason why it has no value yet, with the way out, if its numbers are not fitted; otherwise None."""
        return None

    def refitted_every(self, steps_per_epoch: int) -> int | None:
        """Return the number of steps from one fit of a training to the next; None if nothing is fitted."""
        return None

    def fitted(self, log_w: Tensor) -> Self:
        """Return the objective with its numbers fitted to log-weights of shape (K, N), in nats."""
        return self

    def with_fitted(self, values: Mapping[str, float]) -> Self:
        """Return the objective with other fitted numbers, by the names of ``fitted_names``."""
        return self

    def faults(self, k: int) -> list[str]:
        """Return the faults of its parameters, alone or with ``k`` samples, except that ``k`` is too small."""
        return []

    @abstractmethod
    def terms(self, log_w: Tensor) -> Terms:
        """Compute the value and weight arrays at float64 log-weights of shape (K, B)."""

    def dscore_by_partner(self, log_w: Tensor) -> Tensor | None:
        """Compute d score_k / d log w_k' for the partner k' of each antithetic sample, shape (K, B), or return None.

        For a function F it is -F_kk', minus the mixed second derivative.

        Args:
            log_w: float64, shape (K, B) with an even K, nats.
        """
        return None

    def value(self, log_w: Tensor) -> Tensor:
        """Compute only the value of ``terms``, with less work where possible; shape (B,), nats."""
        return self.terms(log_w).value

    @abstractmethod
    def is_linear(self, k: int) -> bool:
        """Whether dscore is 0 everywhere with ``k`` samples, so that dropping the score causes no bias."""

    @classmethod
    def settings(cls, k: int) -> tuple[Self, ...]:
        """Return parameter settings worth checking with ``k`` samples; the contract tests run all of them."""
        return (cls(),)


class FunctionObjective(Objective):
    """An objective that is one scalar function F of an example's K log-weights."""

    is_function: ClassVar[bool] = True

    @abstractmethod
    def replaced(self, log_w: Tensor, replacement: Tensor) -> Tensor:
        """Compute F for every k, with the k-th log-weight replaced by ``replacement[k]`` and the others unchanged.

        Args:
            log_w: float64, shape (K, B), nats.
            replacement: float64, shape (K, B), nats.

        Returns:
            Shape (K, B), nats.
        """


def terms_of_function(log_w: Tensor, value: Tensor, first: Tensor, second: Tensor) -> Terms:
    """Return the terms of an objective that is one scalar function F of an example's K log-weights.

    Args:
        log_w: log-weights, shape (K, B).
        value: F, shape (B,), nats per example.
        first: dF / d log w_k, shape (K, B).
        second: d2F / d log w_k^2, the diagonal only, shape (K, B).
    """
    return Terms(log_w, value, model=first, path=first, score=-first, dscore=-second, dmodel=second)
