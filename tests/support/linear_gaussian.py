"""A latent model whose log p(x) is known: z ~ N(0, I), x given z ~ N(W z + b, s^2 I)."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from dregcli.engine.diagonal_gaussian import DiagonalGaussian, Latents, standard_normal_log_prob
from dregcli.engine.models.base import GaussianModel
from dregcli.engine.rows import PLAIN_ROWS, Rows


class LinearGaussian(GaussianModel):
    """In float64. The columns of W are not orthogonal: latents are correlated given x. It has no posterior to ask."""

    def __init__(self, *, pixels: int = 6, latent_dim: int = 5, noise: float = 0.6) -> None:
        super().__init__()
        self.latent_width = latent_dim
        generator = torch.Generator().manual_seed(0)
        self.weight = 0.4 * torch.randn(pixels, latent_dim, generator=generator, dtype=torch.float64)
        self.bias = torch.randn(pixels, generator=generator, dtype=torch.float64)
        self.noise = noise

    def log_joint(self, pixels: Tensor, latents: Latents, rows: Rows = PLAIN_ROWS) -> Tensor:
        (z,) = latents
        u = (rows.shared(pixels) - z @ self.weight.T - self.bias) / self.noise
        return standard_normal_log_prob(u) - len(self.bias) * math.log(self.noise) + standard_normal_log_prob(z)

    def latent_prior(self, pixels: Tensor) -> DiagonalGaussian:
        return DiagonalGaussian.standard(len(pixels), self.latent_width, like=self.weight)

    def log_marginal(self, pixels: Tensor) -> Tensor:
        covariance = self.weight @ self.weight.T + self.noise**2 * torch.eye(len(self.bias), dtype=torch.float64)
        marginal: Any = MultivariateNormal(self.bias, covariance)  # whose log_prob torch does not annotate
        return marginal.log_prob(pixels)

    def draw(self, examples: int, seed: int) -> Tensor:
        """x of the model, shape (B, D)."""
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(examples, self.latent_width + len(self.bias), generator=generator, dtype=torch.float64)
        z, rest = noise[:, : self.latent_width], noise[:, self.latent_width :]
        return self.bias + z @ self.weight.T + self.noise * rest

    def posterior(self, pixels: Tensor) -> DiagonalGaussian:
        raise AssertionError

    def mean_pixels(self, pixels: Tensor, latents: Latents) -> Tensor:
        raise AssertionError

    def sampled_pixels(self, pixels: Tensor, latents: Latents, generator: torch.Generator) -> Tensor:
        raise AssertionError

    def model_parameters(self) -> dict[str, nn.Parameter]:
        return {}

    def posterior_parameters(self) -> dict[str, nn.Parameter]:
        return {}
