"""MNIST, and the split of every data set that is published in its format."""

from collections.abc import Mapping
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dregcli.data.entries import Downloadable, SourceFile
from dregcli.data.idx import parse_idx
from dregcli.errors import DataCorrupt
from dregcli.names import Split

TRAIN_IMAGES: Final = "train-images-idx3-ubyte"
TEST_IMAGES: Final = "t10k-images-idx3-ubyte"


def images_file(name: str, *, count: int, height: int, width: int, md5: str) -> SourceFile:
    """An IDX file of ``count`` images; some sites spell its name with a dot before ``idx3``."""
    return SourceFile(
        name=name,
        spellings=(name.replace("-idx3", ".idx3"),),
        size=16 + count * height * width,
        md5=md5,
        parse=partial(parse_idx, ndim=3),
    )


def hold_out(arrays: Mapping[str, NDArray[np.uint8]], *, valid: int) -> dict[Split, NDArray[np.uint8]]:
    """The "dreg" split: the last ``valid`` training images are the validation split.

    Args:
        arrays: the images by file name, each of shape (N, height, width).
        valid: how many to hold out.

    Returns:
        The splits, each of shape (N, height * width).

    Raises:
        DataCorrupt: there are not more than ``valid`` training images.
    """
    train, test = (arrays[name].reshape(len(arrays[name]), -1) for name in (TRAIN_IMAGES, TEST_IMAGES))
    if len(train) <= valid:
        raise DataCorrupt(
            what=f"{len(train)} training images leave nothing beside {valid} held out", where=TRAIN_IMAGES
        )
    return {Split.TRAIN: train[:-valid], Split.VALID: train[-valid:], Split.TEST: test}


MNIST: Final = Downloadable(
    name="mnist",
    height=28,
    width=28,
    levels=255,
    # torchvision's mirrors, in its order. Plain http is no risk: the content is held against the checksums.
    mirrors=("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
    files=(
        images_file(TRAIN_IMAGES, count=60_000, height=28, width=28, md5="6bbc9ace898e44ae57da46a324031adb"),
        images_file(TEST_IMAGES, count=10_000, height=28, width=28, md5="2646ac647ad5339dbf082846283269ea"),
    ),
    split=partial(hold_out, valid=10_000),
)
