"""Screening of rows for the backward pass: keep probabilities, and log-weights of two precisions in one softmax."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from dregcli.engine.indexed import sums_by_index

LEAST_PROBABILITY = 1e-3
"""Smallest probability of keeping a row, so that no kept row has an enormous weight."""

CORRECTION_RATE = 1.0 / 64.0
"""The share of examples whose log-weights are computed exactly, to correct the other examples in expectation. On
MNIST, 1/32 and 1/64 both added 0.1 % to the encoder gradient's variance, and 1/64 costs half."""

_AT_ONCE = 2**18
"""Weights that are compared at once: 2 MiB."""


def correction_capacity(examples: int) -> int:
    """Return a number of examples of a batch that the chosen ones exceed once in 500 batches or less.

    It is three standard deviations and one above the expected number, whose distribution is binomial.
    """
    expected = examples * CORRECTION_RATE
    return min(examples, math.ceil(expected + 3.0 * math.sqrt(expected)) + 1)


def keep_probabilities(arrays: Iterable[Tensor], inflation: float) -> Tensor:
    """Compute the probability of keeping each row: p_k = min(1, max over arrays a of |a_k| / tau_a).

    With tau_a = inflation * sum a^2 / sum |a| for each example, sum a_k^2 / p_k <= sum a_k^2 + tau_a sum |a_k|
    = (1 + inflation) sum a_k^2. So if the rows' norms do not depend on the weights, screening adds at most about
    ``inflation`` to the second moment of a weighted sum. An array that is 0 everywhere is ignored.

    Args:
        arrays: row weights, shape (A, K, B) each, float64; at least one array, whose A may be 0.
        inflation: largest relative increase of the second moment, above 0.

    Returns:
        Shape (K, B), between ``LEAST_PROBABILITY`` and 1; 0 without any array, since then no row is needed.
    """
    given = list(arrays)
    shape = given[0].shape[1:]
    # At the largest K these arrays take most of the memory, so that few of them are copied at once.
    size = max(1, _AT_ONCE // math.prod(shape))
    found = (_wanted(each, inflation) for array in given for each in torch.split(array, size) if len(each))
    if (wanted := next(found, None)) is None:
        return given[0].new_zeros(shape)
    for each in found:
        torch.maximum(wanted, each, out=wanted)
    return wanted.clamp_(LEAST_PROBABILITY, 1.0)


def _wanted(arrays: Tensor, inflation: float) -> Tensor:
    """Return the largest |a_k| / tau of several arrays (A, K, B); shape (K, B)."""
    size = arrays.abs()
    threshold = size.square().sum(dim=1, keepdim=True).mul_(inflation).div_(size.sum(dim=1, keepdim=True))
    # If all weights of an array are 0, this is 0 / 0; such an array keeps no row.
    return size.div_(threshold).nan_to_num_(nan=0.0).amax(dim=0)


def mixed_log_weights(approximate: Tensor, k: Tensor, b: Tensor, exact: Tensor, inverse: Tensor) -> Tensor:
    """Return log-weights with some rows' exact values; the others are shifted by their example's estimated error.

    In one softmax, an error that all log-weights of an example share must cancel; between exact and approximate
    log-weights it would not. So the approximate ones are moved by a mean of (exact - approximate) over the kept rows.
    It estimates the importance-weighted mean over all rows: kept rows have weight v / p.

    Args:
        approximate: approximate log-weights, shape (K, B), nats.
        k: sample of each kept row, (R,).
        b: example of each kept row, (R,).
        exact: log-weights of the kept rows, (R,).
        inverse: 1 / the probability of keeping each row, (R,); 0 for padding.

    Returns:
        Shape (K, B), float64. An example without a kept row keeps its approximate log-weights.
    """
    mixed = approximate.to(torch.float64, copy=True)
    # If no row is kept, every row is padding, and all log-weights stay approximate.
    exact = torch.where((inverse != 0.0).any(), exact.double(), mixed[k, b])
    share = torch.softmax(mixed, dim=0)[k, b] * inverse
    error = exact - mixed[k, b]
    total, shift = sums_by_index(torch.stack([share, share * error], dim=1), b, mixed.shape[1]).unbind(1)
    # Without a kept row this is 0 / tiny.
    mixed.add_(shift.div_(total.clamp_(min=torch.finfo(total.dtype).tiny)))
    return mixed.index_put_((k, b), exact)
