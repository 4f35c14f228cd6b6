"""Expected gradients without sampling: tensor Gauss-Hermite quadrature on a model with one latent dimension.

The model: z ~ N(theta, 1), x | z ~ N(slope z, noise), x = 0.7, q(z | x) = N(mu, exp(2 log_sd)).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dregcli.engine.pairs import Pair

X = 0.7
SLOPE = 1.3
NOISE = 0.5**0.5  # a standard deviation; the variance is 0.5


@dataclass(frozen=True)
class Gaussian1d:
    """The parameters, scalars."""

    theta: Tensor
    mu: Tensor
    log_sd: Tensor

    @classmethod
    def make(cls, *, theta: float = 0.2, mu: float = 0.6, log_sd: float = -0.7) -> "Gaussian1d":
        """Float64 leaves. The defaults are mild enough for squared weights to converge with few nodes."""
        return cls(*(torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (theta, mu, log_sd)))

    def log_w(self, z: Tensor, *, stop_posterior: bool) -> Tensor:
        """log p(x, z) - log q(z), with q's parameters held fixed or not."""
        mu, log_sd = (self.mu.detach(), self.log_sd.detach()) if stop_posterior else (self.mu, self.log_sd)
        prior = torch.distributions.Normal(self.theta, 1.0).log_prob(z)
        likelihood = torch.distributions.Normal(SLOPE * z, NOISE).log_prob(torch.tensor(X, dtype=torch.float64))
        return prior + likelihood - torch.distributions.Normal(mu, log_sd.exp()).log_prob(z)


def grid(k: int, nodes: int) -> tuple[Tensor, Tensor]:
    """Noise (K, nodes^K) and the probability of each column, for K independent standard normals."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    weights = weights / weights.sum()
    noise = np.stack([axis.ravel() for axis in np.meshgrid(*[points] * k, indexing="ij")])
    probability = np.prod([axis.ravel() for axis in np.meshgrid(*[weights] * k, indexing="ij")], axis=0)
    return torch.from_numpy(noise), torch.from_numpy(probability)


def expected_gradient(pair: Pair, model: Gaussian1d, *, k: int, nodes: int) -> Tensor:
    """The estimator's expected gradient in (theta, mu, log_sd), ascent."""
    noise, probability = grid(k, nodes)
    z = model.mu + model.log_sd.exp() * noise
    log_w = model.log_w(z, stop_posterior=True)
    _, c = pair.at(log_w)
    (theta,) = torch.autograd.grad((probability * c.model * log_w).sum(), [model.theta], retain_graph=True)
    density = torch.distributions.Normal(model.mu, model.log_sd.exp()).log_prob(z.detach())
    target = (probability * (c.path * log_w + c.score * density)).sum()
    return torch.stack([theta, *torch.autograd.grad(target, [model.mu, model.log_sd])])


def value_gradient(pair: Pair, model: Gaussian1d, *, k: int, nodes: int) -> Tensor:
    """The derivative of the expected value of the objective itself in (theta, mu, log_sd)."""
    noise, probability = grid(k, nodes)
    log_w = model.log_w(model.mu + model.log_sd.exp() * noise, stop_posterior=False)
    value = (probability * _differentiable_value(pair, log_w)).sum()
    return torch.stack(torch.autograd.grad(value, [model.theta, model.mu, model.log_sd]))


def _differentiable_value(pair: Pair, log_w: Tensor) -> Tensor:
    return pair.objective.terms(log_w).value
