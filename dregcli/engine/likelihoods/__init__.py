"""The likelihoods: distributions of pixels given a decoder's output.

A new likelihood is one file and one entry here.
Then generate the table of all pairs again: ``python -m dregcli.app.diagnosis.computed``.
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
"""If several likelihoods take the same pixels, the last one is the default: narrower ones come later."""


def fitting(kind: DataKind, levels: int) -> list[LikelihoodName]:
    """Return the likelihoods that take pixels of a kind, the default one first. See ``takes``."""
    return [name for name, each in reversed(LIKELIHOODS.items()) if each.takes(kind, levels)]


def make_likelihood(name: LikelihoodName, *, spread: Tensor, levels: int) -> Likelihood:
    """Return the named likelihood for some data.

    Args:
        name: name of the likelihood.
        spread: standard deviation of each modelled training pixel, shape (D,), above 0; in structured prediction
            only the target's pixels.
        levels: stored value of a pixel of intensity 1.
    """
    return LIKELIHOODS[name].of(spread=spread, levels=levels)
