"""What an estimator is: a rule that turns an objective's terms into the weights of its gradient."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from torch import Tensor

from dregcli.engine.objectives import Objective, Terms
from dregcli.engine.objectives.iwae import Iwae
from dregcli.names import Promise


@dataclass(frozen=True)
class Coefficients:
    """The weights that the executor applies, each detached and of shape (K, B). See ``Terms``."""

    model: Tensor
    path: Tensor
    score: Tensor


@dataclass(frozen=True)
class Formula:
    """A pair's weights in the field's notation; the symbols are those of ``dregcli.engine.formulas.SYMBOLS``."""

    model: str
    path: str
    score: str


def bracketed(formula: str) -> str:
    """A formula as an operand of another: in brackets where it is a sum."""
    return f"({formula})" if " " in formula else formula


Expectation = Mapping[str, float]
"""Expected gradient in phi as a combination of the expected gradients of objectives, without parameters."""


class Estimator(ABC):
    """An estimator: a frozen dataclass whose fields are its parameters.

    Attributes:
        name: as the user types it.
        reference: where it comes from, in a few words.
        cites: the works that a user of it cites, by their keys in ``references.bib``.
        learned: fields that change during training, by what ``derivatives`` says; empty for most.
    """

    name: ClassVar[str]
    reference: ClassVar[str]
    cites: ClassVar[tuple[str, ...]]
    learned: ClassVar[tuple[str, ...]] = ()

    def refusal(self, objective: Objective) -> str | None:
        """Why it cannot take an objective, or None when it can."""
        return None

    def smallest_k(self, objective: Objective) -> int:
        """The fewest samples it is defined with; the objective may need more."""
        return 1

    def faults(self) -> list[str]:
        """What is wrong with its parameters."""
        return []

    def uses_path(self, objective: Objective) -> bool:
        """False where the path weights are 0 by construction: then no sample needs to be reparameterised."""
        return objective.has_path

    def uses_score(self, objective: Objective) -> bool:
        """False where the score weights are 0 by construction: then no work is spent on them."""
        return True

    def needs_score_identity(self, objective: Objective) -> bool:
        """Whether its expectation rests on E_q[d log q / d phi] = 0, so that path and score must be told apart.

        False where path + score = 0 by construction: then it is the derivative of the value at fixed noise.
        """
        return True

    @abstractmethod
    def coefficients(self, objective: Objective, terms: Terms) -> Coefficients:
        """The weights of the gradient, from the objective's terms."""

    def derivatives(self, objective: Objective, terms: Terms) -> dict[str, Coefficients]:
        """d coefficients / d parameter for every learned one."""
        return {}

    @abstractmethod
    def promise(self, objective: Objective, k: int) -> Promise:
        """Whether the expected gradient is that of the objective, with ``k`` samples."""

    def expectation(self, objective: Objective) -> Expectation | None:
        """For a biased pair, its expected gradient in phi where a formula is known; None where there is none."""
        return None

    @abstractmethod
    def formula(self, objective: Objective) -> Formula:
        """The pair's weights, to show."""

    @classmethod
    def settings(cls) -> tuple[Self, ...]:
        """Parameter settings worth checking; the contract tests run them all."""
        return (cls(),)


class IwaeEstimator(Estimator):
    """An estimator whose formula is written for the IWAE bound, and for no other objective."""

    def refusal(self, objective: Objective) -> str | None:
        """Anything but iwae."""
        return None if isinstance(objective, Iwae) else f"'{self.name}' is defined for objective 'iwae' only."


class ScoreEstimator(Estimator):
    """An estimator without a path: only the score function, so that samples need not be reparameterisable."""

    def uses_path(self, objective: Objective) -> bool:
        """Never."""
        return False
