"""A linear Gaussian model with a known exact log p(x), so that every bound and estimate can be compared with it."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from dregcli.engine.diagonal_gaussian import LOG_2PI, DiagonalGaussian, Latents, standard_normal_log_prob
from dregcli.engine.models.amortised import AmortisedPosterior
from dregcli.engine.models.networks import network
from dregcli.engine.rows import PLAIN_ROWS, Rows
from dregcli.engine.wide import widened


class LinearGaussian(AmortisedPosterior):
    """Probabilistic PCA: z ~ N(0, I), x given z ~ N(u (W z + b), (u s)^2 I), with a linear encoder.

    u is the data's unit, the root mean square of the pixels' spreads; dividing by u makes training independent of the
    unit. W, b and s are theta. The maximum likelihood is known too, from the eigenvectors of the data's covariance
    (Tipping and Bishop, 1999, section 3.2). There the exact posterior is a diagonal Gaussian that the encoder can
    express.

    Args:
        mean: mean of each training pixel, shape (D,). b starts at it, and it is subtracted from the encoder's input.
        latent_dim: number of latent dimensions, Z.
        generator: random generator of the initial weights.
        spread: standard deviation of each training pixel, shape (D,), above 0; the encoder's input is divided by it.
    """

    unit: Tensor

    def __init__(self, mean: Tensor, *, latent_dim: int, generator: torch.Generator, spread: Tensor) -> None:
        super().__init__(mean, hidden=(), latent_dim=latent_dim, generator=generator, spread=spread)
        self.register_buffer("unit", spread.square().mean().sqrt())
        (self.decoder,) = network([latent_dim, mean.shape[0]], generator)
        with torch.no_grad():
            self._linear.bias.copy_(mean / self.unit)
        self.log_noise = nn.Parameter(torch.zeros(1))

    @property
    def _linear(self) -> nn.Linear:
        assert isinstance(self.decoder, nn.Linear)
        return self.decoder

    def log_joint(self, pixels: Tensor, latents: Latents, rows: Rows = PLAIN_ROWS) -> Tensor:
        """Return log p(x | z) + log p(z), shape (K, B), nats."""
        (z,) = latents
        means, bias = rows.product(self._linear, z)
        residual = rows.shared(pixels / self.unit if bias is None else pixels / self.unit - bias) - means
        # One number of the model, given to each example, since rows can meet parameters in no other way.
        log_noise = rows.shared(self.log_noise.expand(pixels.shape[0]))
        distance = residual.square().sum(dim=-1) * torch.exp(-2.0 * log_noise)
        constant = self.unit.log() + 0.5 * LOG_2PI
        return -0.5 * distance - pixels.shape[-1] * (log_noise + constant) + standard_normal_log_prob(z)

    def latent_prior(self, pixels: Tensor) -> DiagonalGaussian:
        """Return the standard normal."""
        return DiagonalGaussian.standard(pixels.shape[0], self.latent_width, like=self.mean)

    def mean_pixels(self, pixels: Tensor, latents: Latents) -> Tensor:
        """Return u (W z + b), shape (K, B, D)."""
        (z,) = latents
        return self.unit * self._linear(z)

    def sampled_pixels(self, pixels: Tensor, latents: Latents, generator: torch.Generator) -> Tensor:
        """Draw x given z, shape (K, B, D)."""
        mean = self.mean_pixels(pixels, latents)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device).to(mean.dtype)
        return mean + self.unit * torch.exp(self.log_noise) * noise

    @torch.no_grad()
    def log_marginal(self, pixels: Tensor) -> Tensor:
        """Return the exact log N(x; u b, u^2 (W W^T + s^2 I)), shape (B,), float64, nats.

        The matrix inversion and determinant lemmas are used, so that only a Z x Z matrix is factorised.
        """
        weight, bias = widened(self._linear.weight), widened(self._linear.bias)
        unit, variance = widened(self.unit), torch.exp(2.0 * widened(self.log_noise))
        residual = widened(pixels) / unit - bias
        dimensions, latents = weight.shape
        linalg: Any = torch.linalg  # torch.linalg has no types
        inner = torch.eye(latents, dtype=torch.float64, device=weight.device) + weight.T @ weight / variance
        factor: Tensor = linalg.cholesky(inner)
        whitened: Tensor = linalg.solve_triangular(factor, weight.T @ residual.T, upper=False)
        explained = whitened.square().sum(dim=0)
        distance = (residual.square().sum(dim=1) - explained / variance) / variance
        log_determinant = dimensions * (variance.log() + 2.0 * unit.log()) + 2.0 * factor.diagonal().log().sum()
        return -0.5 * (distance + log_determinant + dimensions * math.log(2.0 * math.pi))
