"""What the gradient executor and the evaluation need of a model."""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from dregcli.engine.rows import Linear

LOG_2PI = math.log(2.0 * math.pi)

Latents = tuple[Tensor, ...]
"""One tensor a stochastic layer, each (K, B, Z_layer)."""


@dataclass(frozen=True)
class DiagonalGaussian:
    """q(z | x) with independent dimensions.

    Attributes:
        loc: means, shape (B, Z).
        scale: standard deviations, shape (B, Z).
    """

    loc: Tensor
    scale: Tensor

    def rsample(self, noise: Tensor) -> Latents:
        """Reparameterised samples from standard normal noise of shape (K, B, Z)."""
        return (torch.addcmul(self.loc, self.scale, noise),)

    def log_prob(self, latents: Latents) -> Tensor:
        """log q(z | x), shape (K, B), nats."""
        (z,) = latents
        deviation = (z - self.loc) / self.scale
        constant = self.scale.log().sum(dim=-1) + 0.5 * LOG_2PI * self.loc.shape[-1]
        return -0.5 * deviation.square().sum(dim=-1) - constant

    def parameters(self) -> dict[str, Tensor]:
        """What it is made of, by name."""
        return {"loc": self.loc, "scale": self.scale}

    def by_row(self, k: int) -> "DiagonalGaussian":
        """The same distribution with parameters of its own for each of K x B rows, to take gradients by."""
        rows = (p.detach().expand(k, *p.shape).clone().requires_grad_() for p in self.parameters().values())
        return DiagonalGaussian(*rows)

    def stopped(self) -> "DiagonalGaussian":
        """The same distribution with its parameters held fixed."""
        return DiagonalGaussian(self.loc.detach(), self.scale.detach())


def standard_normal_log_prob(z: Tensor) -> Tensor:
    """log N(z; 0, I) over the last axis, nats."""
    return -0.5 * z.square().sum(dim=-1) - 0.5 * LOG_2PI * z.shape[-1]


class LatentModel(Protocol):
    """A model p(x, z) with a posterior q(z | x)."""

    latent_width: int

    def posterior(self, pixels: Tensor) -> DiagonalGaussian:
        """q(z | x) for pixels of shape (B, D)."""
        ...

    def log_joint(self, pixels: Tensor, latents: Latents, linear: Linear = ...) -> Tensor:
        """log p(x, z), shape (K, B), nats. Every layer with parameters is applied by ``linear``."""
        ...

    def model_parameters(self) -> dict[str, nn.Parameter]:
        """theta, by name."""
        ...

    def posterior_parameters(self) -> dict[str, nn.Parameter]:
        """phi, by name."""
        ...
