"""Dreams of a user's model: samples of the model's program, and the posterior's program at given latents."""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor
from torch.distributions import Distribution

from dregcli.engine.dreams import DreamNoise, Dreams
from dregcli.engine.programs.ancestral import addressed, ancestral, blank_latents
from dregcli.engine.programs.densities import ModelProgram, require_densities
from dregcli.engine.programs.families import words_of
from dregcli.engine.programs.latents import Posterior, seeded
from dregcli.errors import Fault, SpecError

_MODEL, _PIXELS, _POSTERIOR = 2**20 + 1, 2**20 + 2, 2**20 + 3
"""Numbers of seeds beside those of latents: of numbers that the programs draw themselves, and of the pixels."""

_ROWS: Final = 1
"""Samples for each example."""


def dreamed(model: ModelProgram, like: Mapping[str, Tensor], pixels: Tensor, draws: DreamNoise) -> Dreams:
    """Return one sample (x, z) of the model for each example, without gradients.

    Args:
        model: the model's program.
        like: latents of one row, (1, 1, ...) each.
        pixels: shape (B, D); they give the number of samples and the type of x.
        draws: random numbers of the samples.

    Raises:
        SpecError: a prior, or p(x | z), cannot be sampled.
    """
    rows = (_ROWS, len(pixels))
    draw = addressed(draws, len(pixels), first=0, device=pixels.device, count=_ROWS)
    with torch.no_grad(), seeded(draws.seed(_MODEL, 0), pixels.device):
        ancestry, p = ancestral(model, draw, blank=blank_latents(like, rows))
    with torch.no_grad(), seeded(draws.seed(_PIXELS, 0), pixels.device):
        try:
            x = p.sample()
        except NotImplementedError:
            message = f"p(x | z) ({words_of(p)}) cannot be sampled: it has no method sample."
            raise SpecError([Fault("model", message)]) from None
    # A program may hand back a parameter's own numbers, with a graph.
    latents = {name: z.detach() for name, z in ancestry.z.items()}
    return Dreams(x.reshape(len(pixels), -1).to(pixels.dtype), latents, draws.seed(_POSTERIOR, 0))


def log_q_at(posterior: Posterior, x: Tensor, dreams: Dreams) -> Tensor:
    """Return log q(z | x) of all latents at dreams, shape (B,), nats: the posterior's program gets their values.

    Args:
        posterior: the posterior's program.
        x: the dreams' pixels in the shape of the data, (B, ...).
        dreams: the dreams.

    Raises:
        SpecError: log q is not known at values that q has not drawn.
    """
    found: dict[str, Tensor] = {}

    def draw(name: str, distribution: Distribution) -> Tensor:
        z = dreams.latents[name]
        try:
            found[name] = distribution.log_prob(z)
        except (NotImplementedError, KeyError):
            message = (
                f"log q of '{name}' ({words_of(distribution)}) at given values needs transforms with an inverse."
            )
            raise SpecError([Fault("posterior", message)]) from None
        require_densities("posterior", f"log q of '{name}'", found[name], (_ROWS, len(x)))
        return z

    with seeded(dreams.seed, x.device):
        posterior(x, draw)
    return torch.stack(list(found.values())).sum(0)[0]
