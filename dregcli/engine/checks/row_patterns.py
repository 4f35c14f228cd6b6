"""Which rows (k, b) a trial replaces, and which of the others' log-densities it changed."""

import torch
from torch import Tensor


def row_patterns(k: int, batch: int) -> list[Tensor]:
    """Return which samples to replace, bool (K, B) each; the first two never treat (i, j) and (j, i) alike."""
    generator = torch.Generator().manual_seed(0)
    side = max(k, batch)
    upper = torch.rand(2, side, side, generator=generator).lt(0.5).triu(1)
    lower = (~upper).triu(1).mT
    diagonal = torch.diag_embed(torch.rand(2, side, generator=generator).lt(0.5))
    patterns = list((upper | lower | diagonal)[:, :k, :batch])
    # This pattern is constant over examples, so that mixing over samples is found even with two samples.
    return [*patterns, (torch.arange(k) % 2 == 0)[:, None].expand(k, batch)]


def rows_differ(one: Tensor, other: Tensor) -> Tensor:
    """Return where two log-densities differ by more than rounding."""
    tolerance = 64.0 * torch.finfo(one.dtype).eps * (1.0 + one.abs())
    same = (one == other) | ((one - other).abs() <= tolerance) | (one.isnan() & other.isnan())
    return ~same
