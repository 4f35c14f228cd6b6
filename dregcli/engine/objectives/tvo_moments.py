"""The points of a thermodynamic path between which the data's mean log-weight rises by equal amounts."""

from typing import Final

import torch
from torch import Tensor

from dregcli.engine.weights import normalised
from dregcli.engine.wide import widened

_HALVINGS: Final = 50
"""Largest number of halvings of a search. The first point may be tiny: about one over the log-weights' spread."""

_PRECISION: Final = 1e-7
"""A search ends if it is so near the wanted mean, as a share of the whole rise. The source stops at 0.05 nat, which
gives several points at one place if the whole rise is of that size."""

_ROUNDING: Final = 1e-9
"""Smallest rise that counts, as a share of the largest log-weight's size: a smaller one is rounding."""


def equal_rises(log_w: Tensor, parts: int) -> list[float]:
    """Return 0 < b_1 < ... < b_(J-1) < 1 between which m_b rises by equal amounts from b = 0 to b = 1.

    m_b is the mean over the examples of sum_k softmax(b log w)_k log w_k. It does not decrease in b, so each point is
    found by bisection. Examples with a log-weight that is not finite are left out. If m_b does not rise, as with one
    sample or equal log-weights, any points give the same objective, and equal parts are returned.

    Args:
        log_w: log-weights, shape (K, N), nats.
        parts: the number J of parts, at least 1.

    Reference: the schedule ``moments`` of Brekelmans et al., arXiv 2007.00642.
    """
    log_w = widened(log_w)
    log_w = log_w[:, torch.isfinite(log_w).all(dim=0)]
    if not log_w.numel():
        return [j / parts for j in range(1, parts)]
    start, end = _mean(log_w, 0.0), _mean(log_w, 1.0)
    if end - start <= _ROUNDING * (1.0 + float(log_w.abs().max())):
        return [j / parts for j in range(1, parts)]
    found: list[float] = []
    for j in range(1, parts):
        wanted = start + (end - start) * (j / parts)
        found.append(_where(log_w, wanted, low=found[-1] if found else 0.0, error=_PRECISION * (end - start)))
    return found


def _where(log_w: Tensor, wanted: float, *, low: float, error: float) -> float:
    """Return the power between ``low`` and 1, both excluded, at which the mean is the wanted one."""
    high = 1.0
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        mean = _mean(log_w, middle)
        if abs(mean - wanted) <= error:
            return middle
        low, high = (middle, high) if mean < wanted else (low, middle)
    return 0.5 * (low + high)


def _mean(log_w: Tensor, power: float) -> float:
    """Return the mean over the examples of sum_k softmax(power log w)_k log w_k, in nats."""
    return float((normalised(power * log_w) * log_w).sum(dim=0).mean())
