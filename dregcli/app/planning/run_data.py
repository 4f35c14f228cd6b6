"""The data set of one run: its examples on the run's device, and how their values become pixels."""

import warnings
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dregcli.app.planning.mapped_examples import MappedExamples
from dregcli.data.binarisation import FixedPixels, StaticPixels, ThresholdPixels, fixed_blocks
from dregcli.data.catalogue import log_density_of
from dregcli.data.dataset import LEAST_SPREAD, Dataset
from dregcli.data.scan import Values
from dregcli.engine.examples import Examples, ResidentExamples
from dregcli.engine.pixels import AsStored, Dynamic, Pixels
from dregcli.engine.programs.contract import ModelData
from dregcli.names import Binarisation, DataKind, Split, Task
from dregcli.specs.binarisation import BinarisationRule, parse_binarisation
from dregcli.specs.run import RunSpec


class RunData:
    """The examples and pixels that a run uses of its data set.

    Args:
        dataset: the data set.
        spec: spec of the run, for binarisation, device and task.
    """

    def __init__(self, dataset: Dataset, spec: RunSpec) -> None:
        self.dataset = dataset
        self._rule = parse_binarisation(spec.binarisation)
        self._device = torch.device(spec.device)
        self._task = spec.task
        self._examples: dict[Split, Examples] = {}

    @property
    def split_hashes(self) -> dict[str, str]:
        """SHA-256 of the stored values of each split, by the name of the split."""
        return {split.value: digest for split, digest in self.dataset.split_hashes.items()}

    @property
    def pixels(self) -> Pixels:
        """The rule that turns the values of examples into pixels."""
        if self._rule.name is Binarisation.DYNAMIC:
            return Dynamic(self.dataset.levels)
        return AsStored(1 if self._is_fixed else self.dataset.levels)

    def size(self, split: Split) -> int:
        """Return the number of examples of a split."""
        return len(self.dataset.splits[split])

    def examples(self, split: Split) -> Examples:
        """Return the examples of a split on the run's device; always the same object."""
        if split not in self._examples:
            self._examples[split] = self._made(split)
        return self._examples[split]

    def true_log_p(self, pixels: Tensor) -> Tensor | None:
        """Return exact log p(x) of the distribution that the data were drawn from, if it is known.

        In expectation no model can be better.

        Args:
            pixels: whole images as the model sees them, shape (B, D).

        Returns:
            Shape (B,), float64, nats; None if it is not known, or if the run's bounds are not bounds of log p(x).
        """
        log_density = log_density_of(self.dataset.name)
        if log_density is None or self._task is not Task.GENERATIVE:
            return None
        return torch.from_numpy(log_density(pixels.cpu().numpy()))

    @cached_property
    def model_data(self) -> ModelData:
        """What the run's model knows of the data: all that is needed to build it without the data set."""
        return model_data_of(self.dataset, self._rule)

    @property
    def _is_fixed(self) -> bool:
        return _is_fixed(self._rule)

    def _fixed(self, split: Split) -> FixedPixels:
        return _fixed_pixels(self._rule, self.dataset, split)

    def _made(self, split: Split) -> Examples:
        stored = self.dataset.splits[split]
        if isinstance(stored, np.memmap):
            return MappedExamples(stored, self._device, self._fixed(split) if self._is_fixed else None)
        if self._is_fixed:
            stored = np.concatenate(list(fixed_blocks(self._fixed(split), stored)))
        return ResidentExamples(_tensor(stored).to(self._device))


def model_data_of(dataset: Dataset, rule: BinarisationRule) -> ModelData:
    """Return what a model may know of a data set whose pixels are made by this rule."""
    is_drawn, mean = rule.name is not Binarisation.NONE, _mean(dataset, rule)
    shape = (dataset.channels, dataset.height, dataset.width)
    # The standard deviation of zeros and ones, which is far larger than that of the intensities they are drawn from.
    of_drawn = np.sqrt((mean * (1.0 - mean)).clip(min=0.0)).clip(min=LEAST_SPREAD)
    spread = of_drawn.astype(np.float32) if is_drawn else dataset.spread()
    return ModelData(
        shape=shape,
        kind=DataKind.BINARY if is_drawn else dataset.kind,
        levels=1 if is_drawn else dataset.levels,
        mean=torch.from_numpy(mean.astype(np.float32)).reshape(shape),
        spread=torch.from_numpy(spread).reshape(shape),
    )


def _mean(dataset: Dataset, rule: BinarisationRule) -> NDArray[np.float64]:
    """Return the mean of the training split's pixels, (D,): their expectation if they are drawn in each step."""
    if not _is_fixed(rule):
        return dataset.scanned.moments.mean
    stored = dataset.splits[Split.TRAIN]
    total = np.zeros(dataset.pixels, dtype=np.uint64)
    for block in fixed_blocks(_fixed_pixels(rule, dataset, Split.TRAIN), stored):
        total += block.sum(axis=0, dtype=np.uint64)
    return total.astype(np.float64) / len(stored)


def _is_fixed(rule: BinarisationRule) -> bool:
    return rule.name in (Binarisation.STATIC_SEED, Binarisation.THRESHOLD)


def _tensor(stored: Values) -> Tensor:
    """Return an array as a tensor that shares its memory: nothing writes to either."""
    with warnings.catch_warnings():
        # torch warns about read-only arrays, because it has no read-only tensors.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(stored)


def _fixed_pixels(rule: BinarisationRule, dataset: Dataset, split: Split) -> FixedPixels:
    if rule.name is Binarisation.THRESHOLD:
        return ThresholdPixels(rule.threshold, dataset.levels)
    return StaticPixels(split, seed=rule.seed, levels=dataset.levels, width=dataset.pixels)
