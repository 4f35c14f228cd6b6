"""Sums by index, in one order on every device, so that a run repeats bit for bit."""

import torch
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


def sums_by_index(values: Tensor, index: Tensor, size: int) -> Tensor:
    """Sum the values of each index; the size is small, such as a batch's examples.

    Args:
        values: shape (R, ...).
        index: index of each value, int64, shape (R,).
        size: number of indices, N.

    Returns:
        Shape (N, ...); 0 for an index without a value.
    """
    if not values.is_cuda:
        return values.new_zeros(size, *values.shape[1:]).index_add_(0, index, values)
    # With few indices a sorted sum is serial: it took two thirds of a screened step. A matrix product is not.
    found = torch.arange(size, device=index.device).unsqueeze(1) == index
    return (found.to(values.dtype) @ values.reshape(len(index), -1)).reshape(size, *values.shape[1:])
