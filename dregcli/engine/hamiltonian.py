"""Hamiltonian transitions of many chains at once, for log p(x | z) raised to a power and whitened by the prior.

A latent is z = loc + scale * e with loc and scale of the prior of its example, so that e is standard normal under
every prior, a conditional one included. At the inverse temperature b the target is f_b(e) = N(e; 0, I) p(x | z)^b.

Reference: Neal, "MCMC using Hamiltonian dynamics", arXiv 1206.1901.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dregcli.engine.models.base import LatentModel, standard_normal_log_prob


@dataclass(frozen=True)
class Points:
    """Where M chains of each of B examples are, and what is known there.

    Attributes:
        e: whitened latents, shape (M, B, Z).
        log_likelihood: log p(x | z), shape (M, B), float64, nats.
        slope: its derivative by e, shape (M, B, Z).
    """

    e: Tensor
    log_likelihood: Tensor
    slope: Tensor

    def where(self, chosen: Tensor, other: "Points") -> "Points":
        """These where ``chosen``, shape (M, B), bool; the other ones elsewhere."""
        wide = chosen.unsqueeze(-1)
        return Points(
            torch.where(wide, self.e, other.e),
            torch.where(chosen, self.log_likelihood, other.log_likelihood),
            torch.where(wide, self.slope, other.slope),
        )


class WhitenedLikelihood:
    """log p(x | z) and its derivative as functions of whitened latents. No parameter gets a gradient.

    Args:
        model: the model; its posterior is not used.
        pixels: shape (B, D).
    """

    def __init__(self, model: LatentModel, pixels: Tensor) -> None:
        self._model, self._pixels = model, pixels
        with torch.no_grad():
            self._prior = model.latent_prior(pixels).stopped()
            self._log_scale = self._prior.scale.double().log().sum(dim=-1)

    @property
    def dtype(self) -> torch.dtype:
        """Of latents."""
        return self._prior.loc.dtype

    def __call__(self, e: Tensor) -> Points:
        """Evaluate at e, shape (M, B, Z)."""
        with torch.enable_grad():
            (z,) = self._prior.rsample(e)
            z.requires_grad_()
            log_joint = self._model.log_joint(self._pixels, (z,))
            (slope,) = torch.autograd.grad(log_joint.sum(), z)
        # log p(x | z) is what the joint has beside the prior, log N(e; 0, I) - sum log scale with derivative -e.
        log_prior = standard_normal_log_prob(e.double()) - self._log_scale
        log_likelihood = log_joint.detach().double() - log_prior
        return Points(e, log_likelihood, torch.addcmul(e, slope, self._prior.scale))


def energy(points: Points, momentum: Tensor, b: float) -> Tensor:
    """Minus log f_b(e) N(p; 0, I) but for a constant, shape (M, B), float64, nats."""
    half_squares = 0.5 * (points.e.double().square().sum(dim=-1) + momentum.double().square().sum(dim=-1))
    return half_squares - b * points.log_likelihood


def leapfrog(
    likelihood: WhitenedLikelihood, start: Points, momentum: Tensor, *, b: float, step_size: Tensor, leapfrogs: int
) -> tuple[Points, Tensor]:
    """Follow the dynamics: reversible by a change of the momentum's sign, and preserving volume.

    It costs one evaluation a leapfrog: the derivative at the start is known, and the one at the end is kept.

    Args:
        likelihood: of the examples.
        start: where the chains are.
        momentum: shape (M, B, Z).
        b: inverse temperature.
        step_size: shape (M, B) or what broadcasts to it.
        leapfrogs: steps; 0 stays.

    Returns:
        Where they arrive, and with what momentum.
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
    """d log f_b / d e, shape (M, B, Z)."""
    return points.slope.mul(b).sub_(points.e)


def transition(
    likelihood: WhitenedLikelihood,
    start: Points,
    momentum: Tensor,
    uniform: Tensor,
    *,
    b: float,
    step_size: Tensor,
    leapfrogs: int,
) -> tuple[Points, Tensor]:
    """One Hamiltonian transition, which leaves f_b invariant.

    A proposal whose density is not finite, or where the dynamics overflowed, is never accepted.

    Args:
        likelihood: of the examples.
        start: where the chains are.
        momentum: fresh, standard normal, shape (M, B, Z).
        uniform: numbers in [0, 1) that decide on acceptance, shape (M, B), float64.
        b: inverse temperature.
        step_size: shape (M, B) or what broadcasts to it; it depends on nothing that these chains have been through.
        leapfrogs: leapfrog steps.

    Returns:
        Where the chains are then, and the probability with which each proposal was accepted, (M, B), float64.
    """
    end, arrived = leapfrog(likelihood, start, momentum, b=b, step_size=step_size, leapfrogs=leapfrogs)
    gain = energy(start, momentum, b) - energy(end, arrived, b)
    # A chain that starts where the density is 0 accepts any other place; NaN compares as no.
    possible = torch.isfinite(end.log_likelihood) & (gain > -torch.inf)
    probability = torch.where(possible, gain.clamp(max=0.0).exp(), 0.0)
    return end.where(uniform < probability, start), probability
