"""Images of a trained model: prior samples, reconstructions, traversals of latents. Numbers are drawn by address.

The first images of a large request equal the images of a smaller request to the last bit. For this, noise is drawn
and networks are applied in blocks of one size, since the last bits of a matrix product depend on the shapes.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dregcli.defaults import NOISE_BLOCK
from dregcli.engine.draws import AddressedNoise
from dregcli.engine.evaluation import evaluation_noise
from dregcli.engine.examples import Examples
from dregcli.engine.models.base import Model
from dregcli.engine.pixels import EVALUATION_BATCH, Pixels, evaluation_pixels
from dregcli.engine.randomness import Randomness, Stream
from dregcli.errors import NotFinite
from dregcli.names import Split

EXAMPLES_BLOCK = 16
"""Number of examples that are reconstructed at once."""


def seen_pixels(
    examples: Examples, pixels: Pixels, *, split: Split, seed: int, limit: int | None = None
) -> Iterator[Tensor]:
    """Yield the pixels that evaluations see, batch by batch in order, (B, D) each.

    Args:
        examples: examples of the split.
        pixels: rule that turns stored values into pixels.
        split: name of the split.
        seed: seed of the evaluation.
        limit: number of examples, from the first on; every batch with one of them is yielded whole.
    """
    randomness = Randomness(seed)  # on the CPU, as evaluations draw pixels
    count = len(examples) if limit is None else min(limit, len(examples))
    for batch, first in enumerate(range(0, count, EVALUATION_BATCH)):
        rows = examples.rows(torch.arange(first, min(first + EVALUATION_BATCH, len(examples))))
        yield evaluation_pixels(pixels, rows, randomness, split, batch)


@torch.no_grad()
def prior_images(model: Model, pixels: Tensor, randomness: Randomness, *, k: int) -> Tensor:
    """Return E[x | z] for z from the prior; a model with a context gives completions of each context.

    Args:
        model: the model.
        pixels: whole images that contexts are taken from, shape (B, D); one row of any values if the model has no
            context.
        randomness: random numbers on the model's device.
        k: samples for each of the B images.

    Returns:
        Shape (k, B, D).
    """
    found: list[Tensor] = []
    count = -(-k // NOISE_BLOCK) * NOISE_BLOCK
    for i in range(len(pixels)):
        draws = prior_draws(model, pixels, randomness, k=k, number=i)
        blocks = [model.prior_means(pixels[i : i + 1], draws, first=first) for first in range(0, count, NOISE_BLOCK)]
        found.append(torch.cat(blocks)[:k])
    return torch.cat(found, dim=1)


def prior_draws(model: Model, like: Tensor, randomness: Randomness, *, k: int, number: int = 0) -> AddressedNoise:
    """Return the random numbers of samples from the prior, of whole blocks.

    Args:
        model: the model.
        like: pixels, for their type.
        randomness: random numbers on the model's device.
        k: samples that are needed.
        number: index of the image that a model with a context takes it from.
    """
    return AddressedNoise(
        randomness,
        Stream.SAMPLE_PRIOR,
        number,
        k=-(-k // NOISE_BLOCK) * NOISE_BLOCK,
        batch=1,
        width=model.latent_width,
        dtype=like.dtype,
    )


@dataclass(frozen=True)
class Reconstructions:
    """The best of K posterior samples of each example, judged by importance weight.

    Attributes:
        images: E[x | z] at the best sample, shape (B, D).
        chosen: index of the best sample, int64, shape (B,).
        log_w: log-weights, shape (K, B), nats.
    """

    images: Tensor
    chosen: Tensor
    log_w: Tensor


@torch.no_grad()
def best_of_k(model: Model, pixels: Tensor, randomness: Randomness, *, k: int) -> Reconstructions:
    """Reconstruct examples, block by block.

    Args:
        model: the model and its posterior.
        pixels: whole blocks of ``EXAMPLES_BLOCK`` examples, except at the end of a split; shape (B, D).
        randomness: random numbers on the model's device.
        k: samples per example.

    Raises:
        NotFinite: a log-weight is not a number.
    """
    found = [
        _best_of_block(model, pixels[first : first + EXAMPLES_BLOCK], randomness, k=k, number=i)
        for i, first in enumerate(range(0, len(pixels), EXAMPLES_BLOCK))
    ]
    return Reconstructions(
        torch.cat([each.images for each in found]),
        torch.cat([each.chosen for each in found]),
        torch.cat([each.log_w for each in found], dim=1),
    )


def posterior_draws(model: Model, pixels: Tensor, randomness: Randomness, *, k: int, number: int) -> AddressedNoise:
    """Return the random numbers of the posterior samples of a block of examples.

    Args:
        model: the model.
        pixels: the block, at most ``EXAMPLES_BLOCK`` examples, (B, D).
        randomness: random numbers on the model's device.
        k: samples per example.
        number: index of the block.
    """
    return AddressedNoise(
        randomness,
        Stream.SAMPLE_POSTERIOR,
        number,
        k=k,
        batch=EXAMPLES_BLOCK,
        width=model.latent_width,
        dtype=pixels.dtype,
        examples=len(pixels),
    )


def _best_of_block(model: Model, pixels: Tensor, randomness: Randomness, *, k: int, number: int) -> Reconstructions:
    draws = posterior_draws(model, pixels, randomness, k=k, number=number)
    log_w = model.batch(pixels, draws).log_weights(k_chunk=NOISE_BLOCK)
    if log_w.isnan().any():
        what = "A log-weight of a posterior sample is not a number."
        raise NotFinite(what, hint="the parameters may have diverged: use an earlier --checkpoint")
    chosen = log_w.argmax(dim=0)
    images = model.means_at(pixels, draws, chosen)
    return Reconstructions(images, chosen, log_w)


@torch.no_grad()
def latent_variances(model: Model, seen: Iterator[Tensor], *, split: Split, seed: int) -> Tensor:
    """Return the variance over examples of q's mean, for each number of the latents (arXiv 1509.00519, 5.1).

    Args:
        model: a model whose posterior has means.
        seen: pixels, batch by batch, (B, D) each.
        split: name of the split, by which the random numbers of conditional latents are addressed.
        seed: seed of the evaluation.

    Returns:
        Shape (Z,), float64.
    """
    means: list[Tensor] = []
    for i, pixels in enumerate(seen):
        randomness = Randomness(seed, pixels.device)
        draws = evaluation_noise(randomness, split, i, k=1, model=model, examples=len(pixels))
        found = model.posterior_means(pixels, draws)
        assert found is not None
        means.append(found)
    return torch.cat(means).var(dim=0, correction=0)


def most_active(variances: Tensor, count: int, among: Collection[int] | None = None) -> list[int]:
    """Return the indices of the largest variances, largest first; ties by the lower index.

    Args:
        variances: one for each number of the latents, (Z,).
        count: number of indices.
        among: the indices to choose from; all if it is not given.
    """
    order: list[int] = variances.sort(descending=True, stable=True).indices.tolist()  # pyright: ignore[reportUnknownVariableType]
    return [each for each in order if among is None or each in among][:count]


@torch.no_grad()
def traversals(
    model: Model, pixels: Tensor, columns: Sequence[int], offsets: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Return images while each of some numbers of the latents moves through the prior; see ``Model.traversals``."""
    return model.traversals(pixels, columns, offsets)
