"""Random numbers of one batch, all by address: the samples' noise, and an executor's choices of rows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from dregcli.defaults import NOISE_BLOCK
from dregcli.engine.antithetic import with_partners
from dregcli.engine.randomness import Randomness, Stream, address

KEPT_BYTES = 2**26
"""Noise up to this size is kept for a second pass over the samples; larger noise is drawn again."""

_KEEP, _CHOOSE = 0, 1
"""Blocks within one step of a screening stream."""


class Noise(Protocol):
    """The samples' noise of one batch."""

    @property
    def k(self) -> int:
        """Samples per example, K."""
        ...

    def noise(self, first: int, count: int) -> Tensor:
        """Return standard normal noise of ``count`` samples of each example, starting at ``first``, (count, B, Z)."""
        ...


@runtime_checkable
class LatentNoise(Noise, Protocol):
    """Noise for models whose latents are known only while they are drawn."""

    def of_latent(self, latent: int, width: int) -> Noise:
        """Return the standard normal noise of one latent.

        Args:
            latent: number of the latent in the order of drawing, from 0.
            width: number of its values for each sample, Z.
        """
        ...

    def uniforms(self, latent: int, width: int, first: int, count: int) -> Tensor:
        """Return uniform numbers, greater than 0 and smaller than 1, of one latent; (count, B, width).

        Args:
            latent: number of the latent in the order of drawing, from 0.
            width: number of its values for each sample.
            first: index of the first sample.
            count: number of samples.
        """
        ...

    def seed(self, latent: int, block: int) -> int:
        """Return a seed of torch's generators for one block of a latent that no noise is mapped to."""
        ...


@runtime_checkable
class Draws(Noise, Protocol):
    """All random numbers of one batch: the noise, and the numbers by which an executor chooses rows."""

    def keep(self, probability: Tensor) -> Tensor:
        """Choose the rows to keep, independently, with these probabilities (K, B); bool, (K, B)."""
        ...

    def choose(self, rate: float, batch: int) -> Tensor:
        """Choose examples, independently of each other and of the kept rows; bool, shape (B,)."""
        ...


@dataclass(frozen=True)
class NoiseOfExamples:
    """The noise of some examples of a batch.

    Attributes:
        whole: noise of the whole batch.
        examples: indices of the selected examples, int64, shape (B',).
    """

    whole: Noise
    examples: Tensor

    @property
    def k(self) -> int:
        """Samples per example."""
        return self.whole.k

    def noise(self, first: int, count: int) -> Tensor:
        """Return the noise of the selected examples."""
        return self.whole.noise(first, count)[:, self.examples]


OF_PROGRAM = 2**20
"""Number of the seed of random numbers that a posterior's program draws itself, such as dropout's."""


@dataclass(frozen=True)
class PartOfNoise:
    """The random numbers of some samples of some examples of a batch, counted from 0.

    Attributes:
        whole: those of the whole batch.
        samples: consecutive samples, from the start of a block of ``NOISE_BLOCK``.
        examples: consecutive examples.
    """

    whole: LatentNoise
    samples: range
    examples: range

    @property
    def k(self) -> int:
        """Number of the samples."""
        return len(self.samples)

    def noise(self, first: int, count: int) -> Tensor:
        """Return the noise that these samples have in the whole batch."""
        return self.of(self.whole, first, count)

    def of(self, whole: Noise, first: int, count: int) -> Tensor:
        """Return what these samples of these examples have of some noise of the whole batch."""
        return self._some(whole.noise(self.samples.start + first, count))

    def _some(self, drawn: Tensor) -> Tensor:
        return drawn[:, self.examples.start : self.examples.stop]

    def of_latent(self, latent: int, width: int) -> Noise:
        """Return the noise of one latent."""
        return _PartOfOne(self, self.whole.of_latent(latent, width))

    def uniforms(self, latent: int, width: int, first: int, count: int) -> Tensor:
        """Return the uniform numbers of one latent."""
        return self._some(self.whole.uniforms(latent, width, self.samples.start + first, count))

    def seed(self, latent: int, block: int) -> int:
        """Return the seed of a block of these samples; a program's own numbers have one for all samples."""
        before = 0 if latent == OF_PROGRAM else self.samples.start // NOISE_BLOCK
        return self.whole.seed(latent, before + block)


@dataclass(frozen=True)
class _PartOfOne:
    part: PartOfNoise
    whole: Noise

    @property
    def k(self) -> int:
        """Number of the samples."""
        return self.part.k

    def noise(self, first: int, count: int) -> Tensor:
        """Return the noise of these samples."""
        return self.part.of(self.whole, first, count)


_LATENT_BLOCKS = 2**40
"""Number of addresses of blocks that each latent has."""


class AddressedNoise:
    """Noise that is drawn at one address.

    Args:
        randomness: the seed and the device.
        stream: stream of the noise.
        step: the training step or the batch.
        k: samples per example.
        batch: number of examples that the noise is drawn for.
        width: latent dimensions of all layers together, Z.
        dtype: type of the returned noise; it is drawn in float32.
        examples: number of examples to use, from the first on; all if it is not given.
        latent: number of the latent, for models with several; the first block's address depends on it.
        antithetic: whether the noise of every second sample is minus the noise before it.
    """

    def __init__(
        self,
        randomness: Randomness,
        stream: Stream,
        step: int,
        *,
        k: int,
        batch: int,
        width: int,
        dtype: torch.dtype = torch.float32,
        examples: int | None = None,
        latent: int = 0,
        antithetic: bool = False,
    ) -> None:
        self.k = k
        self._latent = latent
        self._antithetic = antithetic
        self._randomness, self._stream, self._step = randomness, stream, step
        self._batch, self._width = batch, width
        self._dtype = dtype
        self._examples = batch if examples is None else examples
        self._latents: dict[tuple[int, int], AddressedNoise] = {}
        self._kept: dict[tuple[object, int, int], Tensor] | None = {} if 4 * k * batch * width <= KEPT_BYTES else None

    def noise(self, first: int, count: int) -> Tensor:
        """Return the noise; the numbers do not depend on how the samples are divided into calls."""
        return self._drawn(self._pairs if self._antithetic else self._randomness.normal, first, count)

    def uniforms(self, latent: int, width: int, first: int, count: int) -> Tensor:
        """Return uniform numbers of one latent; they do not depend on how the samples are divided into calls."""
        return self._own(latent, width)._drawn(self._randomness.uniform_noise, first, count)

    def _pairs(self, stream: Stream, step: int, **sizes: int) -> Tensor:
        return with_partners(self._randomness.normal(stream, step, **sizes))

    def _drawn(self, draw: Callable[..., Tensor], first: int, count: int) -> Tensor:
        if self._kept is not None and (draw, first, count) in self._kept:
            return self._kept[draw, first, count]
        block = self._latent * _LATENT_BLOCKS
        drawn = draw(
            self._stream, self._step, k=count, batch=self._batch, width=self._width, first=first, block=block
        )
        drawn = drawn[:, : self._examples].to(self._dtype)
        if self._kept is not None:
            self._kept[draw, first, count] = drawn
        return drawn

    def of_latent(self, latent: int, width: int) -> Noise:
        """Return the noise of one latent; the first one of a model with this width has the noise of the whole."""
        return self._own(latent, width)

    def _own(self, latent: int, width: int) -> "AddressedNoise":
        if latent == self._latent and width == self._width:
            return self
        if (latent, width) not in self._latents:
            self._latents[latent, width] = AddressedNoise(
                self._randomness,
                self._stream,
                self._step,
                k=self.k,
                batch=self._batch,
                width=width,
                dtype=self._dtype,
                examples=self._examples,
                latent=latent,
                antithetic=self._antithetic,
            )
        return self._latents[latent, width]

    def seed(self, latent: int, block: int) -> int:
        """Return the address of a block."""
        return address(self._randomness.seed, self._stream, self._step, latent * _LATENT_BLOCKS + block)


class AddressedDraws(AddressedNoise):
    """Noise and choices that are drawn at one address.

    Args:
        randomness: the seed and the device.
        stream: stream of the noise.
        step: the training step or the batch.
        k: samples per example.
        batch: number of examples.
        width: latent dimensions of all layers together, Z.
        screening: stream of the executor's choices.
        dtype: type of the returned noise.
        antithetic: whether the noise of every second sample is minus the noise before it.
    """

    def __init__(
        self,
        randomness: Randomness,
        stream: Stream,
        step: int,
        *,
        k: int,
        batch: int,
        width: int,
        screening: Stream,
        dtype: torch.dtype = torch.float32,
        antithetic: bool = False,
    ) -> None:
        sizes = {"k": k, "batch": batch, "width": width}
        super().__init__(randomness, stream, step, **sizes, dtype=dtype, antithetic=antithetic)
        self._screening = screening

    def keep(self, probability: Tensor) -> Tensor:
        """Keep a row where its uniform number is below its probability; float32 is too coarse for small ones."""
        return self._uniform(_KEEP, *probability.shape) < probability

    def choose(self, rate: float, batch: int) -> Tensor:
        """Choose an example where its uniform number is below the rate."""
        return self._uniform(_CHOOSE, batch) < rate

    def _uniform(self, block: int, *shape: int) -> Tensor:
        return self._randomness.uniform64(self._screening, self._step, block, *shape)
