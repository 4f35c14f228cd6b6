"""What annealing needs of a user's model: positions, a start density that can be sampled, and slopes by autograd.

If every prior is a Gaussian, or a transform of one, positions are the standard normal numbers that the latents are
made from: the latents are whitened, for a chain of conditional priors as well. Otherwise a position is all latents
joined, and the start density is their prior.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import Distribution

from dregcli.defaults import NOISE_BLOCK
from dregcli.engine.draws import LatentNoise
from dregcli.engine.hamiltonian import Points
from dregcli.engine.programs.ancestral import (
    Draw,
    addressed,
    ancestral,
    blank_latents,
    is_conditional,
    of_rows,
    through_normals,
)
from dregcli.engine.programs.densities import ModelDensities, ModelProgram
from dregcli.engine.programs.families import is_discrete, is_everywhere, words_of
from dregcli.errors import SpecError


class NotWhitened(Exception):
    """A prior is not made from standard normal numbers."""


def _given_normals(e: Tensor) -> Draw:
    """Return a ``Draw`` that makes latents from given numbers (K', B', Z), one latent after the other."""
    rows = (e.shape[0], e.shape[1])
    taken = 0

    def normals(shape: tuple[int, ...]) -> Tensor:
        nonlocal taken
        width = torch.Size(shape).numel()
        taken += width
        return e[..., taken - width : taken].reshape(*rows, *shape)

    def draw(latent: int, name: str, prior: Distribution) -> Tensor:
        prior = of_rows(prior, rows)
        batched = 2 if is_conditional(name, prior, rows) else 0
        if (found := through_normals(prior, normals, batched=batched)) is None:
            raise NotWhitened
        return found

    return draw


def whitened_width(model: ModelProgram, like: Mapping[str, Tensor]) -> int | None:
    """Return how many standard normal numbers one sample's latents are made from; None if a prior is none of these.

    Args:
        model: the program.
        like: latents of one row, (1, 1, ...) each.
    """
    width, number = 0, next(iter(like.values()))

    def zeros(shape: tuple[int, ...]) -> Tensor:
        nonlocal width
        width += torch.Size(shape).numel()
        return number.new_zeros(1, 1, *shape)

    def draw(latent: int, name: str, prior: Distribution) -> Tensor:
        prior = of_rows(prior, (1, 1))
        batched = 2 if is_conditional(name, prior, (1, 1)) else 0
        if (found := through_normals(prior, zeros, batched=batched)) is None:
            raise NotWhitened
        return found

    try:
        ancestral(model, draw, blank=blank_latents(like, (1, 1)))
    except NotWhitened:
        return None
    return width


class WhitenedProgram:
    """log p(x | z) and its slope, as functions of the standard normal numbers that z is made from.

    Args:
        model: the model's program.
        densities: its log-densities.
        pixels: shape (B, D).
        like: latents of one row, (1, 1, ...) each.
        width: number of standard normal numbers, Z.
    """

    def __init__(
        self,
        model: ModelProgram,
        densities: ModelDensities,
        pixels: Tensor,
        like: Mapping[str, Tensor],
        *,
        width: int,
    ) -> None:
        self._model, self._densities, self._pixels, self._like = model, densities, pixels, like
        self.width, self.dtype = width, next(iter(like.values())).dtype

    def start(self, noise: LatentNoise) -> Tensor:
        """Return the noise, which is standard normal."""
        return noise.noise(0, noise.k)[:, : len(self._pixels)]

    def __call__(self, e: Tensor) -> Points:
        """Evaluate the likelihood and its slope."""
        with torch.enable_grad():
            leaf = e.detach().requires_grad_()
            rows = (e.shape[0], e.shape[1])
            _, p = ancestral(self._model, _given_normals(leaf), blank=blank_latents(self._like, rows))
            found = self._densities.log_likelihood(p, self._pixels, rows)
            slope = _slope(found, leaf)
        return Points.whitened(e, found.detach().double(), slope)


class JoinedLatents:
    """log p(z), log p(x | z) and their slopes, as functions of all latents joined.

    Args:
        model: the model's program.
        densities: its log-densities.
        pixels: shape (B, D).
        like: latents of one row, (1, 1, ...) each.
    """

    def __init__(
        self,
        model: ModelProgram,
        densities: ModelDensities,
        pixels: Tensor,
        like: Mapping[str, Tensor],
    ) -> None:
        self._model, self._densities, self._pixels, self._like = model, densities, pixels, like
        self.width, self.dtype = sum(z.numel() for z in like.values()), next(iter(like.values())).dtype

    def start(self, noise: LatentNoise) -> Tensor:
        """Draw the latents from the prior, block by block."""
        examples = noise.noise(0, NOISE_BLOCK).shape[1]
        blocks: list[Tensor] = []
        for first in range(0, noise.k, NOISE_BLOCK):
            draw = addressed(noise, examples, first=first, device=self._pixels.device)
            z = ancestral(self._model, draw, blank=blank_latents(self._like, (NOISE_BLOCK, examples)))[0].z
            blocks.append(torch.cat([z[name].flatten(2) for name in self._like], dim=-1).to(self.dtype))
        return torch.cat(blocks)[: noise.k, : len(self._pixels)]

    def __call__(self, e: Tensor) -> Points:
        """Evaluate the densities and their slopes."""
        with torch.enable_grad():
            leaf = e.detach().requires_grad_()
            found = self._densities.run(self._split(leaf), self._pixels)
            likelihood, prior = found.log_likelihood, torch.stack(list(found.log_priors.values())).sum(0)
            pull, slope = (_slope(each, leaf) for each in (prior, likelihood))
        return Points(e, likelihood.detach().double(), slope, -2.0 * prior.detach().double(), -pull)

    def _split(self, e: Tensor) -> dict[str, Tensor]:
        parts: tuple[Tensor, ...] = cast("Any", e).split([z.numel() for z in self._like.values()], dim=-1)
        return {
            name: part.reshape(*e.shape[:2], *z.shape[2:])
            for (name, z), part in zip(self._like.items(), parts, strict=True)
        }


def _slope(density: Tensor, leaf: Tensor) -> Tensor:
    if not density.requires_grad:
        return torch.zeros_like(leaf)
    (found,) = torch.autograd.grad(density.sum(), leaf, retain_graph=True, materialize_grads=True)
    return found


def why_not(
    model: ModelProgram,
    densities: ModelDensities,
    priors: Mapping[str, Distribution],
    z: Mapping[str, Tensor],
    pixels: Tensor,
    sampled: Callable[[], object],
) -> str | None:
    """Return why chains cannot move through the latents; None if they can.

    Args:
        model: the model's program.
        densities: its log-densities.
        priors: the prior of each latent, at ``z``.
        z: latents of one example, (1, 1, ...) each.
        pixels: the example, (1, D).
        sampled: draws from the priors; it raises a ``SpecError`` if that is impossible.
    """
    try:
        is_whitened = whitened_width(model, z) is not None
        sampled()
    except SpecError as error:
        return error.faults[0].message.removesuffix(".")
    for name, prior in priors.items():
        if not z[name].is_floating_point() or is_discrete(prior):
            return f"the latent '{name}' ({words_of(prior)}) is discrete, and chains move along gradients"
        if not (is_whitened or is_everywhere(prior)):
            return f"the prior of '{name}' ({words_of(prior)}) is 0 in a part of the space, where chains would go"
    with torch.enable_grad():
        leaves = {name: each.detach().clone().requires_grad_() for name, each in z.items()}
        likelihood = densities.run(leaves, pixels).log_likelihood
        slopes: tuple[Tensor | None, ...] = (None,)
        if likelihood.requires_grad:
            slopes = torch.autograd.grad(likelihood.sum(), list(leaves.values()), allow_unused=True)
    return "log p(x | z) has no gradient by z" if all(each is None for each in slopes) else None
