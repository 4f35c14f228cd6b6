"""The heaviness of importance weights' tail: the shape k-hat of Pareto-smoothed importance sampling."""

import math
from typing import cast

import torch
from torch import Tensor

UNRELIABLE = 0.7
"""Above this value an estimate by importance sampling is not reliable at any practical K (arXiv 1507.02646)."""

FEWEST_TAIL = 5
"""Smallest number of weights in the tail for a fit, as in the published implementations."""

_AT_ONCE = 2**20
"""Largest number of elements in an array."""

_PRIOR_COUNT, _PRIOR_SHAPE = 10.0, 0.5
"""Prior of the fit: it pulls the shape towards a half like ten more weights (arXiv 1507.02646, appendix C)."""


def tail_size(k: int) -> int:
    """Return how many of the largest of K weights form the tail: a fifth, at most 3 sqrt(K)."""
    return math.ceil(min(0.2 * k, 3.0 * math.sqrt(k)))


def pareto_shape(log_w: Tensor) -> Tensor | None:
    """Return k-hat of each example: the shape of a generalised Pareto distribution fitted to the largest weights.

    Above 1 the weights have no mean; below 1/2 they have a variance; the estimate log p-hat is reliable up to about
    ``UNRELIABLE``. If all weights in the tail are equal, k-hat is -inf, the best case. If one weight is so large that
    the others vanish beside it, k-hat is inf. Weights of 0 are no part of a tail: if fewer weights are above 0 than
    a tail has, these are the tail; if they are too few for a fit, k-hat is inf. It is also inf where a log-weight is
    inf or NaN.

    Args:
        log_w: log-weights, shape (K, B), nats; float64; -inf for a weight of 0.

    Returns:
        Shape (B,), float64; None if K is too small for a tail.

    Reference: Vehtari, Simpson, Gelman, Yao, Gabry, arXiv 1507.02646; the fit is Zhang and Stephens,
    Technometrics 51(3), 2009.
    """
    size = tail_size(log_w.shape[0])
    if size < FEWEST_TAIL:
        return None
    largest = torch.topk(log_w.T, size + 1, dim=1, sorted=True).values
    sizes = (largest > -math.inf).sum(dim=1).clamp(max=size)
    found = torch.full_like(largest[:, 0], math.inf)
    for each in cast("list[int]", sizes.unique().tolist()):
        if each >= FEWEST_TAIL:
            rows = sizes == each
            found[rows] = _of_tail(largest[rows, : each + 1])
    return torch.where(found.isnan(), math.inf, found)


def _of_tail(largest: Tensor) -> Tensor:
    """Return k-hat from the weights of the tail and the largest below it, log (B, M + 1), falling; shape (B,)."""
    largest = largest - largest[:, :1]
    # Excesses over the largest weight below the tail; by expm1, since they may be near 0.
    cutoff = largest[:, -1:]
    excess = largest[:, :-1].exp() * -torch.expm1(cutoff - largest[:, :-1])
    size = excess.shape[1]
    at_once = max(1, _AT_ONCE // (size * _grid_size(size)))
    return torch.cat([_shape(part.flip(1)) for part in torch.split(excess, at_once)])


def _grid_size(size: int) -> int:
    return 30 + math.isqrt(size)


def _shape(excess: Tensor) -> Tensor:
    """Compute Zhang and Stephens' estimate for excesses (B, M), ascending in each row; shape (B,)."""
    size = excess.shape[1]
    points = _grid_size(size)
    most = excess[:, -1:]
    # In units of the largest excess, so that nothing overflows; rows without any excess are handled at the end.
    flat = most[:, 0] <= 0.0
    x = torch.where(flat[:, None], 1.0, excess / most)
    quartile = x[:, [math.floor(size / 4 + 0.5) - 1]].clamp_min(torch.finfo(x.dtype).tiny)
    spacing = torch.arange(1, points + 1, dtype=x.dtype, device=x.device) - 0.5
    theta = 1.0 + (1.0 - torch.sqrt(points / spacing)) / (3.0 * quartile)  # (B, points)
    k = torch.log1p(-theta[:, :, None] * x[:, None, :]).mean(dim=2)
    profile = size * (torch.log(-theta / k) - k - 1.0)
    weight = torch.softmax(profile, dim=1)
    best = (theta * weight).sum(dim=1, keepdim=True)
    shape = torch.log1p(-best * x).mean(dim=1)
    shape = (size * shape + _PRIOR_COUNT * _PRIOR_SHAPE) / (size + _PRIOR_COUNT)
    # If the largest weight is far beyond all others, there is no tail to fit, and it is the worst case.
    alone = x[:, math.floor(size / 4 + 0.5) - 1] <= torch.finfo(x.dtype).tiny
    return torch.where(flat, -math.inf, torch.where(alone, math.inf, shape))
