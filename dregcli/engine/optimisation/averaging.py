"""The moving average of the weights, which evaluations use instead of the weights themselves."""

import math
from collections.abc import Generator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dregcli.engine.wide import has_float64


class WeightAverage:
    """The exponential moving average of the weights after each step.

    After t steps it is sum_i d^(t - i) w_i / sum_i d^(t - i), where w_i are the weights after step i from 1 to t, and
    d is the decay. So the initial weights have no part in it, and it follows the weights from the first step on.

    Args:
        parameters: parameters by name.
        decay: d, between 0 and 1.
        broken: flag on the device; while it is 1, the average does not change.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float, broken: Tensor) -> None:
        self._parameters = dict(parameters)
        self._decay = decay
        self._broken = broken
        self._averages = {name: each.detach().clone() for name, each in parameters.items()}
        dtype = torch.float64 if has_float64(broken.device) else torch.float32
        self._weight = torch.zeros((), dtype=dtype, device=broken.device)

    def set_step(self, step: int) -> None:
        """Prepare the step with this number (from 0); a step that is recorded reads no number of the host."""
        self._weight.fill_((1.0 - self._decay) / -math.expm1((step + 1) * math.log(self._decay)))

    @torch.no_grad()
    def update(self) -> None:
        """Add the weights after a step."""
        weight = self._weight * (self._broken == 0.0)
        for name, parameter in self._parameters.items():
            self._averages[name].lerp_(parameter, weight.to(parameter.dtype))

    @contextmanager
    def in_place(self) -> Generator[None]:
        """Let the model have the average as its weights; the weights are the same as before afterwards."""
        kept = {name: each.detach().clone() for name, each in self._parameters.items()}
        self._put(self._averages)
        try:
            yield
        finally:
            self._put(kept)

    @torch.no_grad()
    def _put(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.copy_(values[name])

    @torch.no_grad()
    def read(self) -> None:
        """Take the model's weights as the average."""
        for name, parameter in self._parameters.items():
            self._averages[name].copy_(parameter)
