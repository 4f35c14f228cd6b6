"""The Gaussian toy of Rainforth et al. (arXiv 1802.04537, section 5), where all quantities are known exactly."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dregcli.engine.diagonal_gaussian import DiagonalGaussian, Latents, standard_normal_log_prob
from dregcli.engine.models.base import GaussianModel
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.rows import PLAIN_ROWS, Rows

DIMENSIONS = 20
EXAMPLES = 1024
"""Number of examples for which theta is optimal."""

PERTURBATION = 0.01
"""Standard deviation of the random offset of every parameter from its optimum."""

POSTERIOR_VARIANCE = 2.0 / 3.0
"""Variance of q; the true posterior has 1/2."""


class GaussianToy(GaussianModel):
    """The toy z ~ N(theta, I), x | z ~ N(z, I), q(z | x) = N(A x + b, 2/3 I); 2/3 I is a covariance, not a scale.

    Every example of a batch has its own copy of the parameters, with equal values. So the gradient has one row per
    example, and a batch that repeats one data point gives as many independent replicates of its gradient, through the
    same coefficients and the same executor as for any other model.

    Args:
        theta: mean of the prior, shape (D,).
        a: matrix A of the posterior, shape (D, D).
        b: offset of the posterior, shape (D,).
        examples: number of examples, B.

    Attributes:
        theta: mean of the prior, shape (B, D).
        b: offset of the posterior, shape (B, D).
        scale: standard deviation of q, shape (B, D).
    """

    a: Tensor

    def __init__(self, theta: Tensor, a: Tensor, b: Tensor, *, examples: int = 1) -> None:
        super().__init__()
        self.latent_width = theta.shape[0]
        self.theta = nn.Parameter(theta.repeat(examples, 1))
        self.b = nn.Parameter(b.repeat(examples, 1))
        self.scale = nn.Parameter(torch.full_like(self.b.detach(), math.sqrt(POSTERIOR_VARIANCE)))
        self.register_buffer("a", a.clone())

    def repeated(self, examples: int) -> "GaussianToy":
        """Return the same toy for a batch of another size."""
        return GaussianToy(self.theta.detach()[0], self.a, self.b.detach()[0], examples=examples)

    def posterior(self, pixels: Tensor) -> DiagonalGaussian:
        """Return q(z | x) for data of shape (B, D)."""
        return DiagonalGaussian(pixels @ self.a.mT + self.b, self.scale)

    def log_joint(self, pixels: Tensor, latents: Latents, rows: Rows = PLAIN_ROWS) -> Tensor:
        """Return log N(x; z, I) + log N(z; theta, I), shape (K, B), nats."""
        (z,) = latents
        return standard_normal_log_prob(z - rows.shared(self.theta)) + standard_normal_log_prob(
            rows.shared(pixels) - z
        )

    def latent_prior(self, pixels: Tensor) -> DiagonalGaussian:
        """Return N(theta, I)."""
        return DiagonalGaussian(self.theta, torch.ones_like(self.theta))

    def mean_pixels(self, pixels: Tensor, latents: Latents) -> Tensor:
        """Return z itself, the mean of x."""
        return latents[0]

    def sampled_pixels(self, pixels: Tensor, latents: Latents, generator: torch.Generator) -> Tensor:
        """Draw x from N(z, I)."""
        (z,) = latents
        return z + torch.randn(z.shape, generator=generator, device=z.device).to(z.dtype)

    def log_marginal(self, pixels: Tensor) -> Tensor:
        """Return log N(x; theta, 2 I)."""
        return log_marginal(pixels, self.theta.detach())

    def model_parameters(self) -> dict[str, nn.Parameter]:
        """Return theta."""
        return {"theta": self.theta}

    def posterior_parameters(self) -> dict[str, nn.Parameter]:
        """Return b and the scale, which have one shape. A is left out: its gradient is b's times x."""
        return {"b": self.b, "scale": self.scale}


def log_marginal(x: Tensor, theta: Tensor) -> Tensor:
    """Return log N(x; theta, 2 I), shape (B,), float64, nats, for x of shape (B, D)."""
    unit = math.sqrt(2.0)
    return standard_normal_log_prob((x.double() - theta.double()) / unit) - x.shape[-1] * math.log(unit)


@dataclass(frozen=True)
class ToyProblem:
    """The toy near its optimum, and the data point at which gradients are computed.

    Attributes:
        model: the toy for one example, float64.
        x: the data point, shape (1, D).
        truth: theta of the distribution that x was drawn from, shape (D,).
    """

    model: GaussianToy
    x: Tensor
    truth: Tensor


def toy_problem(randomness: Randomness) -> ToyProblem:
    """Return the toy with all parameters moved from their optimum by N(0, 0.01^2), drawn by the seed, float64.

    There are 1,024 examples x ~ N(theta*, 2 I) with theta* ~ N(0, I); the optimum is theta = mean of the examples,
    A = I / 2 and b = theta / 2. Gradients are computed at one example, so that only noise makes them vary. It is the
    example with the median distance between the means of q and of the true posterior. This distance is the signal.
    From seed to seed the first example's distance can halve or double, but the median changes by only about a tenth.
    """
    # Drawn on the CPU for every device, so that all devices have the same toy.
    generator = Randomness(randomness.seed).generator(Stream.TOY)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    truth = normal(DIMENSIONS)
    x = truth + math.sqrt(2.0) * normal(EXAMPLES, DIMENSIONS)
    best = x.mean(dim=0)
    theta = best + PERTURBATION * normal(DIMENSIONS)
    a = 0.5 * torch.eye(DIMENSIONS, dtype=torch.float64) + PERTURBATION * normal(DIMENSIONS, DIMENSIONS)
    b = 0.5 * best + PERTURBATION * normal(DIMENSIONS)
    distance = (x @ a.mT + b - 0.5 * (x + theta)).square().sum(dim=-1)
    typical = distance.argsort()[EXAMPLES // 2]
    device = randomness.device
    return ToyProblem(GaussianToy(theta, a, b).to(device), x[typical : typical + 1].to(device), truth.to(device))
