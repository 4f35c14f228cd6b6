"""float64 on every device: a Mac's GPU (MPS) has none, so that small arrays of such a device are computed on the CPU.

Only arrays with a number for each sample, example or layer are widened, never those of a network.
"""

from typing import Final

import torch
from torch import Tensor

WITHOUT: Final = {"mps"}


def has_float64(device: torch.device) -> bool:
    """Whether a device computes in float64."""
    return device.type not in WITHOUT


def widened(tensor: Tensor) -> Tensor:
    """Return the values in float64, on the tensor's device if it has float64, otherwise on the CPU."""
    return tensor.double() if has_float64(tensor.device) else tensor.cpu().double()


def wide_sums(tensor: Tensor) -> Tensor:
    """Sum over the second axis of (P, D) in float64; shape (P,), on the CPU."""
    tensor = tensor if has_float64(tensor.device) else tensor.cpu()
    return tensor.sum(dim=1, dtype=torch.float64).cpu()
