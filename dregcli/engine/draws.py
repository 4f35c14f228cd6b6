"""What is drawn for one batch: the samples' noise, and an executor's own choices of rows; all by address."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dregcli.engine.randomness import Randomness, Stream

KEPT_BYTES = 2**26
"""Noise up to this size is kept for a second pass over the samples; more is drawn again."""

_KEEP, _CHOOSE = 0, 1
"""Blocks of a screening stream's step."""


class Draws(Protocol):
    """The random numbers of one batch."""

    @property
    def k(self) -> int:
        """Samples per example, K."""
        ...

    def noise(self, first: int, count: int) -> Tensor:
        """Standard normal noise of ``count`` samples of each example from the ``first`` on, shape (count, B, Z)."""
        ...

    def keep(self, probability: Tensor) -> Tensor:
        """Which rows are kept, independently and with these probabilities; bool, (K, B) as they are."""
        ...

    def choose(self, rate: float, batch: int) -> Tensor:
        """Which examples are chosen, independently of each other and of what is kept; bool, shape (B,)."""
        ...


@dataclass(frozen=True)
class GivenNoise:
    """Noise that is given; nothing else can be drawn.

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

    def keep(self, probability: Tensor) -> Tensor:
        """Nothing to choose rows by."""
        raise NotImplementedError

    def choose(self, rate: float, batch: int) -> Tensor:
        """Nothing to choose examples by."""
        raise NotImplementedError


class AddressedDraws:
    """What is drawn at one address.

    Args:
        randomness: the seed, and the device.
        stream: of the noise.
        step: the training step, or the batch.
        k: samples per example.
        batch: examples the noise is drawn for.
        width: latent dimensions of all layers together, Z.
        screening: stream of an executor's choices; None where no executor makes any.
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
        screening: Stream | None = None,
        dtype: torch.dtype = torch.float32,
        examples: int | None = None,
    ) -> None:
        self.k = k
        self._randomness, self._stream, self._step = randomness, stream, step
        self._batch, self._width = batch, width
        self._screening = screening
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

    def keep(self, probability: Tensor) -> Tensor:
        """Uniform numbers below the probabilities. They are float64: float32's are too coarse for small ones."""
        return self._uniform(_KEEP, *probability.shape) < probability

    def choose(self, rate: float, batch: int) -> Tensor:
        """Uniform numbers below the rate."""
        return self._uniform(_CHOOSE, batch) < rate

    def _uniform(self, block: int, *shape: int) -> Tensor:
        if self._screening is None:
            raise NotImplementedError
        return self._randomness.uniform64(self._screening, self._step, block, *shape)
