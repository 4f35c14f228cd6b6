"""Functions of log-weights that every objective and every evaluation shares.

Log-weights ``log_w`` have shape (K, B): K samples of the posterior for each of B examples, in nats.
"""

import math

import torch
from torch import Tensor


def log_mean_exp(log_w: Tensor) -> Tensor:
    """Return the IWAE bound, log (1/K) sum_k w_k.

    Args:
        log_w: log-weights, shape (K, B), nats.

    Returns:
        The bound, shape (B,), nats per example; larger is better.

    Reference: Burda, Grosse, Salakhutdinov, arXiv 1509.00519, equation 8.
    """
    return torch.logsumexp(log_w, dim=0) - math.log(log_w.shape[0])


def normalised(log_w: Tensor) -> Tensor:
    """Return the normalised weights v_k = w_k / sum_j w_j, shape (K, B)."""
    return torch.softmax(log_w, dim=0)


def effective_sample_size(log_w: Tensor) -> Tensor:
    """Return the effective sample size 1 / sum_k v_k^2, shape (B,), between 1 and K."""
    return 1.0 / normalised(log_w).square().sum(dim=0)


def leave_one_out_logsumexp(x: Tensor) -> Tensor:
    """Return log sum_{j != k} exp(x_j) for every k, in O(K).

    A term is subtracted from the sum of all only where it is not the largest one: then at least half of the sum is
    left, and no digits are lost. Without the largest term, which may leave nothing in floats, the sum is computed
    separately. So all results are equally exact.

    Args:
        x: shape (K, ...).

    Returns:
        Shape (K, ...); -inf if no term is left.
    """
    most, centre = x.argmax(dim=0, keepdim=True), largest(x)
    rest = torch.logsumexp(x.scatter(0, most, -math.inf), dim=0, keepdim=True)
    terms = (x - centre).exp_()
    return (terms.sum(dim=0) - terms).log_().add_(centre).scatter_(0, most, rest)


def left_out_variance(log_w: Tensor) -> Tensor:
    """Estimate the variance of ``log_mean_exp`` over new samples from the given samples, shape (B,), nats squared.

    Each sample is left out in turn, which gives K values; the result is (K - 1) / K times the sum of their squared
    deviations. For any weights, this is on average not below the variance with K - 1 samples, times (K - 1) / K
    (Efron and Stein 1981). The first-order formula, sum v^2 - 1 / K, is far below it if few weights dominate.

    Args:
        log_w: log-weights, shape (K, B), nats. The result is NaN at K = 1, where no sample can be left out.
    """
    k = log_w.shape[0]
    if k == 1:
        return torch.full_like(log_w[0], math.nan)
    without = leave_one_out_logsumexp(log_w - largest(log_w))
    return (without - without.mean(dim=0)).square().sum(dim=0) * ((k - 1) / k)


def leave_one_out_sum(x: Tensor) -> Tensor:
    """Return sum_{j != k} x_j for every k, in O(K) and without a subtraction; shape (K, ...)."""
    nothing = torch.zeros_like(x[:1])
    before = torch.cat([nothing, x[:-1].cumsum(dim=0)])
    after = torch.cat([x[1:].flip(0).cumsum(dim=0).flip(0), nothing])
    return before + after


def log_one_minus_normalised(log_w: Tensor) -> Tensor:
    """Return log(1 - v_k) with v the normalised weights, shape (K, B).

    It does not compute 1 - v, which is 0 in floats as soon as one weight dominates.
    """
    log_w = log_w - largest(log_w)
    return leave_one_out_logsumexp(log_w) - torch.logsumexp(log_w, dim=0)


def largest(log_w: Tensor) -> Tensor:
    """Return the largest log-weight of each example, or 0 if it is not finite, shape (B,).

    Normalised weights do not change if it is subtracted, and subtracting it first keeps their digits: at log-weights
    of -1e4 a leave-one-out sum would be accurate to 1e-12 only, a large error beside weights of 1 / K.
    """
    most = log_w.amax(dim=0)
    return torch.where(torch.isfinite(most), most, 0.0)
