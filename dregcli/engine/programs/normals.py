"""Samples that are made from standard normal numbers, for the distributions that allow it."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal, Normal

from dregcli.engine.programs.families import innermost

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
    base = innermost(distribution)
    shape = (*base.batch_shape, *base.event_shape)[batched:]
    if isinstance(base, Normal) and _is_torchs_own(base):
        drawn = normals(shape)
        return torch.addcmul(base.loc, base.scale, drawn) if base.loc.ndim else base.loc + base.scale * drawn
    if type(base) is MultivariateNormal:
        factor = cast("Any", base)._unbroadcasted_scale_tril
        return base.loc + (factor @ normals(shape).unsqueeze(-1)).squeeze(-1)
    return None


def to_normals(distribution: Distribution, z: Tensor) -> Tensor | None:
    """Return the standard normal numbers from which ``from_normals`` makes samples z; None if it is no Gaussian."""
    base = innermost(distribution)
    if isinstance(base, Normal) and _is_torchs_own(base):
        return (z - base.loc) / base.scale
    if type(base) is MultivariateNormal:
        factor = cast("Any", base)._unbroadcasted_scale_tril
        solved = cast("Any", torch.linalg).solve_triangular(factor, (z - base.loc).unsqueeze(-1), upper=False)
        return cast("Tensor", solved).squeeze(-1)
    return None


def _is_torchs_own(base: Normal) -> bool:
    """Whether a Gaussian draws and weighs as torch's does. A density of its own is not that of the samples."""
    kind = type(base)
    return kind.rsample is Normal.rsample and kind.log_prob is Normal.log_prob
