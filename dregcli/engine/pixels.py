"""Pixels from stored intensities, drawn by address."""

import torch
from torch import Tensor

from dregcli.engine.randomness import Randomness, Stream
from dregcli.names import Split

EVALUATION_BATCH = 128
"""Examples per evaluation pass. Part of the evaluation's definition, as pixels and noise are drawn by batch; with
a noise block of 16 samples it makes 2,048 rows, which keep the processor's matrix products busy and fit its cache."""

_SPLIT_NUMBER = {Split.TRAIN: 0, Split.VALID: 1, Split.TEST: 2}


def evaluation_step(split: Split, batch: int) -> int:
    """The address's step for an evaluation batch: each split has its own range."""
    return (_SPLIT_NUMBER[split] << 40) + batch


def intensities(stored: Tensor, levels: int) -> Tensor:
    """Stored uint8 values as intensities in [0, 1], float32."""
    return stored.to(torch.float32) / levels


def binarise(stored: Tensor, levels: int, uniform: Tensor) -> Tensor:
    """x ~ Bernoulli(intensity) as intensity > U with U in [0, 1), float32, shape (B, D)."""
    return (intensities(stored, levels) > uniform).to(torch.float32)


def training_pixels(stored: Tensor, levels: int, randomness: Randomness, step: int) -> Tensor:
    """A training batch's pixels, afresh for every step."""
    return binarise(stored, levels, randomness.uniform(Stream.PIXELS, step, *stored.shape))


def evaluation_pixels(stored: Tensor, levels: int, randomness: Randomness, split: Split, batch: int) -> Tensor:
    """An evaluation batch's pixels: fixed by the evaluation's seed, the same for every run.

    The uniform numbers are drawn for a whole batch and then cut, so that the last batch of a part of a split
    equals the same examples in the whole of it.
    """
    step = evaluation_step(split, batch)
    uniform = randomness.uniform(Stream.EVALUATION_PIXELS, step, EVALUATION_BATCH, stored.shape[1])
    return binarise(stored, levels, uniform[: stored.shape[0]].to(stored.device))
