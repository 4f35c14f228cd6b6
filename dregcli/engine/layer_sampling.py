"""Images of a model with several layers in which some layers stay and the layers below come from their priors.

They show what each layer stores: what the images have in common comes from the layers that stay. As in ``sampling``,
the first images of a large request equal the images of a smaller request to the last bit.
"""

import torch
from torch import Tensor

from dregcli.defaults import NOISE_BLOCK
from dregcli.engine.draws import AddressedNoise
from dregcli.engine.programs.values import ProgramValues
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.sampling import EXAMPLES_BLOCK, posterior_draws, prior_draws

_SAMPLES, _RECONSTRUCTIONS = 2**32, 2**33
"""First steps of the addresses of random numbers for the layers below, beyond those of whole samples."""


@torch.no_grad()
def layer_samples(
    model: ProgramValues, like: Tensor, randomness: Randomness, layer: str, *, k: int, count: int
) -> Tensor:
    """Return images for values of a layer and the layers above, which are those of the first prior samples.

    Args:
        model: the model.
        like: pixels of any example, for their type and device, (B, D).
        randomness: random numbers on the model's device.
        layer: name of the lowest layer that stays.
        k: number of values.
        count: draws of the layers below for each value.

    Returns:
        Shape (k, count, D).
    """
    draws, found = prior_draws(model, like, randomness, k=k), list[Tensor]()
    for i in range(-(-k // NOISE_BLOCK)):
        z = model.prior_latents(draws, first=i * NOISE_BLOCK, device=like.device)
        as_examples = {name: each.transpose(0, 1) for name, each in z.items()}
        below = _below(model, like, randomness, _SAMPLES + i, examples=NOISE_BLOCK, count=count)
        found.append(model.means_from_layer(as_examples, layer, below, count))
    return torch.cat(found, dim=1)[:, :k].transpose(0, 1)


@torch.no_grad()
def layer_reconstructions(
    model: ProgramValues,
    pixels: Tensor,
    randomness: Randomness,
    layer: str,
    chosen: Tensor,
    *,
    k: int,
    count: int,
) -> Tensor:
    """Return images for the values of a layer and the layers above in posterior samples.

    Args:
        model: the model.
        pixels: as in ``best_of_k``.
        randomness: random numbers on the model's device.
        layer: name of the lowest layer that stays.
        chosen: index of each example's sample, as ``best_of_k`` returns it for the same pixels and k, (B,).
        k: samples per example.
        count: draws of the layers below for each example.

    Returns:
        Shape (B, count, D).
    """
    found: list[Tensor] = []
    for i, first in enumerate(range(0, len(pixels), EXAMPLES_BLOCK)):
        block = pixels[first : first + EXAMPLES_BLOCK]
        draws = posterior_draws(model, block, randomness, k=k, number=i)
        z = model.chosen_latents(block, draws, chosen[first : first + EXAMPLES_BLOCK])
        below = _below(model, block, randomness, _RECONSTRUCTIONS + i, examples=len(block), count=count)
        found.append(model.means_from_layer(z, layer, below, count))
    return torch.cat(found, dim=1).transpose(0, 1)


def _below(
    model: ProgramValues, like: Tensor, randomness: Randomness, step: int, *, examples: int, count: int
) -> AddressedNoise:
    """Return the random numbers of the layers below for a block of examples."""
    return AddressedNoise(
        randomness,
        Stream.SAMPLE_PRIOR,
        step,
        k=-(-count // NOISE_BLOCK) * NOISE_BLOCK,
        batch=EXAMPLES_BLOCK,
        width=model.latent_width,
        dtype=like.dtype,
        examples=examples,
    )
