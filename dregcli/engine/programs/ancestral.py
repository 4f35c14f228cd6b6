"""A run of a model's program alone: latents from their priors, then p(x | z)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import Distribution

from dregcli.defaults import NOISE_BLOCK
from dregcli.engine.draws import LatentNoise
from dregcli.engine.posteriors import Unfolded
from dregcli.engine.programs.densities import ModelProgram, Rows
from dregcli.engine.programs.families import mean_or_none, words_of
from dregcli.engine.programs.latents import seeded
from dregcli.engine.programs.normals import from_normals
from dregcli.errors import Fault, SpecError

Draw = Callable[[int, str, Distribution], Tensor]
"""Returns values of a latent, (K', B', ...), from its number in the order of ``given``, its name and its prior."""


Blank = Callable[[], dict[str, Tensor]]
"""Returns latents of the right shapes and types, by name."""


class _ReadEarly(Exception):
    """A latent was read before ``given`` was called for it; the argument is its name."""


class _Filled(dict[str, Tensor]):
    """The latents of a run; each is there after ``given`` was called for it."""

    def __missing__(self, name: str) -> Tensor:
        raise _ReadEarly(name)


@dataclass
class Ancestry:
    """The ``given`` of a run in which each latent gets its values from its prior.

    Args:
        draw: returns the values of a latent.
        z: latents that are known before the run; their priors are recorded, too.
    """

    draw: Draw
    z: dict[str, Tensor] = field(default_factory=_Filled)
    priors: dict[str, Distribution] = field(default_factory=dict[str, Distribution])

    def __call__(self, name: str, distribution: Distribution) -> None:
        """Fill in one latent."""
        if name in self.priors:
            raise SpecError([Fault("model", f"the prior of '{name}' is given twice.")])
        self.priors[name] = distribution
        if name not in self.z:
            self.z[name] = self.draw(len(self.priors) - 1, name, distribution)


def ancestral(
    model: ModelProgram, draw: Draw, known: Mapping[str, Tensor] | None = None, *, blank: Blank | None = None
) -> tuple[Ancestry, Distribution]:
    """Run a model's program with latents from their priors.

    A program that reads a latent before it gives the prior is run on blank latents first, to see the priors.

    Args:
        model: the program.
        draw: returns the values of a latent.
        known: latents that are known already.
        blank: returns latents of the right shapes, whose values do not matter.

    Returns:
        The latents with their priors, and p(x | z).

    Raises:
        SpecError: a latent is read before its prior is given, and no run on blank latents can help.
    """
    ancestry = Ancestry(draw, _Filled(known or {}))
    try:
        return ancestry, model(ancestry.z, ancestry)
    except _ReadEarly as error:
        seen = Ancestry(never_drawn, blank() if blank else {})
        if blank:
            model(seen.z, seen)
        if not seen.priors or any(prior.batch_shape for prior in seen.priors.values()):
            name = error.args[0]
            message = f"the model's program reads z['{name}'] before it calls given('{name}', ...)"
            message += ", so the latent cannot be sampled."
            hint = f"call given('{name}', ...) before the latent is used"
            raise SpecError([Fault("model", message)], hint=hint) from None
    found = dict(known or {})
    for i, (name, prior) in enumerate(seen.priors.items()):
        if name not in found:
            found[name] = draw(i, name, prior)
    return ancestral(model, never_drawn, found)


def blank_latents(like: Mapping[str, Tensor], rows: Rows) -> Blank:
    """Return a ``Blank`` for K' x B' rows from latents of one row, (1, 1, ...)."""
    return lambda: {name: z.expand(*rows, *z.shape[2:]) for name, z in like.items()}


def never_drawn(latent: int, name: str, prior: Distribution) -> Tensor:
    """Refuse to draw: all latents are known."""
    message = f"given('{name}', ...) names no latent that the posterior draws."
    raise SpecError([Fault("model", message)])


def of_rows(prior: Distribution, rows: Rows) -> Distribution:
    """Return a prior with the batch_shape () or (K', B'): one that has axes of size 1 there is expanded."""
    if not prior.batch_shape or prior.batch_shape.numel() > 1 or len(prior.batch_shape) > len(rows):
        return prior
    try:
        return cast("Any", prior).expand(torch.Size(rows))
    except NotImplementedError:
        return prior


def is_conditional(name: str, prior: Distribution, rows: Rows) -> bool:
    """Return whether a prior may depend on other latents: whether it has an own distribution for each row.

    Raises:
        SpecError: its batch_shape is neither () nor (K, B), nor axes of size 1.
    """
    if prior.batch_shape.numel() > 1 and tuple(prior.batch_shape) not in ((), rows):
        message = (
            f"the prior of '{name}' must have batch_shape (), or (K, B) = {rows} if it depends on another latent, "
            f"got {tuple(prior.batch_shape)}."
        )
        raise SpecError([Fault("model", message)])
    return tuple(prior.batch_shape) == rows


def addressed(
    noise: LatentNoise, examples: int, *, first: int, device: torch.device, count: int = NOISE_BLOCK
) -> Draw:
    """Return a ``Draw`` of samples from the priors, by default of one block, by their address.

    Args:
        noise: random numbers of all ``examples``.
        examples: number of examples, B.
        first: index of the first sample, a multiple of the noise block.
        device: device of the samples.
        count: number of samples, K'.
    """
    rows = (count, examples)

    def draw(latent: int, name: str, prior: Distribution) -> Tensor:
        prior = of_rows(prior, rows)
        batched = 2 if is_conditional(name, prior, rows) else 0

        def normals(shape: tuple[int, ...]) -> Tensor:
            drawn = noise.of_latent(latent, torch.Size(shape).numel()).noise(first, count)
            return drawn.reshape(*drawn.shape[:2], *shape)

        if (found := through_normals(prior, normals, batched=batched)) is not None:
            return found
        with seeded(noise.seed(latent, first // NOISE_BLOCK), device):
            try:
                return prior.sample(torch.Size(() if batched else rows))
            except NotImplementedError:
                message = f"the prior of '{name}' ({words_of(prior)}) cannot be sampled: it has no method sample."
                raise SpecError([Fault("model", message)]) from None

    return draw


def through_normals(
    prior: Distribution, normals: Callable[[tuple[int, ...]], Tensor], *, batched: int
) -> Tensor | None:
    """Return samples of a Gaussian and its transforms, from standard normal numbers; None for other priors."""
    unfolded = Unfolded.of(prior)
    start = from_normals(unfolded.base, normals, batched=batched)
    return None if start is None else unfolded.pushed(start)[-1]


def mean_of(p: Distribution, rows: Rows) -> Tensor:
    """Return E[x | z], shape (K', B', D).

    Raises:
        SpecError: the distribution has no mean.
    """
    if (found := mean_or_none(p)) is None:
        message = f"p(x | z) ({words_of(p)}) has no mean, so that no image can be shown."
        raise SpecError([Fault("model", message)], hint="give the distribution a property `mean`")
    return found.reshape(*rows, -1)
