"""What an estimator is: a rule that turns an objective's terms into the weights of its gradient."""

from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor

from dregcli.engine.objectives.base import Objective, Terms
from dregcli.names import EstimatorName, Promise


@dataclass(frozen=True)
class Coefficients:
    """The weights that the executor applies, each detached and of shape (K, B). See ``Terms``."""

    model: Tensor
    path: Tensor
    score: Tensor


class Estimator(Protocol):
    """An estimator: a frozen dataclass whose fields are its parameters.

    ``uses_score`` False says that the score weights are 0 by construction, so that the executor spends no
    work on them.
    """

    name: ClassVar[EstimatorName]
    reference: ClassVar[str]
    smallest_k: ClassVar[int]
    uses_score: ClassVar[bool]

    def coefficients(self, terms: Terms) -> Coefficients:
        """The weights of the gradient, from the objective's terms."""
        ...

    def promise(self, objective: Objective, k: int) -> Promise:
        """Whether the expected gradient is that of the objective, with ``k`` samples."""
        ...
