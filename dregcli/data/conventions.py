"""Split conventions: the usual ways to split one data set into training, validation and test examples."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from dregcli.data.scan import Values
from dregcli.names import Split

Splits = Mapping[Split, Values]


def as_stored(splits: Splits) -> Splits:
    """Return the splits unchanged, as they are in the cache."""
    return splits


def last_as_valid(valid: int) -> Callable[[Splits], Splits]:
    """Return a rule that takes the last ``valid`` examples of the published training set for validation.

    The published training set is the cached training split followed by the cached validation split.
    """

    def cut(splits: Splits) -> Splits:
        whole = np.concatenate([splits[Split.TRAIN], splits[Split.VALID]])
        return {Split.TRAIN: whole[:-valid], Split.VALID: whole[-valid:], Split.TEST: splits[Split.TEST]}

    return cut


@dataclass(frozen=True)
class Convention:
    """One way to split a data set.

    Attributes:
        sizes: number of examples that each split must have.
        cut: turns the splits in the cache into the splits of the convention.
    """

    sizes: Mapping[Split, int]
    cut: Callable[[Splits], Splits] = as_stored


def sizes(train: int, valid: int, test: int) -> dict[Split, int]:
    """Return the sizes by split."""
    return {Split.TRAIN: train, Split.VALID: valid, Split.TEST: test}
