"""MNIST, and the code shared by all data sets that are published in its format."""

from collections.abc import Mapping
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dregcli.data.conventions import Convention, last_as_valid, sizes
from dregcli.data.entries import Checksum, Contents, Digest, Downloadable, FileSet, SourceFile
from dregcli.data.formats.idx import parse_idx
from dregcli.errors import DataCorrupt
from dregcli.names import DataKind, Split

TRAIN_IMAGES: Final = "train-images-idx3-ubyte"
TEST_IMAGES: Final = "t10k-images-idx3-ubyte"


def images_file(
    name: str, *, count: int, height: int, width: int, md5: str, packed_md5: str | None = None
) -> SourceFile:
    """Return an IDX file of ``count`` images; some sites spell its name with a dot before ``idx3``.

    Args:
        name: its usual name.
        count: number of images.
        height: rows of an image.
        width: columns of an image.
        md5: MD5 of the unpacked content.
        packed_md5: MD5 of the published .gz file.
    """
    packed = (Checksum(Digest.MD5, packed_md5, packed=True),) if packed_md5 else ()
    return SourceFile(
        name=name,
        spellings=(name.replace("-idx3", ".idx3"),),
        limit=16 + count * height * width,
        checksums=(Checksum(Digest.MD5, md5), *packed),
        gzipped=True,
        diagnose=True,
        parse=partial(parse_idx, ndim=3),
    )


def hold_out(contents: Contents, *, valid: int) -> dict[Split, NDArray[np.uint8]]:
    """Return the "dreg" split: the last ``valid`` training images are the validation split.

    Args:
        contents: the images by file name, each of shape (N, height, width).
        valid: number of images to hold out.

    Returns:
        The splits, each of shape (N, height * width).

    Raises:
        DataCorrupt: there are not more than ``valid`` training images.
    """
    images: Mapping[str, NDArray[np.uint8]] = contents
    train, test = (images[name].reshape(len(images[name]), -1) for name in (TRAIN_IMAGES, TEST_IMAGES))
    if len(train) <= valid:
        raise DataCorrupt(
            what=f"{len(train)} training images are too few to hold out {valid} of them", where=TRAIN_IMAGES
        )
    return {Split.TRAIN: train[:-valid], Split.VALID: train[-valid:], Split.TEST: test}


DREG: Final = Convention(sizes(50_000, 10_000, 10_000))
BURDA: Final = Convention(sizes(59_600, 400, 10_000), last_as_valid(400))
"""The split of github.com/yburda/iwae: the last 400 training images, not shuffled, are the validation split."""

HELD_OUT: Final = "the last 10,000 training images are the validation split"

MNIST: Final = Downloadable(
    name="mnist",
    cites=("lecun1998mnist",),
    kind=DataKind.INTENSITY,
    height=28,
    width=28,
    levels=255,
    # torchvision's mirrors, in its order. Plain http is not a risk: the content is compared with the checksums.
    mirrors=("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
    published=FileSet(
        files=(
            images_file(
                TRAIN_IMAGES,
                count=60_000,
                height=28,
                width=28,
                md5="6bbc9ace898e44ae57da46a324031adb",
                packed_md5="f68b3c2dcbeaaa9fbdd348bbdeb94873",
            ),
            images_file(
                TEST_IMAGES,
                count=10_000,
                height=28,
                width=28,
                md5="2646ac647ad5339dbf082846283269ea",
                packed_md5="9fb629c4189551a2d022fa330f9573f3",
            ),
        ),
        split=partial(hold_out, valid=10_000),
        # Larochelle's binarised MNIST has the same split: the first 50,000 and the last 10,000.
        conventions={"dreg": DREG, "burda": BURDA, "larochelle": DREG},
        converted=HELD_OUT,
    ),
)
