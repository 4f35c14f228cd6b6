"""The pixels that a model sees: drawn by address from stored values, or the stored values themselves."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dregcli.engine.randomness import Randomness, Stream
from dregcli.names import Split

EVALUATION_BATCH = 128
"""Examples per evaluation pass. It is part of the evaluation's definition, since pixels and noise are drawn by
batch. With a noise block of 16 samples it makes 2,048 rows: enough for fast matrix products, and they fit the
cache."""

_SPLIT_NUMBER = {Split.TRAIN: 0, Split.VALID: 1, Split.TEST: 2}


class Pixels(Protocol):
    """The rule that turns stored values into pixels."""

    def __call__(self, stored: Tensor, uniform: Callable[[], Tensor]) -> Tensor:
        """Return pixels for stored values, both (B, D); ``uniform`` draws numbers in [0, 1) if they are needed."""
        ...


def intensities(stored: Tensor, levels: int) -> Tensor:
    """Return stored values as intensities in [0, 1], or in the data's own unit if ``levels`` is 1; float32."""
    return stored.to(torch.float32) / levels


@dataclass(frozen=True)
class Dynamic:
    """Pixels x ~ Bernoulli(intensity), drawn again every time, as intensity > U with U in [0, 1)."""

    levels: int

    def __call__(self, stored: Tensor, uniform: Callable[[], Tensor]) -> Tensor:
        """Draw binary pixels, float32."""
        return (intensities(stored, self.levels) > uniform().to(stored.device)).to(torch.float32)


@dataclass(frozen=True)
class AsStored:
    """Stored values used directly: binary pixels, intensities or real values."""

    levels: int

    def __call__(self, stored: Tensor, uniform: Callable[[], Tensor]) -> Tensor:
        """Return the values, float32."""
        return intensities(stored, self.levels)


def evaluation_step(split: Split, batch: int, repeat: int = 0) -> int:
    """Return the address's step of an evaluation batch: each split and each repeat of its draws has its own range."""
    return (repeat << 44) + (_SPLIT_NUMBER[split] << 40) + batch


def training_pixels(
    pixels: Pixels, stored: Tensor, randomness: Randomness, step: int, stream: Stream = Stream.PIXELS
) -> Tensor:
    """Return a training batch's pixels; random pixels are drawn again for every step."""
    return pixels(stored, lambda: randomness.uniform(stream, step, *stored.shape))


def evaluation_pixels(pixels: Pixels, stored: Tensor, randomness: Randomness, split: Split, batch: int) -> Tensor:
    """Return an evaluation batch's pixels: fixed by the evaluation's seed, the same for every run.

    The uniform numbers are drawn for a whole batch and then cut. So examples in the last batch of a part of a split
    get the same pixels as in the whole split.
    """
    count, width = stored.shape
    step = evaluation_step(split, batch)
    return pixels(stored, lambda: randomness.uniform(Stream.EVALUATION_PIXELS, step, EVALUATION_BATCH, width)[:count])
