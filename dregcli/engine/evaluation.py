"""Bounds of a frozen model over a split: per example, at fixed pixels and noise."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dregcli.engine.draws import AddressedNoise
from dregcli.engine.examples import Examples
from dregcli.engine.execution.batch import Batch, log_weights
from dregcli.engine.models.base import LatentModel
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


def evaluate(
    model: LatentModel,
    examples: Examples,
    pixels: Pixels,
    *,
    split: Split,
    k: int,
    seed: int,
    limit: int | None = None,
    k_chunk: int | None = NOISE_BLOCK,
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
        k_chunk: samples in one pass over rows, whole noise blocks; None is all of them at once. Memory grows with
            it, and the numbers do not depend on it.
    """
    # Pixels are drawn on the CPU whatever the device: a run on a GPU is evaluated on the same ones.
    pixel_randomness, randomness = Randomness(seed), Randomness(seed, examples.device)
    count = len(examples) if limit is None else min(limit, len(examples))
    for batch, first in enumerate(range(0, count, EVALUATION_BATCH)):
        stop = min(first + EVALUATION_BATCH, count)
        examples.expect(torch.arange(stop, min(stop + EVALUATION_BATCH, count)))
        rows = examples.rows(torch.arange(first, stop))
        with torch.no_grad():
            seen = evaluation_pixels(pixels, rows, pixel_randomness, split, batch)
            posterior = model.posterior(seen)
            draws = AddressedNoise(
                randomness,
                Stream.EVALUATION_NOISE,
                evaluation_step(split, batch),
                k=k,
                batch=EVALUATION_BATCH,
                width=model.latent_width,
                examples=len(rows),
            )
            log_w = log_weights(Batch(model, seen, posterior, draws), k_chunk=k_chunk).double()
            yield BatchBounds(log_mean_exp(log_w), effective_sample_size(log_w), posterior.loc.double())
