"""Bounds of a frozen model over a split: per example, at fixed pixels and noise."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dregcli.engine.models.base import LatentModel
from dregcli.engine.pixels import EVALUATION_BATCH, evaluation_pixels, evaluation_step
from dregcli.engine.randomness import NOISE_BLOCK, Randomness, Stream
from dregcli.engine.weights import effective_sample_size, log_mean_exp
from dregcli.names import Split


@dataclass(frozen=True)
class BatchBounds:
    """One evaluation batch.

    Attributes:
        bound: the IWAE bound at K, shape (B,), float64, nats per example.
        ess: effective sample size, shape (B,), float64.
    """

    bound: Tensor
    ess: Tensor


def log_weights(
    model: LatentModel,
    pixels: Tensor,
    randomness: Randomness,
    *,
    stream: Stream,
    step: int,
    k: int,
    batch: int,
) -> Tensor:
    """Log-weights of all K samples, in blocks of samples so that memory does not grow with K times D.

    Args:
        model: the model and its posterior.
        pixels: shape (B, D).
        randomness: the source of noise.
        stream: what the noise is for.
        step: the noise's step.
        k: samples per example.
        batch: the batch size the noise is drawn for, at least B.

    Returns:
        Shape (K, B), nats.
    """
    size = pixels.shape[0]
    posterior = model.posterior(pixels)
    blocks: list[Tensor] = []
    for first in range(0, k, NOISE_BLOCK):
        count = min(NOISE_BLOCK, k - first)
        noise = randomness.normal(stream, step, k=count, batch=batch, width=model.latent_width, first=first)
        latents = posterior.rsample(noise[:, :size])
        blocks.append(model.log_joint(pixels, latents) - posterior.log_prob(latents))
    return torch.cat(blocks)


def evaluate(
    model: LatentModel, stored: Tensor, levels: int, *, split: Split, k: int, seed: int
) -> Iterator[BatchBounds]:
    """Bounds of every example, batch by batch in order; what is averaged is for the caller to weigh by count.

    Args:
        model: the model and its posterior.
        stored: uint8 pixels, shape (N, D), on the model's device.
        levels: the stored value of intensity 1.
        split: which split this is; pixels and noise are addressed by it.
        k: samples per example.
        seed: the evaluation's seed, never the training's.
    """
    randomness = Randomness(seed, stored.device)
    for batch, rows in enumerate(stored.split(EVALUATION_BATCH)):
        with torch.inference_mode():
            pixels = evaluation_pixels(rows, levels, randomness, split, batch)
            log_w = log_weights(
                model,
                pixels,
                randomness,
                stream=Stream.EVALUATION_NOISE,
                step=evaluation_step(split, batch),
                k=k,
                batch=EVALUATION_BATCH,
            ).double()
            yield BatchBounds(log_mean_exp(log_w), effective_sample_size(log_w))
