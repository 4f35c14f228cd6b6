"""Which rows are worth their backward pass: keep probabilities, and log-weights of two precisions in one softmax."""

from collections.abc import Iterable

import torch
from torch import Tensor

LEAST_PROBABILITY = 1e-3
"""No row is kept with less, so that no row that turns up has an enormous weight."""

CORRECTION_RATE = 1.0 / 64.0
"""The share of examples whose log-weights are computed exactly, to correct those of the others in expectation. On
MNIST 1/32 and 1/64 added the same to the encoder gradient's variance, 0.1 %, and the rarer costs half."""


def keep_probabilities(arrays: Iterable[Tensor], inflation: float) -> Tensor:
    """With which probability each row is kept: p_k = min(1, max over arrays a of |a_k| / tau_a).

    With tau_a = inflation * sum a^2 / sum |a| for each example, sum a_k^2 / p_k <= sum a_k^2 + tau_a sum |a_k|
    = (1 + inflation) sum a_k^2: where the rows' norms do not depend on the weights, screening adds at most about
    ``inflation`` to the second moment of a weighted sum. An array that is 0 throughout is left out.

    Args:
        arrays: row weights, shape (A, K, B) each, float64.
        inflation: above 0.

    Returns:
        Shape (K, B), between ``LEAST_PROBABILITY`` and 1; 0 without any array, since nothing needs a row then.
    """
    size = torch.cat(list(arrays)).abs_()
    if not len(size):
        return size.new_zeros(size.shape[1:])
    threshold = size.square().sum(dim=1, keepdim=True).mul_(inflation).div_(size.sum(dim=1, keepdim=True))
    # 0 / 0 where all weights of an array are 0: such an array keeps no row.
    wanted = size.div_(threshold).nan_to_num_(nan=0.0)
    return wanted.amax(dim=0).clamp_(LEAST_PROBABILITY, 1.0)


def mixed_log_weights(approximate: Tensor, k: Tensor, b: Tensor, exact: Tensor, inverse: Tensor) -> Tensor:
    """Log-weights with some rows' exact values, the others shifted by what these say of their example's error.

    In one softmax an error that all of an example's log-weights share must cancel, and would not between exact and
    approximate ones. So the others are moved by the mean of (exact - approximate) over the kept rows, which stands
    for the mean over all rows by their importance: kept rows count v / p.

    Args:
        approximate: shape (K, B), nats.
        k: sample of each kept row, (R,).
        b: example of each kept row, (R,).
        exact: log-weights of the kept rows, (R,).
        inverse: 1 / the probability of keeping each, (R,).

    Returns:
        Shape (K, B), float64. Of an example without a kept row the approximate ones.
    """
    mixed, exact = approximate.double(), exact.double()
    share = torch.softmax(mixed, dim=0)[k, b] * inverse
    error = exact - mixed[k, b]
    total = mixed.new_zeros(mixed.shape[1]).index_add_(0, b, share)
    shift = mixed.new_zeros(mixed.shape[1]).index_add_(0, b, share * error)
    # Without a kept row 0 / tiny.
    mixed = mixed + shift.div_(total.clamp_(min=torch.finfo(total.dtype).tiny))
    return mixed.index_put_((k, b), exact)
