"""What the gradient executor and the evaluation need of a model."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from dregcli.engine.rows import PLAIN_ROWS, Rows

LOG_2PI = math.log(2.0 * math.pi)

Latents = tuple[Tensor, ...]
"""One tensor a stochastic layer, each (K, B, Z_layer)."""


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
        """Standard normal for B examples, of ``like``'s device and dtype."""
        return cls(like.new_zeros(examples, width), like.new_ones(examples, width))

    def kl_from(self, other: "DiagonalGaussian") -> Tensor:
        """KL(self || other), shape (B,), float64, nats."""
        unit = other.scale.double()
        loc, scale = (self.loc.double() - other.loc.double()) / unit, self.scale.double() / unit
        return 0.5 * (loc.square() + scale.square() - 1.0).sum(dim=-1) - scale.log().sum(dim=-1)

    def rsample(self, noise: Tensor) -> Latents:
        """Reparameterised samples from standard normal noise of shape (K, B, Z)."""
        return (torch.addcmul(self.loc, self.scale, noise),)

    def log_prob_at(self, noise: Tensor) -> Tensor:
        """log q(z | x) of the samples that ``rsample`` makes of noise, shape (K, B), nats."""
        # Chunks of samples share the constant; but one that carries a gradient belongs to whoever asks for it.
        constant = self._normaliser() if self.scale.requires_grad else self._fixed_normaliser
        return noise.square().sum(dim=-1).mul_(-0.5).sub_(constant)

    def _normaliser(self) -> Tensor:
        """sum log scale + Z/2 log 2 pi, shape (B,)."""
        return self.scale.log().sum(dim=-1) + 0.5 * LOG_2PI * self.loc.shape[-1]

    @cached_property
    def _fixed_normaliser(self) -> Tensor:
        return self._normaliser()

    def slope_at(self, noise: Tensor) -> tuple[Tensor, ...]:
        """d log q(z | x) / d z of the samples that ``rsample`` makes of noise, its parameters held fixed."""
        return (-noise / self.scale,)

    def path_derivatives(self, noise: Tensor, dz: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """By each of its parameters, row by row: dz times d sample / d parameter, (K, B, Z)."""
        (slope,) = dz
        return {"loc": slope, "scale": slope * noise}

    def score_derivatives(self, noise: Tensor) -> dict[str, Tensor]:
        """By each of its parameters, row by row: d log q(z | x) with the sample held fixed, (K, B, Z)."""
        by_loc = noise / self.scale
        return {"loc": by_loc, "scale": (noise * by_loc).sub_(self.scale.reciprocal())}

    def parameters(self) -> dict[str, Tensor]:
        """What it is made of, by name."""
        return {"loc": self.loc, "scale": self.scale}

    def of(self, examples: Tensor) -> "DiagonalGaussian":
        """Those of some examples, by their indices."""
        return DiagonalGaussian(self.loc[examples], self.scale[examples])

    def stopped(self) -> "DiagonalGaussian":
        """The same distribution with its parameters held fixed."""
        return DiagonalGaussian(self.loc.detach(), self.scale.detach())


def standard_normal_log_prob(z: Tensor) -> Tensor:
    """log N(z; 0, I) over the last axis, nats."""
    return z.square().sum(dim=-1).mul_(-0.5).sub_(0.5 * LOG_2PI * z.shape[-1])


class LatentModel(nn.Module, ABC):
    """A model p(x, z) with a posterior q(z | x); of what is predicted from a context c, p(x, z | c) and q(z | c, x).

    Pixels are always whole images, context included.

    Attributes:
        latent_width: dimensions of all stochastic layers together, Z.
        fused: whether its passes over rows are compiled.
    """

    latent_width: int

    @abstractmethod
    def posterior(self, pixels: Tensor) -> DiagonalGaussian:
        """q(z | x) for pixels of shape (B, D)."""

    @abstractmethod
    def log_joint(self, pixels: Tensor, latents: Latents, rows: Rows = PLAIN_ROWS) -> Tensor:
        """log p(x, z), shape (K, B), nats.

        Args:
            pixels: shape (B, D).
            latents: (K, B, Z_layer) each.
            rows: applies every layer to rows, and takes to rows what belongs to examples, pixels included. Nothing
                else with parameters may touch rows.
        """

    @abstractmethod
    def latent_prior(self, pixels: Tensor) -> DiagonalGaussian:
        """p(z), or p(z | c) of what is predicted from a context, for each of B examples of shape (B, D)."""

    @abstractmethod
    def mean_pixels(self, pixels: Tensor, latents: Latents) -> Tensor:
        """E[x | z], whole images of shape (K, B, D); a context c is taken from ``pixels``, shape (B, D)."""

    def log_marginal(self, pixels: Tensor) -> Tensor | None:
        """Exact log p(x), shape (B,), float64, nats, where it is known in closed form; None where it is not."""
        return None

    fused: bool = False

    def fuse(self) -> None:
        """Compile the passes over rows that can be, from now on. What they compute stays, up to rounding."""

    def unfuse(self) -> None:
        """Compile no more."""

    @abstractmethod
    def model_parameters(self) -> dict[str, nn.Parameter]:
        """theta, by name."""

    @abstractmethod
    def posterior_parameters(self) -> dict[str, nn.Parameter]:
        """phi, by name."""
