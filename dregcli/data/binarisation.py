"""Fixed binary pixels: by a threshold, or drawn once from the seed, the split and the example's place."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from dregcli.data.scan import Values, chunks
from dregcli.names import Split

_SPLIT_NUMBER: Final = {Split.TRAIN: 0, Split.VALID: 1, Split.TEST: 2}
_WORDS_PER_COUNT: Final = 4
"""64-bit words that Philox produces for one value of its counter."""


class FixedPixels(Protocol):
    """A rule that turns the stored values of one split into its fixed pixels."""

    def block(self, first: int, stored: Values) -> NDArray[np.uint8]:
        """Return the pixels (0 or 1) of consecutive examples.

        Args:
            first: index of the first example.
            stored: their stored values, (N, D).
        """
        ...

    def rows(self, indices: NDArray[np.int64], stored: Values) -> NDArray[np.uint8]:
        """Return the pixels of some examples.

        Args:
            indices: their indices.
            stored: their stored values in the same order, (B, D).
        """
        ...


@dataclass(frozen=True)
class ThresholdPixels:
    """x = 1 where the intensity exceeds a threshold.

    Attributes:
        threshold: an intensity.
        levels: the stored value of intensity 1.
    """

    threshold: float
    levels: int

    def block(self, first: int, stored: Values) -> NDArray[np.uint8]:
        """See ``FixedPixels.block``."""
        if stored.dtype == np.float32:
            # The threshold becomes float32 too, so that a value and a threshold written alike are equal.
            return (stored > np.float32(self.threshold)).astype(np.uint8)
        # A division is rounded once. The product threshold * levels could fall just below an integer.
        intensities = np.arange(self.levels + 1) / self.levels
        return (intensities > self.threshold).astype(np.uint8)[stored.astype(np.intp)]

    def rows(self, indices: NDArray[np.int64], stored: Values) -> NDArray[np.uint8]:
        """See ``FixedPixels.rows``."""
        return self.block(0, stored)


class StaticPixels:
    """x ~ Bernoulli(intensity) for the examples of a split; each example has its own random numbers.

    The random numbers come from the counter-based generator Philox with the key (seed, split), 32 bits a pixel.
    Example i begins at a fixed place of the stream. So a part of a split, read in any order, gets the same pixels
    as when the whole split is read. The pixels depend on an example's place in its split, not on its content.

    Args:
        split: the split that holds the examples.
        seed: random seed, from 0 to 2^63 - 1.
        levels: the stored value of intensity 1.
        width: pixels of an image.
    """

    def __init__(self, split: Split, *, seed: int, levels: int, width: int) -> None:
        self._key = np.array([seed, _SPLIT_NUMBER[split]], dtype=np.uint64)
        self._levels = levels
        self._width = width
        # Two pixels a word, rounded up to whole counts, so that each example begins at a value of the counter.
        self._counts = -(-width // (2 * _WORDS_PER_COUNT))

    def block(self, first: int, stored: Values) -> NDArray[np.uint8]:
        """See ``FixedPixels.block``."""
        generator = np.random.Philox(key=self._key)
        generator.advance(first * self._counts)
        count = len(stored)
        words = generator.random_raw(count * self._counts * _WORDS_PER_COUNT)
        drawn = words.astype("<u8", copy=False).view("<u4").reshape(count, -1)[:, : self._width]
        # u / 2^32 < value / levels, in float64: exact for 32-bit u and byte values.
        return (drawn * (self._levels * 2.0**-32) < stored).astype(np.uint8)

    def rows(self, indices: NDArray[np.int64], stored: Values) -> NDArray[np.uint8]:
        """See ``FixedPixels.rows``."""
        return np.concatenate([self.block(int(i), stored[j : j + 1]) for j, i in enumerate(indices)])


def fixed_blocks(pixels: FixedPixels, stored: Values) -> Iterator[NDArray[np.uint8]]:
    """Yield the pixels of all examples of a split, chunk by chunk."""
    done = 0
    for chunk in chunks(stored):
        yield pixels.block(done, chunk)
        done += len(chunk)
