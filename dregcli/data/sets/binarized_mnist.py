"""Larochelle's MNIST with fixed binary pixels; published results on "static" or "fixed" binarised MNIST use it."""

from functools import partial
from typing import Final

from dregcli.data.conventions import Convention, Splits, sizes
from dregcli.data.entries import Checksum, Contents, Digest, Downloadable, FileSet, SourceFile
from dregcli.data.formats.amat import parse_binary_amat
from dregcli.names import DataKind, Split

_PIXELS: Final = 28 * 28


def amat_file(split: Split, *, count: int, columns: int, sha256: str) -> SourceFile:
    """Return the text file of a split, with one digit and one separator for each pixel."""
    return SourceFile(
        name=f"binarized_mnist_{split}.amat",
        limit=count * columns * 2,
        checksums=(Checksum(Digest.SHA256, sha256),),
        diagnose=True,
        parse=partial(parse_binary_amat, columns=columns),
    )


def by_file(contents: Contents) -> Splits:
    """Return the splits, one from each file."""
    return {split: contents[f"binarized_mnist_{split}.amat"] for split in Split}


BINARIZED_MNIST: Final = Downloadable(
    name="binarized-mnist",
    cites=("lecun1998mnist", "salakhutdinov2008quantitative", "larochelle2011nade"),
    kind=DataKind.BINARY,
    height=28,
    width=28,
    levels=1,
    mirrors=(
        "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/",
        "https://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/",
    ),
    published=FileSet(
        files=(
            amat_file(
                Split.TRAIN,
                count=50_000,
                columns=_PIXELS,
                sha256="ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d",
            ),
            amat_file(
                Split.VALID,
                count=10_000,
                columns=_PIXELS,
                sha256="1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2",
            ),
            amat_file(
                Split.TEST,
                count=10_000,
                columns=_PIXELS,
                sha256="e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c",
            ),
        ),
        split=by_file,
        conventions={"larochelle": Convention(sizes(50_000, 10_000, 10_000))},
        converted="published in its three splits",
    ),
)
