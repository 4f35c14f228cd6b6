"""Bounds of a frozen model over a split: per example, at fixed pixels and noise."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dregcli.engine.examples import Examples
from dregcli.engine.models.base import DiagonalGaussian, LatentModel
from dregcli.engine.pixels import EVALUATION_BATCH, Pixels, evaluation_pixels, evaluation_step
from dregcli.engine.randomness import NOISE_BLOCK, Randomness, Stream
from dregcli.engine.weights import effective_sample_size, log_mean_exp
from dregcli.names import Split


@dataclass(frozen=True)
class BatchBounds:
    """One evaluation batch.

    Attributes:
        bound: the IWAE bound at K, shape (B,), float64, nats per example.
        ess: effective sample size, shape (B,), float64.
        means: the posterior's means, shape (B, Z), float64; their variance over examples tells active units.
    """

    bound: Tensor
    ess: Tensor
    means: Tensor


def _log_weights(
    model: LatentModel, posterior: DiagonalGaussian, pixels: Tensor, randomness: Randomness, *, step: int, k: int
) -> Tensor:
    """Log-weights of all K samples, shape (K, B), nats; in blocks of samples, so that memory does not grow as K D."""
    blocks: list[Tensor] = []
    for first in range(0, k, NOISE_BLOCK):
        noise = randomness.normal(
            Stream.EVALUATION_NOISE,
            step,
            k=min(NOISE_BLOCK, k - first),
            batch=EVALUATION_BATCH,
            width=model.latent_width,
            first=first,
        )
        latents = posterior.rsample(noise[:, : pixels.shape[0]])
        blocks.append(model.log_joint(pixels, latents) - posterior.log_prob(latents))
    return torch.cat(blocks)


def evaluate(
    model: LatentModel,
    examples: Examples,
    pixels: Pixels,
    *,
    split: Split,
    k: int,
    seed: int,
    limit: int | None = None,
) -> Iterator[BatchBounds]:
    """Bounds of every example, batch by batch in order; what is averaged is for the caller to weigh by count.

    Args:
        model: the model and its posterior.
        examples: the split, given on the model's device.
        pixels: how its stored values become pixels.
        split: which split this is; pixels and noise are addressed by it.
        k: samples per example.
        seed: the evaluation's seed, never the training's.
        limit: only the first so many examples.
    """
    # Pixels are drawn on the CPU whatever the device: a run on a GPU is evaluated on the same ones.
    pixel_randomness, randomness = Randomness(seed), Randomness(seed, examples.device)
    count = len(examples) if limit is None else min(limit, len(examples))
    for batch, first in enumerate(range(0, count, EVALUATION_BATCH)):
        stop = min(first + EVALUATION_BATCH, count)
        examples.expect(torch.arange(stop, min(stop + EVALUATION_BATCH, count)))
        rows = examples.rows(torch.arange(first, stop))
        with torch.inference_mode():
            seen = evaluation_pixels(pixels, rows, pixel_randomness, split, batch)
            posterior = model.posterior(seen)
            step = evaluation_step(split, batch)
            log_w = _log_weights(model, posterior, seen, randomness, step=step, k=k).double()
            yield BatchBounds(log_mean_exp(log_w), effective_sample_size(log_w), posterior.loc.double())
