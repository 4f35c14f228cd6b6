"""Pixels fixed once and for all: by a threshold, or drawn by a seed, the split and the example."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from dregcli.data.scan import Values, chunks
from dregcli.names import Split

_SPLIT_NUMBER: Final = {Split.TRAIN: 0, Split.VALID: 1, Split.TEST: 2}
_WORDS_PER_COUNT: Final = 4
"""64-bit words that Philox makes for one value of its counter."""


class FixedPixels(Protocol):
    """How the stored values of one split become its pixels, for good."""

    def block(self, first: int, stored: Values) -> NDArray[np.uint8]:
        """The pixels of consecutive examples, 0 and 1: ``first`` is the index of the first, ``stored`` is (N, D)."""
        ...

    def rows(self, indices: NDArray[np.int64], stored: Values) -> NDArray[np.uint8]:
        """The pixels of some examples: their indices, and their stored values in the same order, (B, D)."""
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
        """As ``FixedPixels.block``."""
        if stored.dtype == np.float32:
            # As float32 too, so that a value and a threshold of one spelling are equal.
            return (stored > np.float32(self.threshold)).astype(np.uint8)
        # A division is rounded once; the product of the threshold and the levels could fall below their integer.
        intensities = np.arange(self.levels + 1) / self.levels
        return (intensities > self.threshold).astype(np.uint8)[stored.astype(np.intp)]

    def rows(self, indices: NDArray[np.int64], stored: Values) -> NDArray[np.uint8]:
        """As ``FixedPixels.rows``."""
        return self.block(0, stored)


class StaticPixels:
    """x ~ Bernoulli(intensity) of a split, each example's numbers at an address of their own.

    The numbers are those of the counter-based generator Philox with the key (seed, split), 32 bits a pixel; example
    i begins at a fixed place of its stream. So a part of a split, in any order, has the pixels of the whole. They
    depend on an example's place in its split, not on its content.

    Args:
        split: of which the examples are.
        seed: from 0 to 2^63 - 1.
        levels: the stored value of intensity 1.
        width: pixels of an image.
    """

    def __init__(self, split: Split, *, seed: int, levels: int, width: int) -> None:
        self._key = np.array([seed, _SPLIT_NUMBER[split]], dtype=np.uint64)
        self._levels = levels
        self._width = width
        # Two pixels a word, rounded up to whole counts: then an example's place is a value of the counter.
        self._counts = -(-width // (2 * _WORDS_PER_COUNT))

    def block(self, first: int, stored: Values) -> NDArray[np.uint8]:
        """As ``FixedPixels.block``."""
        generator = np.random.Philox(key=self._key)
        generator.advance(first * self._counts)
        count = len(stored)
        words = generator.random_raw(count * self._counts * _WORDS_PER_COUNT)
        drawn = words.astype("<u8", copy=False).view("<u4").reshape(count, -1)[:, : self._width]
        # u / 2^32 < value / levels, in float64: exact for 32-bit u and byte values.
        return (drawn * (self._levels * 2.0**-32) < stored).astype(np.uint8)

    def rows(self, indices: NDArray[np.int64], stored: Values) -> NDArray[np.uint8]:
        """As ``FixedPixels.rows``."""
        return np.concatenate([self.block(int(i), stored[j : j + 1]) for j, i in enumerate(indices)])


def fixed_blocks(pixels: FixedPixels, stored: Values) -> Iterator[NDArray[np.uint8]]:
    """The pixels of all examples of a split, piece by piece."""
    done = 0
    for chunk in chunks(stored):
        yield pixels.block(done, chunk)
        done += len(chunk)
