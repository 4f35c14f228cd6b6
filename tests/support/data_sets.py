"""Tiny data sets in each published format, and the entries that describe them: the real ones with smaller numbers."""

from dataclasses import replace
from functools import partial

import numpy as np

from dregcli.data.conventions import Convention, sizes
from dregcli.data.entries import Checksum, Digest, Downloadable
from dregcli.data.sets.binarized_mnist import BINARIZED_MNIST, amat_file
from dregcli.data.sets.caltech101 import CALTECH101_SILHOUETTES, published_split
from dregcli.data.sets.omniglot import OMNIGLOT, burda_split
from dregcli.data.sets.omniglot_lake import BACKGROUND, EVALUATION, OMNIGLOT_LAKE, SMALL, archive, small_split
from dregcli.data.sets.omniglot_lake import published_split as lake_split
from dregcli.names import Split
from tests.support.data_images import png_bytes, zip_bytes
from tests.support.data_mat import compressed, mat_bytes, matrix

MIRROR = ("http://mirror.invalid/",)
SIDE = 3
AMAT_SIZES = {Split.TRAIN: 6, Split.VALID: 3, Split.TEST: 2}


def random_bits(seed: int, *shape: int) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 2, shape)


def amat_splits() -> dict[Split, np.ndarray]:
    return {split: random_bits(n, count, 784) for n, (split, count) in enumerate(AMAT_SIZES.items())}


def amat_files() -> dict[str, bytes]:
    return {
        f"binarized_mnist_{split}.amat": "".join(" ".join(map(str, row)) + "\n" for row in rows).encode()
        for split, rows in amat_splits().items()
    }


def amat_entry(mirrors: tuple[str, ...] = MIRROR) -> Downloadable:
    files = amat_files()
    described = tuple(
        amat_file(
            split,
            count=count,
            columns=784,
            sha256=Checksum(Digest.SHA256, "").of(files[f"binarized_mnist_{split}.amat"]),
        )
        for split, count in AMAT_SIZES.items()
    )
    conventions = {"larochelle": Convention(sizes(*AMAT_SIZES.values()))}
    published = replace(BINARIZED_MNIST.published, files=described, conventions=conventions)
    return replace(BINARIZED_MNIST, mirrors=mirrors, published=published)


def chardata(train: np.ndarray, test: np.ndarray, **changes: bytes) -> bytes:
    """Images (N, SIDE, SIDE) as Burda's file has them: an image a column, itself column by column."""
    variables = {
        "data": compressed(matrix("data", train.transpose(0, 2, 1).reshape(len(train), -1).T)),
        "testdata": compressed(matrix("testdata", test.transpose(0, 2, 1).reshape(len(test), -1).T)),
        "target": matrix("target", random_bits(1, 50, len(train)), "uint8"),
    }
    return mat_bytes(*(variables | changes).values())


def omniglot_entry(content: bytes, *, train: int, test: int, valid: int) -> Downloadable:
    (file,) = OMNIGLOT.published.files
    checksum = Checksum(Digest.GIT_BLOB, Checksum(Digest.GIT_BLOB, "").of(content))
    published = replace(
        OMNIGLOT.published,
        files=(replace(file, checksums=(checksum,)),),
        split=partial(burda_split, side=SIDE, train=train, test=test, valid=valid),
        conventions=dict.fromkeys(("burda", "dreg"), Convention(sizes(train - valid, valid, test))),
    )
    return replace(OMNIGLOT, height=SIDE, width=SIDE, mirrors=MIRROR, published=published)


def silhouettes(splits: dict[str, np.ndarray]) -> bytes:
    """Images (N, SIDE, SIDE) as Marlin's file has them: an image a row, itself column by column."""
    return mat_bytes(
        *(
            compressed(matrix(key, images.transpose(0, 2, 1).reshape(len(images), -1), "uint8"))
            for key, images in splits.items()
        )
    )


def caltech_entry(counts: tuple[int, int, int]) -> Downloadable:
    published = replace(
        CALTECH101_SILHOUETTES.published,
        split=partial(published_split, side=SIDE),
        conventions={"dreg": Convention(sizes(*counts))},
    )
    return replace(CALTECH101_SILHOUETTES, height=SIDE, width=SIDE, mirrors=MIRROR, published=published)


def drawings(alphabets: dict[str, int], *, root: str, seed: int = 0, ink: np.ndarray | None = None) -> bytes:
    """An archive in Lake's layout: so many drawings of each alphabet, blots on white paper."""
    members: dict[str, bytes] = {f"{root}/": b""}
    random = np.random.RandomState(seed)
    for alphabet, count in alphabets.items():
        for n in range(count):
            paper = np.ones((105, 105), np.uint8)
            row, column = random.randint(0, 75, 2)
            paper[row : row + 30, column : column + 10 + 2 * n] = 0
            if ink is not None:
                paper = 1 - ink
            members[f"{root}/{alphabet}/character{n + 1:02}/0001_{n:02}.png"] = png_bytes(paper)
    return zip_bytes(members)


def lake_entry(files: dict[str, bytes]) -> Downloadable:
    """The published archives with checksums, the small ones without, of 8 and 5 drawings each."""

    def md5(name: str) -> str:
        return Checksum(Digest.MD5, "").of(files.get(name, b""))

    published = replace(
        OMNIGLOT_LAKE.published,
        files=(
            archive(BACKGROUND, count=8, md5=md5(BACKGROUND)),
            archive(EVALUATION, count=5, md5=md5(EVALUATION)),
        ),
        split=partial(lake_split, valid=2),
        conventions={"dreg": Convention(sizes(6, 2, 5))},
    )
    small = replace(
        OMNIGLOT_LAKE.others[0],
        files=(archive(SMALL[0], count=8), archive(SMALL[1], count=5)),
        split=partial(small_split, valid=2),
        conventions={"lake-small": Convention(sizes(6, 2, 3))},
    )
    return replace(OMNIGLOT_LAKE, mirrors=MIRROR, published=published, others=(small,))
