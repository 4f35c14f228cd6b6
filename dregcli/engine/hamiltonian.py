"""Hamiltonian transitions of many chains at once, from a start density to its product with a likelihood.

At the inverse temperature b the target is f_b(e) = s(e) p(x | z(e))^b. Usually positions are whitened by the prior:
z = loc + scale * e, where loc and scale belong to the prior of its example. So e is standard normal under every
prior, including a conditional prior, and s(e) = N(e; 0, I). For other priors a position is z itself, and s is p(z).

Reference: Neal, "MCMC using Hamiltonian dynamics", arXiv 1206.1901.
"""

from dataclasses import dataclass, fields
from typing import Protocol

import torch
from torch import Tensor

from dregcli.engine.diagonal_gaussian import DiagonalGaussian, Latents, standard_normal_log_prob
from dregcli.engine.draws import LatentNoise


@dataclass(frozen=True)
class Points:
    """Positions of M chains for each of B examples, with the likelihood and its slope at these positions.

    Attributes:
        e: positions, shape (M, B, Z).
        log_likelihood: log p(x | z), shape (M, B), float64, nats.
        slope: derivative of ``log_likelihood`` by e, shape (M, B, Z).
        squares: -2 log s(e) up to a constant, shape (M, B), float64, nats: the square of e's length if s is N(0, I).
        pull: half the derivative of ``squares`` by e, shape (M, B, Z): e itself if s is N(0, I).
    """

    e: Tensor
    log_likelihood: Tensor
    slope: Tensor
    squares: Tensor
    pull: Tensor

    @classmethod
    def whitened(cls, e: Tensor, log_likelihood: Tensor, slope: Tensor) -> "Points":
        """Return points whose start density is N(0, I)."""
        return cls(e, log_likelihood, slope, e.double().square().sum(dim=-1), e)

    def where(self, chosen: Tensor, other: "Points") -> "Points":
        """Return these points where ``chosen`` (shape (M, B), bool) is true, and ``other``'s points elsewhere."""
        mine, others = self.tensors(), other.tensors()
        return Points(
            **{
                name: torch.where(chosen if each.ndim == chosen.ndim else chosen.unsqueeze(-1), each, others[name])
                for name, each in mine.items()
            }
        )

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors by name."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


class Target(Protocol):
    """The start density and the likelihood of some examples, as functions of positions."""

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the positions."""
        ...

    @property
    def width(self) -> int:
        """Number of coordinates of a position, Z."""
        ...

    def start(self, noise: LatentNoise) -> Tensor:
        """Draw the positions of K chains for each example from the start density, (K, B, Z).

        Args:
            noise: random numbers of K samples for whole evaluation batches, of which the first examples are used.
        """
        ...

    def __call__(self, e: Tensor) -> Points:
        """Evaluate the densities and their slopes at positions, shape (M, B, Z)."""
        ...


class GaussianDensities(Protocol):
    """A model with one diagonal Gaussian as its prior."""

    latent_width: int

    def latent_prior(self, pixels: Tensor) -> DiagonalGaussian:
        """Return p(z), or p(z | c), for pixels of shape (B, D)."""
        ...

    def log_joint(self, pixels: Tensor, latents: Latents) -> Tensor:
        """Return log p(x, z), shape (K, B), nats."""
        ...


class WhitenedLikelihood:
    """log p(x | z) and its derivative as functions of whitened latents. No parameter gets a gradient.

    Args:
        model: the model; its posterior is not used.
        pixels: shape (B, D).
    """

    def __init__(self, model: GaussianDensities, pixels: Tensor) -> None:
        self._model, self._pixels = model, pixels
        with torch.no_grad():
            self._prior = model.latent_prior(pixels).stopped()
            self._log_scale = self._prior.scale.double().log().sum(dim=-1)

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the latents."""
        return self._prior.loc.dtype

    @property
    def width(self) -> int:
        """Number of latent dimensions."""
        return self._model.latent_width

    def start(self, noise: LatentNoise) -> Tensor:
        """Return the noise, which is standard normal."""
        return noise.noise(0, noise.k)[:, : len(self._pixels)]

    def __call__(self, e: Tensor) -> Points:
        """Evaluate the likelihood and its slope at e, shape (M, B, Z)."""
        with torch.enable_grad():
            (z,) = self._prior.rsample(e)
            z.requires_grad_()
            log_joint = self._model.log_joint(self._pixels, (z,))
            (slope,) = torch.autograd.grad(log_joint.sum(), z)
        # log p(x | z) = log joint - log prior; the log prior is log N(e; 0, I) - sum log scale, its derivative -e.
        log_prior = standard_normal_log_prob(e.double()) - self._log_scale
        log_likelihood = log_joint.detach().double() - log_prior
        return Points.whitened(e, log_likelihood, torch.addcmul(e, slope, self._prior.scale))


def energy(points: Points, momentum: Tensor, b: float) -> Tensor:
    """Return minus log f_b(e) N(p; 0, I), up to a constant, shape (M, B), float64, nats."""
    half_squares = 0.5 * (points.squares + momentum.double().square().sum(dim=-1))
    return half_squares - b * points.log_likelihood


def leapfrog(
    likelihood: Target, start: Points, momentum: Tensor, *, b: float, step_size: Tensor, leapfrogs: int
) -> tuple[Points, Tensor]:
    """Follow the dynamics. A flipped momentum reverses them, and they preserve volume.

    One leapfrog costs one evaluation: the derivative at the start is known, and the derivative at the end is kept.

    Args:
        likelihood: likelihood of the examples.
        start: positions of the chains.
        momentum: shape (M, B, Z).
        b: inverse temperature.
        step_size: step sizes, of shape (M, B) or one that broadcasts to it.
        leapfrogs: number of steps; with 0 the chains do not move.

    Returns:
        The positions and momenta at the end.
    """
    step = step_size.to(start.e.dtype).unsqueeze(-1)
    points = start
    for i in range(leapfrogs):
        if i == 0:
            momentum = torch.addcmul(momentum, step, _force(points, b), value=0.5)
        points = likelihood(torch.addcmul(points.e, step, momentum))
        momentum = torch.addcmul(momentum, step, _force(points, b), value=1.0 if i < leapfrogs - 1 else 0.5)
    return points, momentum


def _force(points: Points, b: float) -> Tensor:
    """Return d log f_b / d e, shape (M, B, Z)."""
    return points.slope.mul(b).sub_(points.pull)


def transition(
    likelihood: Target,
    start: Points,
    momentum: Tensor,
    uniform: Tensor,
    *,
    b: float,
    step_size: Tensor,
    leapfrogs: int,
) -> tuple[Points, Tensor]:
    """Make one Hamiltonian transition, which leaves f_b invariant.

    A proposal is never accepted if its density is not finite or if the dynamics overflowed.

    Args:
        likelihood: likelihood of the examples.
        start: positions of the chains.
        momentum: newly drawn standard normal numbers, shape (M, B, Z).
        uniform: numbers in [0, 1) that decide on acceptance, shape (M, B), float64.
        b: inverse temperature.
        step_size: step sizes, of shape (M, B) or one that broadcasts to it; they must not depend on these chains'
            past.
        leapfrogs: number of leapfrog steps.

    Returns:
        The new positions, and the probability with which each proposal was accepted, (M, B), float64.
    """
    end, arrived = leapfrog(likelihood, start, momentum, b=b, step_size=step_size, leapfrogs=leapfrogs)
    gain = energy(start, momentum, b) - energy(end, arrived, b)
    # A chain that starts where the density is 0 accepts any other place; a comparison with NaN is false.
    possible = torch.isfinite(end.log_likelihood) & (gain > -torch.inf)
    probability = torch.where(possible, gain.clamp(max=0.0).exp(), 0.0)
    return end.where(uniform < probability, start), probability
