"""The Gaussian toy of Rainforth et al. (arXiv 1802.04537, section 5), of which everything is known."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dregcli.engine.models.base import DiagonalGaussian, LatentModel, Latents, standard_normal_log_prob
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.rows import PLAIN_ROWS, Rows

DIMENSIONS = 20
EXAMPLES = 1024
"""That theta is the best for."""

PERTURBATION = 0.01
"""Standard deviation of what every parameter is moved away from the optimum by."""

POSTERIOR_VARIANCE = 2.0 / 3.0
"""Of q, where the true posterior's is 1/2."""


class GaussianToy(LatentModel):
    """z ~ N(theta, I), x | z ~ N(z, I), q(z | x) = N(A x + b, 2/3 I): a covariance, not a scale.

    Every example of a batch has parameters of its own, the same numbers in all of them. So the gradient by them is
    one row for each example, and a batch of one data point many times over is as many independent replicates of its
    gradient, through the same coefficients and the same executor as any other model's.

    Args:
        theta: shape (D,).
        a: shape (D, D).
        b: shape (D,).
        examples: B.

    Attributes:
        theta: shape (B, D).
        b: shape (B, D).
        scale: of q, shape (B, D).
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
        """The same for a batch of another size."""
        return GaussianToy(self.theta.detach()[0], self.a, self.b.detach()[0], examples=examples)

    def posterior(self, pixels: Tensor) -> DiagonalGaussian:
        """q(z | x) for data of shape (B, D)."""
        return DiagonalGaussian(pixels @ self.a.mT + self.b, self.scale)

    def log_joint(self, pixels: Tensor, latents: Latents, rows: Rows = PLAIN_ROWS) -> Tensor:
        """log N(x; z, I) + log N(z; theta, I), shape (K, B), nats."""
        (z,) = latents
        return standard_normal_log_prob(z - rows.shared(self.theta)) + standard_normal_log_prob(
            rows.shared(pixels) - z
        )

    def latent_prior(self, pixels: Tensor) -> DiagonalGaussian:
        """N(theta, I)."""
        return DiagonalGaussian(self.theta, torch.ones_like(self.theta))

    def mean_pixels(self, pixels: Tensor, latents: Latents) -> Tensor:
        """z itself."""
        return latents[0]

    def log_marginal(self, pixels: Tensor) -> Tensor:
        """log N(x; theta, 2 I)."""
        return log_marginal(pixels, self.theta.detach())

    def model_parameters(self) -> dict[str, nn.Parameter]:
        """theta."""
        return {"theta": self.theta}

    def posterior_parameters(self) -> dict[str, nn.Parameter]:
        """b, and the scale, which is of the same shape. A's gradient is b's times x."""
        return {"b": self.b, "scale": self.scale}


def log_marginal(x: Tensor, theta: Tensor) -> Tensor:
    """log N(x; theta, 2 I), shape (B,), float64, nats, for x of shape (B, D)."""
    unit = math.sqrt(2.0)
    return standard_normal_log_prob((x.double() - theta.double()) / unit) - x.shape[-1] * math.log(unit)


@dataclass(frozen=True)
class ToyProblem:
    """The toy near its optimum, and the data point that gradients are taken at.

    Attributes:
        model: of one example, float64.
        x: shape (1, D).
        truth: theta of the distribution that x was drawn from, shape (D,).
    """

    model: GaussianToy
    x: Tensor
    truth: Tensor


def toy_problem(randomness: Randomness) -> ToyProblem:
    """The toy with all parameters moved from their optimum by N(0, 0.01^2), drawn by the seed, float64.

    1,024 examples x ~ N(theta*, 2 I) with theta* ~ N(0, I) put the optimum at theta = their mean, A = I / 2 and
    b = theta / 2. Gradients are taken at one of them, so that only noise makes them vary: the one whose q is as far
    from the true posterior in its mean as the median example's. That distance is the signal; the first example that
    comes has half or double of it from seed to seed, the median one is within about a tenth.
    """
    # Drawn on the CPU whatever the device, so that every device has the same toy.
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
