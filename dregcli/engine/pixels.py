"""What a model sees of stored values: pixels drawn by address, or the values as they are."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dregcli.engine.randomness import Randomness, Stream
from dregcli.names import Split

EVALUATION_BATCH = 128
"""Examples per evaluation pass. Part of the evaluation's definition, as pixels and noise are drawn by batch; with
a noise block of 16 samples it makes 2,048 rows, which keep the processor's matrix products busy and fit its cache."""

_SPLIT_NUMBER = {Split.TRAIN: 0, Split.VALID: 1, Split.TEST: 2}


class Pixels(Protocol):
    """How stored values become pixels."""

    def __call__(self, stored: Tensor, uniform: Callable[[], Tensor]) -> Tensor:
        """Pixels from stored values, both (B, D); ``uniform`` draws numbers in [0, 1) where they are needed."""
        ...


def intensities(stored: Tensor, levels: int) -> Tensor:
    """Stored values as intensities in [0, 1], or in the data's own unit with 1 level; float32."""
    return stored.to(torch.float32) / levels


@dataclass(frozen=True)
class Dynamic:
    """x ~ Bernoulli(intensity), drawn afresh every time, as intensity > U with U in [0, 1)."""

    levels: int

    def __call__(self, stored: Tensor, uniform: Callable[[], Tensor]) -> Tensor:
        """Binary pixels, float32."""
        return (intensities(stored, self.levels) > uniform().to(stored.device)).to(torch.float32)


@dataclass(frozen=True)
class AsStored:
    """Binary pixels, intensities or real values, as they are."""

    levels: int

    def __call__(self, stored: Tensor, uniform: Callable[[], Tensor]) -> Tensor:
        """The values, float32."""
        return intensities(stored, self.levels)


def evaluation_step(split: Split, batch: int, repeat: int = 0) -> int:
    """The address's step for an evaluation batch: each split, and each repeat of its draws, has its own range."""
    return (repeat << 44) + (_SPLIT_NUMBER[split] << 40) + batch


def training_pixels(pixels: Pixels, stored: Tensor, randomness: Randomness, step: int) -> Tensor:
    """A training batch's pixels; what is drawn is drawn afresh for every step."""
    return pixels(stored, lambda: randomness.uniform(Stream.PIXELS, step, *stored.shape))


def evaluation_pixels(pixels: Pixels, stored: Tensor, randomness: Randomness, split: Split, batch: int) -> Tensor:
    """An evaluation batch's pixels: fixed by the evaluation's seed, the same for every run.

    The uniform numbers are drawn for a whole batch and then cut, so that the last batch of a part of a split
    equals the same examples in the whole of it.
    """
    count, width = stored.shape
    step = evaluation_step(split, batch)
    return pixels(stored, lambda: randomness.uniform(Stream.EVALUATION_PIXELS, step, EVALUATION_BATCH, width)[:count])
