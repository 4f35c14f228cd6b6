"""Sums by index, in one order on every device, so that a run repeats bit for bit."""

from torch import Tensor


def add_by_index(total: Tensor, index: Tensor, values: Tensor) -> Tensor:
    """Add each of the values to the entry of ``total`` at its index, in place.

    Args:
        total: shape (N, ...).
        index: entry of each value, int64, shape (R,); it may repeat.
        values: shape (R, ...).

    Returns:
        ``total``.
    """
    if total.is_cuda:  # there index_add_ adds in any order, while index_put_ sorts the values first
        return total.index_put_((index,), values, accumulate=True)
    return total.index_add_(0, index, values)
