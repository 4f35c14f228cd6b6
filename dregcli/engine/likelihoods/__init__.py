"""How pixels are distributed given a decoder's output.

A new likelihood is one file and one entry here.
Then write the table of all that there is again: ``python -m dregcli.app.diagnosis.computed``.
"""

from typing import Final

from torch import Tensor

from dregcli.engine.likelihoods.base import Likelihood
from dregcli.engine.likelihoods.bernoulli import Bernoulli
from dregcli.engine.likelihoods.discretised_logistic import DiscretisedLogistic
from dregcli.engine.likelihoods.gaussian import Gaussian
from dregcli.names import DataKind, LikelihoodName

__all__ = ["LIKELIHOODS", "Likelihood", "fitting", "make_likelihood"]

LIKELIHOODS: Final[dict[LikelihoodName, type[Likelihood]]] = {
    LikelihoodName.BERNOULLI: Bernoulli,
    LikelihoodName.GAUSSIAN: Gaussian,
    LikelihoodName.DISCRETISED_LOGISTIC: DiscretisedLogistic,
}
"""The more special one later: of several that take the same pixels, a run gets the last where none is asked for."""


def fitting(kind: DataKind, levels: int) -> list[LikelihoodName]:
    """The likelihoods that take pixels of a kind, the one for a run that asks for none first. See ``takes``."""
    return [name for name, each in reversed(LIKELIHOODS.items()) if each.takes(kind, levels)]


def make_likelihood(name: LikelihoodName, *, spread: Tensor, levels: int) -> Likelihood:
    """The likelihood of a name for some data.

    Args:
        name: which.
        spread: standard deviation of each training pixel that is modelled, shape (D,), above 0. In
            structured prediction the target's pixels alone.
        levels: what a pixel of intensity 1 is stored as.
    """
    return LIKELIHOODS[name].of(spread=spread, levels=levels)
