"""Burda's Omniglot: the 28x28 images of "Importance Weighted Autoencoders", from one .mat file."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dregcli.data.conventions import Convention, Splits, sizes
from dregcli.data.entries import Checksum, Contents, Digest, Downloadable, FileSet, SourceFile
from dregcli.data.formats.mat import parse_mat
from dregcli.data.scan import Values
from dregcli.errors import DataCorrupt
from dregcli.names import DataKind, Split

CHARDATA: Final = "chardata.mat"
_SIDE: Final = 28
_TRAIN: Final = 24_345
_TEST: Final = 8_070
_VALID: Final = 1_345
_SEED: Final = 123
_LEVELS: Final = 255


def rows_first(columns: NDArray[Any], *, height: int, width: int) -> NDArray[Any]:
    """Return images that MATLAB stores column by column, row by row.

    The reference has ``data.reshape((-1, h, w)).reshape((-1, h * w), order="F")``. In Fortran order the first index
    changes fastest, so example n stays example n, and its pixels come column by column: the transposed image.

    Args:
        columns: images, (N, width * height), each stored column by column.
        height: rows of an image.
        width: columns of an image.

    Returns:
        (N, height * width).
    """
    return columns.reshape(-1, width, height).transpose(0, 2, 1).reshape(-1, height * width)


def stored(intensities: NDArray[np.float32]) -> Values:
    """Return intensities as bytes where all are multiples of 1/255, otherwise as 32-bit floats.

    Raises:
        DataCorrupt: an intensity is not within 0 to 1.
    """
    lowest, highest = float(intensities.min()), float(intensities.max())
    if not 0.0 <= lowest <= highest <= 1.0:
        raise DataCorrupt(
            what=f"the intensities are from {lowest:g} to {highest:g}, not within 0 to 1", where=CHARDATA
        )
    levels = np.rint(intensities * np.float32(_LEVELS))
    if np.abs(intensities - levels / np.float32(_LEVELS)).max() <= 1e-6:
        return levels.astype(np.uint8)
    return intensities


def burda_split(contents: Contents, *, side: int, train: int, test: int, valid: int) -> Splits:
    """Return Burda's split: the training images in a fixed random order; the last of them are the validation split.

    Args:
        contents: content of ``CHARDATA``: ``data`` (pixels, train) and ``testdata`` (pixels, test).
        side: rows and columns of an image.
        train: required number of training images.
        test: required number of test images.
        valid: number of images to hold out.

    Raises:
        DataCorrupt: an array has another shape, or holds other values than intensities.
    """
    arrays: Mapping[str, NDArray[Any]] = contents[CHARDATA]
    both: list[NDArray[np.float32]] = []
    for key, count in (("data", train), ("testdata", test)):
        shape = (side * side, count)
        if arrays[key].shape != shape:
            raise DataCorrupt(what=f"the variable '{key}' has shape {arrays[key].shape}, not {shape}", where=CHARDATA)
        both.append(rows_first(arrays[key].T.astype(np.float32), height=side, width=side))
    # Converted together, so that all splits have one type.
    values = stored(np.concatenate(both))
    shuffled = values[:train][np.random.RandomState(_SEED).permutation(train)]
    return {Split.TRAIN: shuffled[:-valid], Split.VALID: shuffled[-valid:], Split.TEST: values[train:]}


BURDA: Final = Convention(sizes(_TRAIN - _VALID, _VALID, _TEST))

OMNIGLOT: Final = Downloadable(
    name="omniglot",
    cites=("lake2015omniglot", "burda2016iwae"),
    kind=DataKind.INTENSITY,
    height=_SIDE,
    width=_SIDE,
    levels=_LEVELS,
    mirrors=(
        "https://github.com/yburda/iwae/raw/master/datasets/OMNIGLOT/",
        # The address that the first one redirects to.
        "https://raw.githubusercontent.com/yburda/iwae/master/datasets/OMNIGLOT/",
    ),
    published=FileSet(
        files=(
            SourceFile(
                name=CHARDATA,
                # GitHub accepts no larger file.
                limit=100 << 20,
                checksums=(Checksum(Digest.GIT_BLOB, "016a3536ffe5e1d38e42563a18d7a78bfaf643ec"),),
                parse=partial(parse_mat, names=("data", "testdata"), limit=1 << 29),
            ),
        ),
        split=partial(burda_split, side=_SIDE, train=_TRAIN, test=_TEST, valid=_VALID),
        # One split under two names: dreg's own split would be the reference's.
        conventions={"burda": BURDA, "dreg": BURDA},
        converted="images read in Fortran order; training images in the order of RandomState(123); the last 1,345 "
        "are the validation split",
    ),
)
