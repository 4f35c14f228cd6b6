"""Log-weights of a frozen model over a split, at fixed pixels and noise, and the bounds computed from them."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dregcli.defaults import NOISE_BLOCK
from dregcli.engine.draws import AddressedNoise, Noise
from dregcli.engine.examples import Examples
from dregcli.engine.models.base import Model, in_eval_mode
from dregcli.engine.pixels import EVALUATION_BATCH, Pixels, evaluation_pixels, evaluation_step
from dregcli.engine.quasi import SobolNoise
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.weights import effective_sample_size, log_mean_exp
from dregcli.engine.wide import widened
from dregcli.names import EvalNoise, Split


@dataclass(frozen=True)
class SeenBatch:
    """One evaluation batch as a frozen model sees it.

    Attributes:
        number: index of the batch in its split, from 0.
        pixels: shape (B, D).
        noise: how the samples of one example depend on each other.
    """

    model: Model
    number: int
    pixels: Tensor
    split: Split
    randomness: Randomness
    noise: EvalNoise = EvalNoise.IID

    @torch.no_grad()
    def weighed(self, *, k: int, k_chunk: int | None, repeat: int = 0) -> tuple[Tensor, Tensor | None]:
        """Return log-weights of K samples, and each layer's KL(q || prior) as a mean over these samples.

        Args:
            k: samples per example.
            k_chunk: samples in one pass over rows, a multiple of the noise block; None takes all at once. Memory
                grows with it; the numbers do not depend on it.
            repeat: index of the independent draw, from 0.

        Returns:
            Log-weights, shape (K, B), and the KL by layer, (L, B), float64, nats; no KL if ``kl_prior`` is always
            exact.
        """
        with in_eval_mode(self.model):
            log_w, kl = self.model.weighed(self.pixels, self._draws(k, repeat), k_chunk=k_chunk)
        return widened(log_w), kl

    def log_weights(self, *, k: int, k_chunk: int | None, repeat: int = 0) -> Tensor:
        """Return log-weights of K samples, shape (K, B), float64, nats; see ``weighed``."""
        return self.weighed(k=k, k_chunk=k_chunk, repeat=repeat)[0]

    @torch.no_grad()
    def means(self) -> Tensor | None:
        """Return E[z | x] under q, shape (B, Z), float64; None if it is not known."""
        with in_eval_mode(self.model):
            return self.model.posterior_means(self.pixels, self._draws(1, 0))

    @torch.no_grad()
    def kl_prior(self) -> Tensor | None:
        """Return the exact KL(q(z | x) || p(z)) by layer, (L, B), float64, nats; None if it has no closed form."""
        with in_eval_mode(self.model):
            return self.model.kl_from_prior(self.pixels)

    def _draws(self, k: int, repeat: int) -> Noise:
        if self.noise is EvalNoise.SOBOL:
            return SobolNoise(
                self.randomness,
                Stream.EVALUATION_NOISE,
                evaluation_step(self.split, self.number, repeat),
                k=k,
                batch=EVALUATION_BATCH,
                width=self.model.latent_width,
                examples=len(self.pixels),
            )
        return evaluation_noise(
            self.randomness,
            self.split,
            self.number,
            repeat,
            k=k,
            model=self.model,
            examples=len(self.pixels),
            antithetic=self.noise is EvalNoise.ANTITHETIC,
        )


def evaluation_noise(
    randomness: Randomness,
    split: Split,
    batch: int,
    repeat: int = 0,
    *,
    k: int,
    model: Model,
    examples: int,
    antithetic: bool = False,
) -> AddressedNoise:
    """Return the random numbers of one evaluation batch.

    Args:
        randomness: the evaluation's seed, and the model's device.
        split: name of the split.
        batch: index of the batch in the split.
        repeat: index of the independent draw, from 0.
        k: samples per example.
        model: the model that the numbers are for.
        examples: number of examples in the batch.
        antithetic: whether the samples are pairs.
    """
    return AddressedNoise(
        randomness,
        Stream.EVALUATION_NOISE,
        evaluation_step(split, batch, repeat),
        k=k,
        batch=EVALUATION_BATCH,
        width=model.latent_width,
        examples=examples,
        antithetic=antithetic,
    )


def seen_batches(
    model: Model,
    examples: Examples,
    pixels: Pixels,
    *,
    split: Split,
    seed: int,
    limit: int | None = None,
    first: int = 0,
    every: int = 1,
    noise: EvalNoise = EvalNoise.IID,
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
        every: number of batches from one to the next: 2 leaves out every second one.
        noise: how the samples of one example depend on each other.
    """
    # Pixels are drawn on the CPU on every device, so that a run on a GPU is evaluated on the same pixels.
    pixel_randomness, randomness = Randomness(seed), Randomness(seed, examples.device)
    count = len(examples) if limit is None else min(limit, len(examples))
    for number, start in enumerate(range(0, count, EVALUATION_BATCH)):
        if number < first or (number - first) % every:
            continue
        stop = min(start + EVALUATION_BATCH, count)
        after = start + every * EVALUATION_BATCH
        examples.expect(torch.arange(after, max(after, min(after + EVALUATION_BATCH, count))))
        rows = examples.rows(torch.arange(start, stop))
        with torch.no_grad():
            seen = evaluation_pixels(pixels, rows, pixel_randomness, split, number)
        yield SeenBatch(model, number, seen, split, randomness, noise)


@dataclass(frozen=True)
class BatchBounds:
    """Bounds of one evaluation batch.

    Attributes:
        bound: the IWAE bound at K, shape (B,), float64, nats per example.
        ess: effective sample size, shape (B,), float64.
        kl_layers: by layer, the mean over the samples of log q - log p, (L, B), float64, nats; None with one layer.
        means: means of q, see ``Model.posterior_means``, (B, Z); None with one layer, or if they are not known.
        pixels: pixels that the model saw, shape (B, D).
        model_log_p: exact log p(x) of the model, shape (B,), float64, nats; None where it is unknown.
    """

    bound: Tensor
    ess: Tensor
    kl_layers: Tensor | None
    means: Tensor | None
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
    first: int = 0,
    every: int = 1,
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
        first: index of the batch to begin with.
        every: number of batches from one to the next.
    """
    batches = seen_batches(model, examples, pixels, split=split, seed=seed, limit=limit, first=first, every=every)
    for batch in batches:
        log_w, kl = batch.weighed(k=k, k_chunk=k_chunk)
        has_layers = kl is not None and len(kl) > 1
        yield BatchBounds(
            log_mean_exp(log_w),
            effective_sample_size(log_w),
            kl if has_layers else None,
            batch.means() if has_layers else None,
            batch.pixels,
            model.log_marginal(batch.pixels),
        )
