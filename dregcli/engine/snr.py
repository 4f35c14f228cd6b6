"""The signal-to-noise ratio of gradients: one definition, shared by all code that measures it."""

from collections.abc import Iterable

import torch
from torch import Tensor

from dregcli.engine.wide import wide_sums


def ratios(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Return |mean| / standard deviation of each coordinate, and which coordinates vary; both in the inputs' shape.

    A coordinate that never varies has no ratio (the value is 0): a dead unit is neither signal nor noise. Where the
    variance is unknown (NaN), the ratio is NaN too.
    """
    varies = ~(variance <= 0.0)
    return torch.where(varies, mean.abs() * variance.rsqrt(), 0.0), varies


def signal_to_noise(parts: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Return the SNR of P sequences of gradients: the mean of ``ratios`` over all parts' coordinates that vary.

    Args:
        parts: means and variances, (P, D) each.

    Returns:
        Shape (P,), float64, on the CPU; NaN where nothing varies. The SNR of pure noise is about ``snr_floor``.
    """
    total, count = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.int64)
    for mean, variance in parts:
        each, varies = ratios(mean, variance)
        total = total + wide_sums(each)
        count = count + varies.sum(dim=1).cpu()
    return total / count
