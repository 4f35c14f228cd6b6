"""The embedded data set: 1,797 real 8x8 images of handwritten digits that scikit-learn contains."""

import importlib.util
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from dregcli.data.dataset import SPLIT_CONVENTION, Dataset
from dregcli.data.entries import Embedded
from dregcli.names import DataKind, Split

_VALID = 250
_TEST = 250
_PERMUTATION_SEED = 1797


def load_digits() -> Dataset:
    """Split the images 1,297 / 250 / 250 by one fixed permutation, never by a run's seed.

    The source has the order of its collection (0 to 9 again and again, writer after writer), so a split without a
    permutation would test on other writers than it trained on.

    Returns:
        The data set: 8x8, values 0 to 16.
    """
    values = _values()
    # RandomState and not Generator: NumPy promises that its stream never changes (NEP 19).
    order = np.random.RandomState(_PERMUTATION_SEED).permutation(len(values))
    pixels = values[order].astype(np.uint8)
    train = len(pixels) - _VALID - _TEST
    return Dataset.build(
        name="digits",
        height=8,
        width=8,
        levels=16,
        splits={
            Split.TRAIN: pixels[:train],
            Split.VALID: pixels[train : train + _VALID],
            Split.TEST: pixels[train + _VALID :],
        },
        split_convention=SPLIT_CONVENTION,
        source="scikit-learn, sklearn.datasets.load_digits",
        provenance={"converted": "in the order of RandomState(1797)"},
    )


def _values() -> NDArray[np.float64]:
    """Return the images, shape (1797, 64), 0 to 16."""
    found = importlib.util.find_spec("sklearn")
    for folder in (found.submodule_search_locations or ()) if found else ():
        # This is the file that load_digits reads; importing scikit-learn itself takes most of a second.
        if (path := Path(folder) / "datasets" / "data" / "digits.csv.gz").is_file():
            return np.loadtxt(path, delimiter=",")[:, :-1]
    from sklearn import datasets

    return cast("Any", datasets.load_digits()).data


DIGITS: Final = Embedded(
    name="digits",
    cites=("alpaydin1998digits", "pedregosa2011sklearn"),
    kind=DataKind.INTENSITY,
    height=8,
    width=8,
    convention=SPLIT_CONVENTION,
    load=load_digits,
    checksum="4ab55d37ecc83f9707bd406367c5e560921af301adab712e5e4bdcf56b0b8ca6",
)
