"""Examples that are in more than one split: what is tested on was trained on."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dregcli.names import Split


def leaks(fingerprints: Mapping[Split, NDArray[np.uint64]]) -> list[str]:
    """Warnings about examples that are in two splits.

    Args:
        fingerprints: of each example of each split, (N,); equal examples have equal ones.

    Returns:
        A sentence for each pair of splits that shares examples.
    """
    warnings: list[str] = []
    for of, other in ((Split.VALID, Split.TRAIN), (Split.TEST, Split.TRAIN), (Split.TEST, Split.VALID)):
        shared = int(np.isin(fingerprints[of], fingerprints[other]).sum())
        if shared:
            total = len(fingerprints[of])
            warnings.append(
                f"{shared:,} of {total:,} {of} examples are in {other} too, value for value: the {of} bound flatters"
            )
    return warnings
