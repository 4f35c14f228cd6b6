"""Samples that are made from standard normal numbers, for the distributions that allow it."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

Normals = Callable[[tuple[int, ...]], Tensor]
"""Returns standard normal numbers of one sample's shape for all samples and examples, (K', B', *shape)."""


def from_normals(distribution: Distribution, normals: Normals, *, batched: int) -> Tensor | None:
    """Return samples of a Gaussian, which move with its parameters; None if it is no Gaussian.

    Args:
        distribution: torch's Normal or MultivariateNormal, possibly inside Independent.
        normals: gives the numbers.
        batched: number of the distribution's leading axes that are samples or examples.

    Returns:
        Shape (K', B', ...).
    """
    base = distribution
    while type(base) is Independent:
        base = cast("Distribution", cast("Any", base).base_dist)
    shape = (*base.batch_shape, *base.event_shape)[batched:]
    if isinstance(base, Normal) and type(base).rsample is Normal.rsample:
        drawn = normals(shape)
        return torch.addcmul(base.loc, base.scale, drawn) if base.loc.ndim else base.loc + base.scale * drawn
    if type(base) is MultivariateNormal:
        factor = cast("Any", base)._unbroadcasted_scale_tril
        return base.loc + (factor @ normals(shape).unsqueeze(-1)).squeeze(-1)
    return None
