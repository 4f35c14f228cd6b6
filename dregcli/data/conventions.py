"""Split conventions: the ways in which the field cuts one data set into training, validation and test examples."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from dregcli.data.scan import Values
from dregcli.names import Split

Splits = Mapping[Split, Values]


def as_stored(splits: Splits) -> Splits:
    """The splits as they lie in the cache."""
    return splits


def last_as_valid(valid: int) -> Callable[[Splits], Splits]:
    """The last ``valid`` examples of the published training set, which is training and validation in order."""

    def cut(splits: Splits) -> Splits:
        whole = np.concatenate([splits[Split.TRAIN], splits[Split.VALID]])
        return {Split.TRAIN: whole[:-valid], Split.VALID: whole[-valid:], Split.TEST: splits[Split.TEST]}

    return cut


@dataclass(frozen=True)
class Convention:
    """One way to cut a data set.

    Attributes:
        sizes: examples of each split, which must come out.
        cut: from the splits in the cache to those of the convention.
    """

    sizes: Mapping[Split, int]
    cut: Callable[[Splits], Splits] = as_stored


def sizes(train: int, valid: int, test: int) -> dict[Split, int]:
    """Sizes by split."""
    return {Split.TRAIN: train, Split.VALID: valid, Split.TEST: test}
