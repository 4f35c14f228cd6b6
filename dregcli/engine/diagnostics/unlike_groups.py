"""Products of means without the noise's part: only means of different groups of replicates are multiplied."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dregcli.engine.diagnostics.jackknife import Statistic, leave_one_out, statistic_of_sets


def product_of_means(left: Sequence[Tensor], right: Sequence[Tensor], sizes: Sequence[int]) -> Statistic:
    """Return the product of two expectations, mean over coordinates, from products of unlike groups.

    The noise of two groups is independent, and has no part in the mean of their products. So the product of an
    expectation with itself has no bias, and may be below 0 where the expectation is lost in the noise.

    Args:
        left: mean of one sequence of vectors in each of G groups, shape (D,) each.
        right: the same of another sequence, or of the same one.
        sizes: number of vectors in each group; every group has the same weight per vector.
    """
    weighted = [
        torch.stack([size * each for size, each in zip(sizes, means, strict=True)]) for means in (left, right)
    ]
    products = (weighted[0] @ weighted[1].mT / weighted[0].shape[1]).cpu().fill_diagonal_(0.0)

    def mean(groups: Sequence[int]) -> float:
        kept = [sizes[each] for each in groups]
        pairs = sum(kept) ** 2 - sum(each**2 for each in kept)
        return float(products[groups][:, groups].sum()) / pairs

    return statistic_of_sets([mean(groups) for groups in leave_one_out(len(sizes))])
