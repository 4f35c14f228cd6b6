"""Expected gradients without sampling: tensor Gauss-Hermite quadrature on a model with one latent dimension.

The model: z ~ N(theta, 1), x | z ~ N(slope z, noise^2), x = 0.7, q(z | x) = N(mu, exp(2 log_sd)).
Parameters are always in the order (theta, mu, log_sd); gradients are ascent.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from dregcli.engine.estimators.reparam import Reparam
from dregcli.engine.objectives import OBJECTIVES, Objective
from dregcli.engine.pairs import Pair
from dregcli.names import SampleNoise
from tests.support.naive_values import naive_targets

X = 0.7
IID = SampleNoise.IID


@dataclass(frozen=True)
class Gaussian1d:
    """The default is mild enough for squared weights to converge with few nodes."""

    theta: float = 0.2
    mu: float = 0.6
    log_sd: float = -0.7
    slope: float = 1.3
    noise: float = 0.5**0.5  # a standard deviation
    kl_weight: float = 1.0

    def parameters(self) -> tuple[Tensor, Tensor, Tensor]:
        theta, mu, log_sd = (
            torch.tensor(value, dtype=torch.float64, requires_grad=True)
            for value in (self.theta, self.mu, self.log_sd)
        )
        return theta, mu, log_sd

    def log_w(self, z: Tensor, theta: Tensor, mu: Tensor, log_sd: Tensor) -> Tensor:
        x = torch.tensor(X, dtype=torch.float64)
        prior = torch.distributions.Normal(theta, 1.0).log_prob(z)
        likelihood = torch.distributions.Normal(self.slope * z, self.noise).log_prob(x)
        return likelihood + self.kl_weight * (prior - torch.distributions.Normal(mu, log_sd.exp()).log_prob(z))

    @classmethod
    def at_the_posterior(cls) -> "Gaussian1d":
        """q is exactly p(z | x)."""
        precision = 1.0 + cls.slope**2 / cls.noise**2
        mean = (cls.theta + cls.slope * X / cls.noise**2) / precision
        return cls(mu=mean, log_sd=-0.5 * math.log(precision))


@cache
def grid(k: int, nodes: int, samples: SampleNoise = IID) -> tuple[Tensor, Tensor]:
    """Noise (K, nodes^K) and the probability of each column; with pairs of noise and minus the noise, nodes^(K/2)."""
    if samples is SampleNoise.ANTITHETIC:
        half, probability = grid(k // 2, nodes)
        return torch.stack([half, -half], dim=1).flatten(0, 1), probability
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    weights = weights / weights.sum()
    noise = np.stack([axis.ravel() for axis in np.meshgrid(*[points] * k, indexing="ij")])
    probability = np.prod([axis.ravel() for axis in np.meshgrid(*[weights] * k, indexing="ij")], axis=0)
    return torch.from_numpy(noise), torch.from_numpy(probability)


def column_gradients(pair: Pair, model: Gaussian1d, *, k: int, nodes: int, samples: SampleNoise = IID) -> Tensor:
    """The estimate at every column of the grid, shape (3, columns); derivatives of the model by hand."""
    noise, _ = grid(k, nodes, samples)
    sd = math.exp(model.log_sd)
    z = model.mu + sd * noise
    log_w = model.log_w(z, *(p.detach() for p in model.parameters()))
    # d log w / dz with q's parameters held fixed.
    ratio = -(z - model.theta) + noise / sd
    dz = model.slope * (X - model.slope * z) / model.noise**2 + model.kl_weight * ratio
    _, c = pair.at(log_w, model.kl_weight, samples)
    theta = (c.model * model.kl_weight * (z - model.theta)).sum(dim=0)
    mu = (c.path * dz + c.score * noise / sd).sum(dim=0)
    path_scale = c.path if c.path_scale is None else c.path_scale
    log_sd = (path_scale * dz * sd * noise + c.score * (noise**2 - 1.0)).sum(dim=0)
    return torch.stack([theta, mu, log_sd])


def expected_gradient(pair: Pair, model: Gaussian1d, *, k: int, nodes: int, samples: SampleNoise = IID) -> Tensor:
    """The estimator's expected gradient in (theta, mu, log_sd)."""
    return column_gradients(pair, model, k=k, nodes=nodes, samples=samples) @ grid(k, nodes, samples)[1]


def standard_deviation(pair: Pair, model: Gaussian1d, *, k: int, nodes: int) -> Tensor:
    """The estimate's standard deviation in (theta, mu, log_sd)."""
    columns, probability = column_gradients(pair, model, k=k, nodes=nodes), grid(k, nodes)[1]
    return (columns.square() @ probability - (columns @ probability).square()).sqrt()


def target_gradient(pair: Pair, model: Gaussian1d, *, k: int, nodes: int, samples: SampleNoise = IID) -> Tensor:
    """The gradient of a pair's own target: derivatives of expected naive values, and rws's update itself."""
    # All pairs of an objective but ovis-mc's have the same target, which is computed once.
    one = pair if pair.estimator.name == "ovis-mc" else reparam(pair.objective)
    return _target_gradient(one, model, k=k, nodes=nodes, samples=samples)


@cache
def _target_gradient(pair: Pair, model: Gaussian1d, *, k: int, nodes: int, samples: SampleNoise) -> Tensor:
    theta, mu, log_sd = parameters = model.parameters()
    noise, probability = grid(k, nodes, samples)
    log_w = model.log_w(mu + log_sd.exp() * noise, *parameters)
    of_model, of_posterior = naive_targets(pair)
    (by_theta,) = torch.autograd.grad((probability * of_model(log_w)).sum(), [theta], retain_graph=True)
    if of_posterior is not None:
        by_phi = torch.autograd.grad((probability * of_posterior(log_w)).sum(), [mu, log_sd])
    else:
        z = (mu + log_sd.exp() * noise).detach()
        v = torch.softmax(log_w.detach(), dim=0)
        density = torch.distributions.Normal(mu, log_sd.exp()).log_prob(z)
        by_phi = torch.autograd.grad((probability * v * density).sum(), [mu, log_sd])
    return torch.stack([by_theta, *by_phi])


def formula_gradient(pair: Pair, model: Gaussian1d, *, k: int, nodes: int) -> Tensor | None:
    """What the estimator itself says its expected gradient in phi is, from the targets it names; None of none."""
    parts = pair.estimator.expectation(pair.objective)
    if parts is None:
        return None
    targets = {name: reparam(OBJECTIVES[name]()) for name in parts}
    gradients = [share * target_gradient(targets[name], model, k=k, nodes=nodes)[1:] for name, share in parts.items()]
    return torch.stack(gradients).sum(dim=0)


def reparam(objective: Objective) -> Pair:
    return Pair(objective, Reparam())
