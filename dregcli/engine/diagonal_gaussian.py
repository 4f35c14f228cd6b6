"""Diagonal Gaussians: the posterior of the built-in networks, with closed forms for all derivatives."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dregcli.engine.wide import widened

LOG_2PI = math.log(2.0 * math.pi)

Latents = tuple[Tensor, ...]
"""One tensor per stochastic layer, each (K, B, Z_layer)."""


@dataclass(frozen=True)
class DiagonalGaussian:
    """A distribution of z for each example, such as q(z | x), with independent dimensions.

    Attributes:
        loc: means, shape (B, Z).
        scale: standard deviations, shape (B, Z).
    """

    loc: Tensor
    scale: Tensor

    @classmethod
    def standard(cls, examples: int, width: int, *, like: Tensor) -> "DiagonalGaussian":
        """Return the standard normal for B examples, on ``like``'s device and in its dtype."""
        return cls(like.new_zeros(examples, width), like.new_ones(examples, width))

    def kl_from(self, other: "DiagonalGaussian") -> Tensor:
        """Return KL(self || other), shape (B,), float64, nats."""
        unit = widened(other.scale)
        loc, scale = (widened(self.loc) - widened(other.loc)) / unit, widened(self.scale) / unit
        return 0.5 * (loc.square() + scale.square() - 1.0).sum(dim=-1) - scale.log().sum(dim=-1)

    def rsample(self, noise: Tensor) -> Latents:
        """Return reparameterised samples from standard normal noise of shape (K, B, Z)."""
        return (torch.addcmul(self.loc, self.scale, noise),)

    def log_prob_at(self, noise: Tensor) -> Tensor:
        """Return log q(z | x) of the samples that ``rsample`` makes from noise, shape (K, B), nats."""
        # Chunks of samples share the constant, but a constant with a gradient is computed for each caller.
        constant = self._normaliser() if self.scale.requires_grad else self._fixed_normaliser
        return noise.square().sum(dim=-1).mul_(-0.5).sub_(constant)

    def _normaliser(self) -> Tensor:
        """Return sum log scale + Z/2 log 2 pi, shape (B,)."""
        return self.scale.log().sum(dim=-1) + 0.5 * LOG_2PI * self.loc.shape[-1]

    @cached_property
    def _fixed_normaliser(self) -> Tensor:
        return self._normaliser()

    def slope_at(self, noise: Tensor) -> tuple[Tensor, ...]:
        """Return d log q(z | x) / d z of ``rsample``'s samples from noise, with q's parameters held fixed."""
        return (-noise / self.scale,)

    def path_derivatives(self, noise: Tensor, dz: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Return dz times d sample / d parameter for each parameter, row by row, (K, B, Z)."""
        (slope,) = dz
        return {"loc": slope, "scale": slope * noise}

    def score_derivatives(self, noise: Tensor) -> dict[str, Tensor]:
        """Return d log q(z | x) / d parameter with the sample held fixed, row by row, (K, B, Z)."""
        by_loc = noise / self.scale
        return {"loc": by_loc, "scale": (noise * by_loc).sub_(self.scale.reciprocal())}

    def parameters(self) -> dict[str, Tensor]:
        """Return its parameters by name."""
        return {"loc": self.loc, "scale": self.scale}

    def of(self, examples: Tensor) -> "DiagonalGaussian":
        """Return the distributions of some examples, by their indices."""
        return DiagonalGaussian(self.loc[examples], self.scale[examples])

    def stopped(self) -> "DiagonalGaussian":
        """Return the same distribution with its parameters held fixed."""
        return DiagonalGaussian(self.loc.detach(), self.scale.detach())


def standard_normal_log_prob(z: Tensor) -> Tensor:
    """Return log N(z; 0, I) over the last axis, nats."""
    return z.square().sum(dim=-1).mul_(-0.5).sub_(0.5 * LOG_2PI * z.shape[-1])
