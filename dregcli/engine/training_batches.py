"""The batches of a training: which examples a step sees, their pixels, and its random numbers, all by the step."""

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor

from dregcli.engine.draws import AddressedDraws, AddressedNoise, Noise
from dregcli.engine.dreams import DreamNoise
from dregcli.engine.examples import Examples
from dregcli.engine.pixels import Pixels, training_pixels
from dregcli.engine.randomness import Randomness, Stream
from dregcli.names import SampleNoise

FIT_EXAMPLES = 1024
"""Examples that an objective's numbers are fitted to, rounded up to whole batches. It defines a run's numbers."""


class DrawnBatch(NamedTuple):
    """What a step works on.

    Attributes:
        pixels: shape (B, D).
        draws: random numbers of the samples.
        dreams: random numbers of dreams, for objectives that have some.
    """

    pixels: Tensor
    draws: Noise
    dreams: DreamNoise


class TrainingBatches:
    """The batches of a training by their steps, from 0.

    Args:
        examples: examples of the training split, on the model's device.
        pixels: rule that turns stored values into pixels.
        k: samples per example.
        batch_size: examples per step, at most N.
        width: latent dimensions of all layers together, Z.
        seed: random seed of the order, pixels and noise.
        noise: whether the samples are antithetic pairs.
    """

    def __init__(
        self,
        examples: Examples,
        pixels: Pixels,
        *,
        k: int,
        batch_size: int,
        width: int,
        seed: int,
        noise: SampleNoise = SampleNoise.IID,
    ) -> None:
        self.randomness = Randomness(seed, examples.device)
        self._examples, self._pixels = examples, pixels
        self._k, self._batch_size, self._width = k, batch_size, width
        self._antithetic = noise is SampleNoise.ANTITHETIC
        self._epoch: tuple[int, Tensor] | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Number of whole batches in one pass over the data; the last partial batch is dropped."""
        return len(self._examples) // self._batch_size

    def indices(self, step: int) -> Tensor:
        """Return the indices of the examples of a step, int64, shape (B,)."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            order = self.randomness.permutation(Stream.ORDER, epoch, len(self._examples))
            self._epoch = (epoch, order)
        return self._epoch[1][position * self._batch_size :][: self._batch_size]

    def stored(self, step: int) -> Tensor:
        """Return the stored values of a step, (B, D), and announce the rows of the step after it."""
        found = self._examples.rows(self.indices(step))
        # Rows on the disk are read while this step's work runs.
        self._examples.expect(self.indices(step + 1))
        return found

    def of_fit(self, step: int) -> Iterator[tuple[Tensor, Noise]]:
        """Yield the pixels (B, D) and the noise of the batches of a fit before a step, all by the step alone."""
        count = min(-(-FIT_EXAMPLES // self._batch_size), self.steps_per_epoch)
        order = self.randomness.permutation(Stream.FITTING_EXAMPLES, step, len(self._examples))
        for i in range(count):
            stored = self._examples.rows(order[i * self._batch_size :][: self._batch_size])
            at = step * count + i
            pixels = training_pixels(self._pixels, stored, self.randomness, at, Stream.FITTING_PIXELS)
            batch, width = self._batch_size, self._width
            noise = AddressedNoise(self.randomness, Stream.FITTING_NOISE, at, k=self._k, batch=batch, width=width)
            yield pixels, noise

    def drawn(self, step: int, stored: Tensor | None = None, randomness: Randomness | None = None) -> DrawnBatch:
        """Return a step's pixels and random numbers, from other values and numbers if they are given."""
        stored = self.stored(step) if stored is None else stored
        randomness = randomness or self.randomness
        batch, width = self._batch_size, self._width
        return DrawnBatch(
            training_pixels(self._pixels, stored, randomness, step),
            AddressedDraws(
                randomness,
                Stream.NOISE,
                step,
                k=self._k,
                batch=batch,
                width=width,
                screening=Stream.SCREENING,
                antithetic=self._antithetic,
            ),
            DreamNoise(randomness, Stream.NOISE, step, batch=batch, width=width),
        )
