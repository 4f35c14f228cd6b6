"""What is known of a torch distribution's family: its name, its mean, and where it has its mass."""

from typing import Any, cast

from torch import Tensor
from torch.distributions import Categorical, Cauchy, Distribution, Independent, constraints


def mean_or_none(distribution: Distribution) -> Tensor | None:
    """Return a distribution's mean; None if torch does not know it."""
    # Torch's mean of these is not a number: categories are no quantities, and Cauchy's integral does not exist.
    if isinstance(innermost(distribution), Categorical | Cauchy):
        return None
    try:
        return distribution.mean
    except (NotImplementedError, AttributeError):
        return None


def scale_or_none(distribution: Distribution) -> Tensor | None:
    """Return a distribution's standard deviation; None if torch does not know it, or if there is no mean."""
    try:
        return None if mean_or_none(distribution) is None else distribution.stddev
    except (NotImplementedError, AttributeError):
        return None


def innermost(distribution: Distribution) -> Distribution:
    """Return the distribution inside ``Independent``."""
    while type(distribution) is Independent:
        distribution = cast("Distribution", cast("Any", distribution).base_dist)
    return distribution


def words_of(distribution: Distribution) -> str:
    """Return the name of a distribution's family; a private class has the name of its public base."""
    kinds = type(innermost(distribution)).__mro__
    return next(each.__name__ for each in kinds if not each.__name__.startswith("_"))


def is_discrete(distribution: Distribution) -> bool:
    """Return whether a distribution says that its values are discrete."""
    support = _support(distribution)
    return support is not None and bool(support.is_discrete)


def is_everywhere(distribution: Distribution) -> bool:
    """Return whether every real number is possible; so is assumed of a distribution that does not say."""
    support = _support(distribution)
    return support is None or support is constraints.real


def _support(distribution: Distribution) -> Any:  # noqa: ANN401 - torch does not annotate constraints
    """Return where a distribution has its mass, value by value; None if it does not say."""
    try:
        support: Any = distribution.support
    except (NotImplementedError, AttributeError):
        return None
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    return support
