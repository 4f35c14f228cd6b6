"""Functions of log-weights that every objective and every evaluation shares.

Log-weights ``log_w`` have shape (K, B): K samples of the posterior for each of B examples, in nats.
"""

import math

import torch
from torch import Tensor


def log_mean_exp(log_w: Tensor) -> Tensor:
    """The IWAE bound, log (1/K) sum_k w_k.

    Args:
        log_w: log-weights, shape (K, B), nats.

    Returns:
        The bound, shape (B,), nats per example; larger is better.

    Reference: Burda, Grosse, Salakhutdinov, arXiv 1509.00519, equation 8.
    """
    return torch.logsumexp(log_w, dim=0) - math.log(log_w.shape[0])


def normalised(log_w: Tensor) -> Tensor:
    """The normalised weights v_k = w_k / sum_j w_j, shape (K, B)."""
    return torch.softmax(log_w, dim=0)


def effective_sample_size(log_w: Tensor) -> Tensor:
    """The effective sample size 1 / sum_k v_k^2, shape (B,), between 1 and K."""
    return 1.0 / normalised(log_w).square().sum(dim=0)


def leave_one_out_logsumexp(x: Tensor) -> Tensor:
    """log sum_{j != k} exp(x_j) for every k, in O(K) and without a subtraction.

    The sum of all less the own term would be 0 in floats as soon as one term dominates. Here each is the sum of
    what comes before it and what comes after it, so the leave-one-out sum of the largest term is as exact as any.

    Args:
        x: shape (K, ...).

    Returns:
        Shape (K, ...); -inf where nothing is left.
    """
    nothing = torch.full_like(x[:1], -math.inf)
    before = torch.cat([nothing, torch.logcumsumexp(x[:-1], dim=0)])
    after = torch.cat([torch.logcumsumexp(x[1:].flip(0), dim=0).flip(0), nothing])
    return torch.logaddexp(before, after)


def left_out_variance(log_w: Tensor) -> Tensor:
    """The variance that other samples would give ``log_mean_exp``, from these alone, shape (B,), nats squared.

    Each sample is left out in turn: (K - 1) / K times the sum of squared deviations of the K values that are left.
    On average this is not below the variance with K - 1 samples, times (K - 1) / K, whatever the weights (Efron and
    Stein 1981). The first order of the weights, sum v^2 - 1 / K, is far below it wherever few weights dominate.

    Args:
        log_w: log-weights, shape (K, B), nats; any K, and NaN at K = 1, of which nothing can be left out.
    """
    k = log_w.shape[0]
    if k == 1:
        return torch.full_like(log_w[0], math.nan)
    log_w = log_w - largest(log_w)
    w, most = log_w.exp(), log_w.argmax(dim=0, keepdim=True)
    # Less any but the largest weight nothing is lost; the sum without the largest is added up by itself.
    rest = torch.logsumexp(log_w.scatter(0, most, -math.inf), dim=0, keepdim=True)
    without = (w.sum(dim=0) - w).log().scatter(0, most, rest)
    return (without - without.mean(dim=0)).square().sum(dim=0) * ((k - 1) / k)


def leave_one_out_sum(x: Tensor) -> Tensor:
    """sum_{j != k} x_j for every k, in O(K) and without a subtraction; shape (K, ...)."""
    nothing = torch.zeros_like(x[:1])
    before = torch.cat([nothing, x[:-1].cumsum(dim=0)])
    after = torch.cat([x[1:].flip(0).cumsum(dim=0).flip(0), nothing])
    return before + after


def log_one_minus_normalised(log_w: Tensor) -> Tensor:
    """log(1 - v_k) with v the normalised weights, shape (K, B).

    Never log of 1 - v, which is 0 in floats as soon as one weight dominates.
    """
    log_w = log_w - largest(log_w)
    return leave_one_out_logsumexp(log_w) - torch.logsumexp(log_w, dim=0)


def largest(log_w: Tensor) -> Tensor:
    """The largest log-weight of each example, 0 where none is finite, shape (B,).

    Weights do not depend on it. Subtracted first, it costs them no digits: at log-weights of -1e4 a leave-one-out
    sum would be known to 1e-12 only, which is much beside weights of 1 / K.
    """
    most = log_w.amax(dim=0)
    return torch.where(torch.isfinite(most), most, 0.0)
