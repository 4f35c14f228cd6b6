"""Caltech 101 Silhouettes: outlines of objects, 28x28 black and white, in the publisher's own splits."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dregcli.data.conventions import Convention, Splits, sizes
from dregcli.data.entries import Contents, Downloadable, FileSet, SourceFile
from dregcli.data.formats.mat import parse_mat
from dregcli.data.sets.omniglot import rows_first
from dregcli.errors import DataCorrupt
from dregcli.names import DataKind, Split

SILHOUETTES: Final = "caltech101_silhouettes_28_split1.mat"
KEYS: Final = {Split.TRAIN: "train_data", Split.VALID: "val_data", Split.TEST: "test_data"}
_SIDE: Final = 28


def published_split(contents: Contents, *, side: int) -> Splits:
    """Return the publisher's splits; the object is 1 and its background 0.

    Args:
        contents: content of ``SILHOUETTES``: for each split (N, pixels) of 0 (object) and 1, column by column.
        side: rows and columns of an image.

    Raises:
        DataCorrupt: an array has another shape, or holds other values.
    """
    arrays: Mapping[str, NDArray[Any]] = contents[SILHOUETTES]
    splits: dict[Split, NDArray[np.uint8]] = {}
    for split, key in KEYS.items():
        array = arrays[key]
        if array.ndim != 2 or array.shape[1] != side * side:
            raise DataCorrupt(
                what=f"the variable '{key}' has shape {array.shape}, not (N, {side * side})", where=SILHOUETTES
            )
        if not np.isin(array, (0, 1)).all():
            raise DataCorrupt(what=f"the variable '{key}' holds other values than 0 and 1", where=SILHOUETTES)
        splits[split] = 1 - rows_first(array, height=side, width=side).astype(np.uint8)
    return splits


CALTECH101_SILHOUETTES: Final = Downloadable(
    name="caltech101-silhouettes",
    cites=("marlin2010silhouettes",),
    kind=DataKind.BINARY,
    height=_SIDE,
    width=_SIDE,
    levels=1,
    # Not by plain http: without a checksum, only https protects the content.
    mirrors=("https://people.cs.umass.edu/~marlin/data/",),
    published=FileSet(
        files=(
            SourceFile(
                name=SILHOUETTES,
                limit=64 << 20,
                parse=partial(parse_mat, names=tuple(KEYS.values()), limit=256 << 20),
            ),
        ),
        split=partial(published_split, side=_SIDE),
        conventions={"dreg": Convention(sizes(4_100, 2_264, 2_307))},
        converted="published in its three splits; images read in Fortran order, stored as 1 - x",
    ),
)
