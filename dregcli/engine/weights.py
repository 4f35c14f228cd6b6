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
