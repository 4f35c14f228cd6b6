"""The base class of estimators: rules that turn an objective's terms into the weights of its gradient."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from torch import Tensor

from dregcli.engine.objectives import Objective, Terms
from dregcli.engine.objectives.iwae import Iwae
from dregcli.engine.objectives.tvo import Tvo
from dregcli.names import Promise


@dataclass(frozen=True)
class Coefficients:
    """The weights that the executor applies, each detached and of shape (K, B). See ``Terms``.

    Attributes:
        model: weights of theta's gradient.
        path: weights of the path.
        score: weights of the score.
        path_scale: weights of the path by q's standard deviation, with antithetic samples; None if they are ``path``.
    """

    model: Tensor
    path: Tensor
    score: Tensor
    path_scale: Tensor | None = None


@dataclass(frozen=True)
class Formula:
    """A pair's weights in the field's notation; ``dregcli.engine.formulas.SYMBOLS`` explains the symbols."""

    model: str
    path: str
    score: str


def bracketed(formula: str) -> str:
    """Return a formula as an operand of another one: in brackets if it is a sum."""
    return f"({formula})" if " " in formula else formula


Expectation = Mapping[str, float]
"""An expected gradient in phi, as a combination of expected gradients of objectives with default parameters."""


class Estimator(ABC):
    """An estimator: a frozen dataclass whose fields are its parameters.

    Attributes:
        name: the name that the user types.
        reference: short reference to its source.
        cites: keys in ``references.bib`` of the works that a user of the estimator cites.
        can_be_tempered: whether its weights are known if the KL part of the log-weights has less weight than 1.
        own_target: symbol of the target of phi, if it is another than the objective's; otherwise None.
        learned: fields that training changes, by the slopes from ``derivatives``; empty for most estimators.
    """

    name: ClassVar[str]
    reference: ClassVar[str]
    cites: ClassVar[tuple[str, ...]]
    own_target: ClassVar[str | None] = None
    learned: ClassVar[tuple[str, ...]] = ()
    can_be_tempered: ClassVar[bool] = True

    def refusal(self, objective: Objective) -> str | None:
        """Return the reason why it cannot be used with an objective, or None if it can."""
        return None

    def smallest_k(self, objective: Objective) -> int:
        """Return the smallest number of samples for which it is defined; the objective may need more."""
        return 1

    def faults(self) -> list[str]:
        """Return the faults of its parameters."""
        return []

    def uses_path(self, objective: Objective) -> bool:
        """Whether path weights can differ from 0; if not, no sample needs to be reparameterised."""
        return objective.has_path

    def uses_score(self, objective: Objective) -> bool:
        """Whether score weights can differ from 0; if not, no work is spent on them."""
        return True

    def needs_score_identity(self, objective: Objective) -> bool:
        """Whether its expectation needs E_q[d log q / d phi] = 0, so that path and score must be separated.

        It is False if path + score = 0 by construction: then the gradient is the derivative of the value at fixed
        noise.
        """
        return True

    @abstractmethod
    def coefficients(self, objective: Objective, terms: Terms) -> Coefficients:
        """Compute the weights of the gradient from the objective's terms."""

    def derivatives(self, objective: Objective, terms: Terms) -> dict[str, Coefficients]:
        """Compute d coefficients / d parameter for every learned parameter."""
        return {}

    @abstractmethod
    def promise(self, objective: Objective, k: int) -> Promise:
        """Return whether the expected gradient equals the objective's with ``k`` samples."""

    def antithetic_refusal(self, objective: Objective, k: int) -> str | None:
        """Return why it is biased with antithetic pairs among ``k`` samples, or None if it is unbiased.

        An expectation that uses the independence of the samples does not hold for them, as that of a baseline from
        the other samples.
        """
        return f"'{self.name}' needs independent samples."

    def expectation(self, objective: Objective) -> Expectation | None:
        """Return a biased pair's expected gradient in phi, or None if no formula is known."""
        return None

    @property
    def left_out(self) -> int:
        """The number of last samples that theta's gradient leaves out; with 0, it has the objective's weights."""
        return 0

    def with_its_target(self, estimator: "Estimator") -> "Estimator":
        """Return an estimator of this one's targets, made of one that is unbiased for the objective.

        The result is the reference of bias checks. It is the given estimator itself, unless this estimator gives phi
        another target than the objective's.
        """
        return estimator

    @abstractmethod
    def formula(self, objective: Objective) -> Formula:
        """Return the formulas of the pair's weights, for display."""

    @classmethod
    def settings(cls) -> tuple[Self, ...]:
        """Return parameter settings worth checking; the contract tests run all of them."""
        return (cls(),)


class IwaeEstimator(Estimator):
    """An estimator whose formula is defined only for the IWAE bound."""

    def refusal(self, objective: Objective) -> str | None:
        """Refuse every objective except iwae."""
        return None if isinstance(objective, Iwae) else f"'{self.name}' is defined for objective 'iwae' only."


class TvoEstimator(Estimator):
    """An estimator whose formula is defined only for the thermodynamic objective."""

    def refusal(self, objective: Objective) -> str | None:
        """Refuse every objective except tvo."""
        return None if isinstance(objective, Tvo) else f"'{self.name}' is defined for objective 'tvo' only."


class ScoreEstimator(Estimator):
    """An estimator without a path: only the score function, so that samples need not be reparameterisable."""

    def uses_path(self, objective: Objective) -> bool:
        """Return False: there is no path."""
        return False
