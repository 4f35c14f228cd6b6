"""A likelihood of the built-in networks as a torch distribution."""

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint

from dregcli.engine.likelihoods import Likelihood


class Pixels(Distribution):
    """Independent pixels given a decoder's outputs.

    It has the density and the mean; it draws no samples.

    Args:
        likelihood: a likelihood of the built-in networks.
        outputs: shape (K, B, outputs_per_pixel * D): the first D outputs are the first number of each pixel.
        shape: shape of an image of D values, which is the event.
    """

    def __init__(self, likelihood: Likelihood, outputs: Tensor, shape: tuple[int, ...]) -> None:
        super().__init__(outputs.shape[:-1], torch.Size(shape), validate_args=False)
        self._likelihood, self._outputs = likelihood, outputs

    @property
    def arg_constraints(self) -> dict[str, Constraint]:
        """No constraints: every real output is allowed."""
        return {}

    @property
    def mean(self) -> Tensor:
        """The mean images, (K, B, *shape)."""
        return self._likelihood.mean(self._outputs).reshape(*self.batch_shape, *self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p of images of shape (B, *shape): (K, B), nats."""
        return self._likelihood.log_prob(self._outputs, value.flatten(1))
