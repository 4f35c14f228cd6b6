"""What is drawn for one batch: the samples' noise, and an executor's own choices of rows; all by address."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from dregcli.engine.randomness import Randomness, Stream

KEPT_BYTES = 2**26
"""Noise up to this size is kept for a second pass over the samples; more is drawn again."""

_KEEP, _CHOOSE = 0, 1
"""Blocks of a screening stream's step."""


class Noise(Protocol):
    """The samples' noise of one batch."""

    @property
    def k(self) -> int:
        """Samples per example, K."""
        ...

    def noise(self, first: int, count: int) -> Tensor:
        """Standard normal noise of ``count`` samples of each example from the ``first`` on, shape (count, B, Z)."""
        ...


@runtime_checkable
class Draws(Noise, Protocol):
    """All random numbers of one batch: the noise, and what an executor chooses rows by."""

    def keep(self, probability: Tensor) -> Tensor:
        """Which rows are kept, independently and with these probabilities; bool, (K, B) as they are."""
        ...

    def choose(self, rate: float, batch: int) -> Tensor:
        """Which examples are chosen, independently of each other and of what is kept; bool, shape (B,)."""
        ...


@dataclass(frozen=True)
class GivenNoise:
    """Noise that is given.

    Attributes:
        given: shape (K, B, Z).
    """

    given: Tensor

    @property
    def k(self) -> int:
        """Samples per example."""
        return self.given.shape[0]

    def noise(self, first: int, count: int) -> Tensor:
        """A part of it."""
        return self.given[first : first + count]


@dataclass(frozen=True)
class NoiseOfExamples:
    """The noise of some examples of a batch.

    Attributes:
        whole: of all of them.
        examples: which, int64, shape (B',).
    """

    whole: Noise
    examples: Tensor

    @property
    def k(self) -> int:
        """Samples per example."""
        return self.whole.k

    def noise(self, first: int, count: int) -> Tensor:
        """Theirs."""
        return self.whole.noise(first, count)[:, self.examples]


class AddressedNoise:
    """Noise that is drawn at one address.

    Args:
        randomness: the seed, and the device.
        stream: of the noise.
        step: the training step, or the batch.
        k: samples per example.
        batch: examples the noise is drawn for.
        width: latent dimensions of all layers together, Z.
        dtype: of the noise that is given; it is drawn in float32.
        examples: the first so many of the batch are used; all of them where it is not given.
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
    ) -> None:
        self.k = k
        self._randomness, self._stream, self._step = randomness, stream, step
        self._batch, self._width = batch, width
        self._dtype = dtype
        self._examples = batch if examples is None else examples
        self._kept: dict[tuple[int, int], Tensor] | None = {} if 4 * k * batch * width <= KEPT_BYTES else None

    def noise(self, first: int, count: int) -> Tensor:
        """The same numbers however the samples are divided."""
        if self._kept is not None and (first, count) in self._kept:
            return self._kept[first, count]
        drawn = self._randomness.normal(
            self._stream, self._step, k=count, batch=self._batch, width=self._width, first=first
        )
        drawn = drawn[:, : self._examples].to(self._dtype)
        if self._kept is not None:
            self._kept[first, count] = drawn
        return drawn


class AddressedDraws(AddressedNoise):
    """Noise and choices that are drawn at one address.

    Args:
        randomness: the seed, and the device.
        stream: of the noise.
        step: the training step, or the batch.
        k: samples per example.
        batch: examples.
        width: latent dimensions of all layers together, Z.
        screening: stream of an executor's choices.
        dtype: of the noise that is given.
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
    ) -> None:
        super().__init__(randomness, stream, step, k=k, batch=batch, width=width, dtype=dtype)
        self._screening = screening

    def keep(self, probability: Tensor) -> Tensor:
        """Uniform numbers below the probabilities. They are float64: float32's are too coarse for small ones."""
        return self._uniform(_KEEP, *probability.shape) < probability

    def choose(self, rate: float, batch: int) -> Tensor:
        """Uniform numbers below the rate."""
        return self._uniform(_CHOOSE, batch) < rate

    def _uniform(self, block: int, *shape: int) -> Tensor:
        return self._randomness.uniform64(self._screening, self._step, block, *shape)
