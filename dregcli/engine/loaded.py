"""A trained model for use outside of the program: encode, decode, sample, and estimate log p(x) by example.

This is the only module between the public API and the interface of the engine's models.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from dregcli.defaults import NOISE_BLOCK
from dregcli.engine.diagnostics.pareto import pareto_shape
from dregcli.engine.encoded import Encoded, GaussianEncoded, ProgramEncoded, program_means
from dregcli.engine.evaluation import SeenBatch
from dregcli.engine.models.base import GaussianModel, Model
from dregcli.engine.pixels import EVALUATION_BATCH
from dregcli.engine.programs.contract import ModelData
from dregcli.engine.programs.program_model import ProgramModel
from dregcli.engine.programs.trial import like_of
from dregcli.engine.randomness import Randomness
from dregcli.engine.sampling import prior_images
from dregcli.engine.weights import effective_sample_size, left_out_variance, log_mean_exp
from dregcli.errors import UsageError
from dregcli.names import DataKind, Split

_ROWS: Final = NOISE_BLOCK * EVALUATION_BATCH
"""Rows that are decoded at once, so that memory does not grow with the number of rows."""

_GPU_CHUNK: Final = 1024
"""Samples at once on a GPU, where each pass over rows has a cost of its own."""


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

    def __init__(self, model: Model, data: ModelData, *, has_context: bool) -> None:
        super().__init__()
        self.network = model
        self.data = data
        self.has_context = has_context
        self.eval()

    @property
    def latent_dim(self) -> int:
        """Number of latent dimensions of all latents together, Z."""
        return self.network.latent_width

    @property
    def latents(self) -> dict[str, tuple[int, ...]]:
        """The shape of each latent by its name; a built-in model has the one latent z."""
        return dict(self.network.latents) if isinstance(self.network, ProgramModel) else {"z": (self.latent_dim,)}

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
        pixels = self._pixels(x)
        if isinstance(self.network, ProgramModel):
            return ProgramEncoded(self.network, pixels)
        return GaussianEncoded(self._gaussian.posterior(pixels))

    def decode(self, z: Any, x: Any = None) -> Tensor:  # noqa: ANN401
        """Return the mean of x given z, as images of shape (..., channels, height, width).

        Args:
            z: latents, shape (..., Z), such as (B, Z), or (K, B, Z) as ``encode(x).sample(K)`` gives them; for a
                model with several latents a dict of them by name.
            x: only for a model of one part of an image given the other: the images with the given part, (B, ...).

        Raises:
            UsageError: z does not have the model's shape, or x is missing.
        """
        latents, before = self._latents(z)
        if isinstance(self.network, ProgramModel):
            names = list(latents)
            parts = zip(*(torch.split(latents[name], _ROWS) for name in names), strict=True)
            found = [program_means(self.network, dict(zip(names, part, strict=True))) for part in parts]
        else:
            found = self._decoded(latents["z"], before, self._context(x))
        return torch.cat(found).reshape(*before, *self.data.shape)

    def _decoded(self, rows: Tensor, before: tuple[int, ...], context: Tensor | None) -> list[Tensor]:
        """Return the means of a built-in model in parts, (N', D) each, for latents (N, Z)."""
        model = self._gaussian
        if context is None:
            one = self.any_example()
            return [model.mean_pixels(one, (part[:, None],))[:, 0] for part in torch.split(rows, _ROWS)]
        if not before or before[-1] != len(context):
            what = f"z has the shape {(*before, self.latent_dim)}, but x has {len(context)} examples."
            raise UsageError(what, hint="give z of shape (B, Z) or (K, B, Z) for the B examples of x")
        samples = rows.reshape(-1, len(context), self.latent_dim)
        parts = torch.split(samples, max(1, _ROWS // len(context)))
        return [model.mean_pixels(context, (part,)).flatten(0, 1) for part in parts]

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
        """Estimate log p(x) of each example. Memory holds the log-weights of 128 examples at a time.

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
        like = like_of(self.network, self.data.mean)
        return values.to(device=like.device, dtype=like.dtype)

    def _context(self, x: Any) -> Tensor | None:  # noqa: ANN401
        if not self.has_context:
            return None
        if x is None:
            what = "This model predicts one part of an image given the other part, but no image is given."
            raise UsageError(what, hint="give the images with the given part as x=")
        return self._pixels(x)

    @property
    def _gaussian(self) -> GaussianModel:
        assert isinstance(self.network, GaussianModel)
        return self.network

    def _latents(self, z: Any) -> tuple[dict[str, Tensor], tuple[int, ...]]:  # noqa: ANN401
        """Return checked latents by name, (N, ...) each, and the shape before the last axes."""
        shapes = self.latents
        given = cast("dict[str, Any]", z) if isinstance(z, dict) else dict[str, Any].fromkeys(shapes, z)
        words = "; ".join(
            f"{name} of shape ({', '.join(map(str, ('...', *shape)))})" for name, shape in shapes.items()
        )
        if given.keys() != shapes.keys() or (len(shapes) > 1 and not isinstance(z, dict)):
            has = ", ".join(given) or "none" if isinstance(z, dict) else "no names"
            what = f"The model has the latents {', '.join(shapes)}, but z has {has}."
            raise UsageError(what, hint=f"give a dict with {words}")
        integers = self.network.integers if isinstance(self.network, ProgramModel) else ()
        found: dict[str, Tensor] = {}
        before: set[tuple[int, ...]] = set()
        for name, shape in shapes.items():
            latent = _tensor(name, given[name])
            latent = latent.to(self.any_example().device).long() if name in integers else self._here(latent)
            split = latent.dim() - len(shape)
            if split < 0 or tuple(latent.shape[split:]) != shape or not latent.numel():
                what = f"{name} has the shape {tuple(latent.shape)}, but the model has {words}."
                raise UsageError(what, hint="the last axes of a latent are its own, all others are free")
            before.add(tuple(latent.shape[:split]))
            found[name] = latent.reshape(-1, *shape)
        if len(before) > 1:
            what = f"The latents have different numbers of values: {', '.join(map(str, sorted(before)))}."
            raise UsageError(what, hint="give all latents of the same samples")
        return found, before.pop()

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
