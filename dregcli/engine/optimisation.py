"""Adam, and its state as named tensors."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

_STATE = ("step", "exp_avg", "exp_avg_sq")


def make_adam(parameters: Mapping[str, nn.Parameter], *, lr: float) -> torch.optim.Adam:
    """Adam with the reference's settings (0.9, 0.999, 1e-8), fused into one pass over the parameters."""
    return torch.optim.Adam(parameters.values(), lr=lr, betas=(0.9, 0.999), eps=1e-8, fused=True)


def adam_tensors(optimizer: torch.optim.Adam, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """The optimiser's state as ``<parameter>/<name>``, copied; empty before the first step."""
    return {
        f"{name}/{key}": optimizer.state[parameter][key].detach().clone()
        for name, parameter in parameters.items()
        if parameter in optimizer.state
        for key in _STATE
    }


def load_adam(
    optimizer: torch.optim.Adam, parameters: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor]
) -> None:
    """Put back what ``adam_tensors`` took; nothing of before the first step.

    Raises:
        KeyError: a tensor is missing.
    """
    optimizer.state.clear()
    if not tensors:
        return
    with torch.no_grad():
        for name, parameter in parameters.items():
            state = {key: tensors[f"{name}/{key}"].to(parameter.device).clone() for key in _STATE}
            optimizer.state[parameter] = state
