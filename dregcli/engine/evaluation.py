"""Log-weights of a frozen model over a split, at fixed pixels and noise, and the bounds computed from them."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dregcli.defaults import NOISE_BLOCK
from dregcli.engine.draws import AddressedNoise
from dregcli.engine.examples import Examples
from dregcli.engine.models.base import Model
from dregcli.engine.pixels import EVALUATION_BATCH, Pixels, evaluation_pixels, evaluation_step
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.weights import effective_sample_size, log_mean_exp
from dregcli.names import Split


@dataclass(frozen=True)
class SeenBatch:
    """One evaluation batch as a frozen model sees it.

    Attributes:
        number: index of the batch in its split, from 0.
        pixels: shape (B, D).
    """

    model: Model
    number: int
    pixels: Tensor
    split: Split
    randomness: Randomness

    @torch.no_grad()
    def log_weights(self, *, k: int, k_chunk: int | None, repeat: int = 0) -> Tensor:
        """Return log-weights of K samples, shape (K, B), float64, nats.

        Args:
            k: samples per example.
            k_chunk: samples in one pass over rows, a multiple of the noise block; None takes all at once. Memory
                grows with it; the numbers do not depend on it.
            repeat: index of the independent draw, from 0.
        """
        draws = AddressedNoise(
            self.randomness,
            Stream.EVALUATION_NOISE,
            evaluation_step(self.split, self.number, repeat),
            k=k,
            batch=EVALUATION_BATCH,
            width=self.model.latent_width,
            examples=len(self.pixels),
        )
        return self.model.batch(self.pixels, draws).log_weights(k_chunk=k_chunk).double()


def seen_batches(
    model: Model,
    examples: Examples,
    pixels: Pixels,
    *,
    split: Split,
    seed: int,
    limit: int | None = None,
    first: int = 0,
) -> Iterator[SeenBatch]:
    """Yield the batches of a split in order.

    Args:
        model: the model and its posterior.
        examples: examples of the split, on the model's device.
        pixels: rule that turns stored values into pixels.
        split: name of the split; pixels and noise are addressed by it.
        seed: seed of the evaluation, never the training's seed.
        limit: number of examples to use, from the first on; None uses all.
        first: index of the batch to begin with.
    """
    # Pixels are drawn on the CPU on every device, so that a run on a GPU is evaluated on the same pixels.
    pixel_randomness, randomness = Randomness(seed), Randomness(seed, examples.device)
    count = len(examples) if limit is None else min(limit, len(examples))
    for number, start in enumerate(range(0, count, EVALUATION_BATCH)):
        if number < first:
            continue
        stop = min(start + EVALUATION_BATCH, count)
        examples.expect(torch.arange(stop, min(stop + EVALUATION_BATCH, count)))
        rows = examples.rows(torch.arange(start, stop))
        with torch.no_grad():
            seen = evaluation_pixels(pixels, rows, pixel_randomness, split, number)
        yield SeenBatch(model, number, seen, split, randomness)


@dataclass(frozen=True)
class BatchBounds:
    """Bounds of one evaluation batch.

    Attributes:
        bound: the IWAE bound at K, shape (B,), float64, nats per example.
        ess: effective sample size, shape (B,), float64.
        pixels: pixels that the model saw, shape (B, D).
        model_log_p: exact log p(x) of the model, shape (B,), float64, nats; None where it is unknown.
    """

    bound: Tensor
    ess: Tensor
    pixels: Tensor
    model_log_p: Tensor | None


def evaluate(
    model: Model,
    examples: Examples,
    pixels: Pixels,
    *,
    split: Split,
    k: int,
    seed: int,
    limit: int | None = None,
    k_chunk: int | None = NOISE_BLOCK,
) -> Iterator[BatchBounds]:
    """Yield the bounds of every example, batch by batch in order. The caller weights averages by the examples' count.

    Args:
        model: the model and its posterior.
        examples: examples of the split, on the model's device.
        pixels: rule that turns stored values into pixels.
        split: name of the split.
        k: samples per example.
        seed: seed of the evaluation.
        limit: number of examples to use, from the first on; None uses all.
        k_chunk: samples in one pass, as in ``SeenBatch.log_weights``.
    """
    for batch in seen_batches(model, examples, pixels, split=split, seed=seed, limit=limit):
        log_w = batch.log_weights(k=k, k_chunk=k_chunk)
        yield BatchBounds(
            log_mean_exp(log_w),
            effective_sample_size(log_w),
            batch.pixels,
            model.log_marginal(batch.pixels),
        )
