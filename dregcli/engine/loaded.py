"""A trained model for use outside of the program: encode, decode, sample, and estimate log p(x) by example.

This is the only module between the public API and the interface of the engine's models.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from dregcli.defaults import NOISE_BLOCK
from dregcli.engine.diagnostics.pareto import pareto_shape
from dregcli.engine.diagonal_gaussian import DiagonalGaussian
from dregcli.engine.evaluation import SeenBatch
from dregcli.engine.models.base import GaussianModel
from dregcli.engine.pixels import EVALUATION_BATCH
from dregcli.engine.programs.contract import ModelData
from dregcli.engine.randomness import Randomness, Stream
from dregcli.engine.sampling import prior_images
from dregcli.engine.weights import effective_sample_size, left_out_variance, log_mean_exp
from dregcli.errors import UsageError
from dregcli.names import DataKind, Split

_ROWS: Final = NOISE_BLOCK * EVALUATION_BATCH
"""Rows that are decoded at once, so that memory does not grow with the number of rows."""

_GPU_CHUNK: Final = 1024
"""Samples at once on a GPU, where each pass over rows has a cost of its own."""


@dataclass(frozen=True)
class Encoded:
    """The posterior q(z | x) of some examples.

    Attributes:
        mean: means of q, shape (B, Z).
        scale: standard deviations of q, shape (B, Z).
    """

    mean: Tensor
    scale: Tensor

    def sample(self, k: int = 1, seed: int = 0) -> Tensor:
        """Draw k samples of z for each example, shape (k, B, Z); the same seed gives the same samples."""
        noise = Randomness(seed, self.mean.device).normal(
            Stream.SAMPLE_POSTERIOR, 0, k=k, batch=len(self.mean), width=self.mean.shape[1]
        )
        return DiagonalGaussian(self.mean, self.scale).rsample(noise.to(self.mean.dtype))[0]


@dataclass(frozen=True, repr=False)
class LogLikelihood:
    """Estimates of log p(x) by example, from K importance samples each; all of shape (B,), float64.

    Attributes:
        bound: the IWAE bound, nats; larger is better, and in expectation it is at most log p(x).
        stderr: standard error of ``bound`` from one draw of the samples to the next, nats; NaN at K = 1.
        khat: shape of the tail of the weights; above 0.7 the bound is not to be trusted. NaN if K is too small.
        ess: effective sample size, from 1 to K.
        k: samples per example.
    """

    bound: Tensor
    stderr: Tensor
    khat: Tensor
    ess: Tensor
    k: int

    def __repr__(self) -> str:
        """Return the mean bound, with its standard error over examples, in nats per example."""
        n = len(self.bound)
        stderr = f" +- {float(self.bound.std()) / n**0.5:.3f}" if n > 1 else ""
        return f"<LogLikelihood of {n} examples, K={self.k}: {float(self.bound.mean()):.3f}{stderr} nats>"


class LoadedModel(nn.Module):
    """A trained model, built without its data set.

    Inputs are torch tensors, NumPy arrays or nested lists, and outputs are torch tensors on the model's device. All
    random numbers follow from ``seed``: equal calls give equal numbers.

    Args:
        model: the network with its weights.
        data: what the network knows of its data.
        has_context: whether the model predicts one part of an image given the other part.
    """

    def __init__(self, model: GaussianModel, data: ModelData, *, has_context: bool) -> None:
        super().__init__()
        self.network = model
        self.data = data
        self.has_context = has_context
        self.eval()

    @property
    def latent_dim(self) -> int:
        """Number of latent dimensions, Z."""
        return self.network.latent_width

    def forward(self, x: Any) -> Tensor:  # noqa: ANN401 - anything that torch makes a tensor of
        """Return the reconstruction of examples: ``decode`` at the mean of q, shape (B, channels, height, width)."""
        return self.decode(self.encode(x).mean, x)

    def encode(self, x: Any) -> Encoded:  # noqa: ANN401
        """Return the posterior q(z | x).

        Args:
            x: examples as the model sees them, shape (B, D) or (B, channels, height, width).

        Raises:
            UsageError: the shape or the values do not fit the model.
        """
        posterior = self.network.posterior(self._pixels(x))
        return Encoded(posterior.loc, posterior.scale)

    def decode(self, z: Any, x: Any = None) -> Tensor:  # noqa: ANN401
        """Return the mean of x given z, as images of shape (..., channels, height, width).

        Args:
            z: latents, shape (..., Z), such as (B, Z), or (K, B, Z) as ``encode(x).sample(K)`` gives them.
            x: only for a model of one part of an image given the other: the images with the given part, (B, ...).

        Raises:
            UsageError: the last axis of z is not Z, or x is missing.
        """
        latents = self._latents(z)
        rows = latents.reshape(-1, self.latent_dim)
        context = self._context(x)
        if context is None:
            one = self.any_example()
            found = [self.network.mean_pixels(one, (part[:, None],))[:, 0] for part in torch.split(rows, _ROWS)]
        else:
            if latents.dim() < 2 or latents.shape[-2] != len(context):
                what = f"z has the shape {tuple(latents.shape)}, but x has {len(context)} examples."
                raise UsageError(what, hint="give z of shape (B, Z) or (K, B, Z) for the B examples of x")
            samples = latents.reshape(-1, len(context), self.latent_dim)
            at_once = max(1, _ROWS // len(context))
            found = [
                self.network.mean_pixels(context, (part,)).flatten(0, 1) for part in torch.split(samples, at_once)
            ]
        return torch.cat(found).reshape(*latents.shape[:-1], *self.data.shape)

    @torch.no_grad()
    def sample(self, n: int = 1, seed: int = 0, x: Any = None) -> Tensor:  # noqa: ANN401
        """Return the means of x for n latents from the prior, as ``dreg sample`` shows them.

        Args:
            n: number of images. The first images of a larger request are those of a smaller one.
            seed: seed of the latents.
            x: only for a model of one part of an image given the other: the images with the given part, (B, ...).

        Returns:
            Shape (n, channels, height, width); with x, (n, B, channels, height, width).
        """
        _check_count("n", n)
        context = self._context(x)
        pixels = self.any_example() if context is None else context
        images = prior_images(self.network, pixels, Randomness(seed, pixels.device), k=n)
        images = images[:, 0] if context is None else images
        return images.reshape(*images.shape[:-1], *self.data.shape)

    def log_weights(self, x: Any, k: int = 64, seed: int = 0, k_chunk: int | None = None) -> Tensor:  # noqa: ANN401
        """Return log p(x, z) - log q(z | x) for k samples of z from q for each example.

        Args:
            x: examples as the model sees them, shape (B, D) or (B, channels, height, width).
            k: samples per example.
            seed: seed of the samples. With the examples of the test split in their order, these are the log-weights
                of ``dreg eval --split test --eval-seed SEED``.
            k_chunk: samples at once, a multiple of 16; more is faster on a GPU and needs more memory.

        Returns:
            Shape (K, B), float64, nats.
        """
        return torch.cat(list(self._log_weights(x, k, seed, k_chunk)), dim=1)

    def log_likelihood(
        self,
        x: Any,  # noqa: ANN401
        k: int = 5000,
        seed: int = 0,
        k_chunk: int | None = None,
    ) -> LogLikelihood:
        """Estimate log p(x) of each example. Memory does not grow with K or with the number of examples.

        Args:
            x: examples as the model sees them, shape (B, D) or (B, channels, height, width).
            k: samples per example.
            seed: seed of the samples; see ``log_weights``.
            k_chunk: samples at once, a multiple of 16; more is faster on a GPU and needs more memory.
        """
        found: list[tuple[Tensor, ...]] = []
        for log_w in self._log_weights(x, k, seed, k_chunk):
            khat = pareto_shape(log_w)
            bound = log_mean_exp(log_w)
            found.append(
                (
                    bound,
                    left_out_variance(log_w).sqrt(),
                    torch.full_like(bound, torch.nan) if khat is None else khat,
                    effective_sample_size(log_w),
                )
            )
        bound, stderr, khat, ess = (torch.cat(parts) for parts in zip(*found, strict=True))
        return LogLikelihood(bound, stderr, khat, ess, k)

    @torch.no_grad()
    def _log_weights(self, x: Any, k: int, seed: int, k_chunk: int | None) -> Iterator[Tensor]:  # noqa: ANN401
        """Yield the log-weights of each batch of examples, (K, B'), float64."""
        _check_count("k", k)
        pixels = self._pixels(x)
        if k_chunk is None:
            k_chunk = NOISE_BLOCK if pixels.device.type == "cpu" else _GPU_CHUNK
        if k_chunk < 1 or k_chunk % NOISE_BLOCK:
            what = f"k_chunk must be a multiple of {NOISE_BLOCK}, got {k_chunk}."
            raise UsageError(what)
        randomness = Randomness(seed, pixels.device)
        for number, part in enumerate(torch.split(pixels, EVALUATION_BATCH)):
            batch = SeenBatch(self.network, number, part, Split.TEST, randomness)
            yield batch.log_weights(k=k, k_chunk=k_chunk)

    def any_example(self) -> Tensor:
        """Return one example, the mean of the data, where a model needs one but takes nothing from it, (1, D)."""
        return self._here(self.data.mean).flatten()[None]

    def _here(self, values: Tensor) -> Tensor:
        like = next(self.network.parameters())
        return values.to(device=like.device, dtype=like.dtype)

    def _context(self, x: Any) -> Tensor | None:  # noqa: ANN401
        if not self.has_context:
            return None
        if x is None:
            what = "This model predicts one part of an image given the other part, but no image is given."
            raise UsageError(what, hint="give the images with the given part as x=")
        return self._pixels(x)

    def _latents(self, z: Any) -> Tensor:  # noqa: ANN401
        latents = self._here(_tensor("z", z))
        if latents.dim() < 1 or latents.shape[-1] != self.latent_dim or not latents.numel():
            what = f"z has the shape {tuple(latents.shape)}, but the model has {self.latent_dim} latent dimensions."
            raise UsageError(what, hint=f"give z of shape (B, {self.latent_dim})")
        return latents

    def _pixels(self, x: Any) -> Tensor:  # noqa: ANN401
        """Return checked examples of shape (B, D)."""
        values = _tensor("x", x)
        shape, size = self.data.shape, self.data.mean.numel()
        known = (shape, (size,), *((shape[1:],) if shape[0] == 1 else ()))
        if tuple(values.shape[1:]) not in known or not len(values):
            words = " or ".join(f"(B, {', '.join(map(str, each))})" for each in (shape, (size,)))
            what = f"x has the shape {tuple(values.shape)}, but the model takes {words}, with at least one example."
            hint = "give one example as x[None]" if tuple(values.shape) in known else None
            raise UsageError(what, hint=hint)
        pixels = self._here(values).flatten(1)
        _check_values(pixels, self.data)
        return pixels


def _tensor(name: str, values: Any) -> Tensor:  # noqa: ANN401
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        what = f"{name} cannot be made a tensor: {error}"
        raise UsageError(what, hint="give a torch tensor, a NumPy array or nested lists of numbers") from error


def _check_count(name: str, count: int) -> None:
    if count < 1:
        what = f"{name} must be at least 1, got {count}."
        raise UsageError(what)


def _check_values(pixels: Tensor, data: ModelData) -> None:
    """Refuse values that the model does not know.

    Raises:
        UsageError: always with the way to values that fit.
    """
    low, high = float(pixels.min()), float(pixels.max())
    if not torch.isfinite(pixels).all():
        what = "x has values that are not finite."
        raise UsageError(what)
    if data.kind is DataKind.REAL:
        return
    found = f"x has values from {low:g} to {high:g}"
    if low < 0.0 or high > 1.0:
        levels = 255 if data.kind is DataKind.BINARY or data.levels == 1 else data.levels
        what = f"{found}, but the model takes values from 0 to 1."
        raise UsageError(what, hint=f"scale them, such as bytes by x / {levels}")
    if data.kind is DataKind.BINARY and not ((pixels == 0.0) | (pixels == 1.0)).all():
        what = "x has values between 0 and 1, but the model takes binary pixels, 0 or 1."
        hint = "draw pixels, torch.bernoulli(x), as training did with --binarisation dynamic; or threshold: x > 0.5"
        raise UsageError(what, hint=hint)
