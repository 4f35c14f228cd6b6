"""Lake's Omniglot: 105x105 drawings of characters, resized to 28x28. Not interchangeable with Burda's Omniglot.

The published archives are the background set for training, and the evaluation set with other alphabets. Lake also
publishes two small background sets of five alphabets each, for studies with little data. Greek and Latin are in both
small sets, so training on one and testing on the whole other one would test on training data.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dregcli.data.conventions import Convention, Splits, sizes
from dregcli.data.entries import Checksum, Contents, Digest, Downloadable, FileSet, SourceFile
from dregcli.data.formats.archives import ZipLimits, zip_members
from dregcli.data.formats.images import decode_image, grey_levels, resized
from dregcli.errors import DataCorrupt
from dregcli.names import DataKind, Split

BACKGROUND: Final = "images_background.zip"
EVALUATION: Final = "images_evaluation.zip"
SMALL: Final = ("images_background_small1.zip", "images_background_small2.zip")

_DRAWN: Final = 105
_SIDE: Final = 28
_SEED: Final = 123
_DRAWING: Final = re.compile(r"[^/]+/([^/]+)/character\d+/[^/]+\.png")
_RESIZED: Final = (
    "ink is 1 - pixel, resized from 105x105 to 28x28 by Pillow (bilinear filter, antialiased) and rounded to "
    "256 levels"
)


@dataclass(frozen=True)
class Drawings:
    """The drawings of an archive, in the order of their paths.

    Attributes:
        alphabets: alphabet of each drawing, (N,).
        images: ink of each drawing, (N, 28 * 28).
    """

    alphabets: NDArray[np.str_]
    images: NDArray[np.uint8]


def parse_drawings(content: bytes, *, count: int, where: str) -> Drawings:
    """Read an archive of drawings.

    Args:
        content: the zip archive.
        count: required number of drawings.
        where: its name, for messages.

    Raises:
        DataCorrupt: the archive is damaged or hostile, has another number of drawings, or one is not 105x105 grey.
    """
    # Imported here, because no other data set needs it.
    from PIL import Image

    limits = ZipLimits(count=count, member_bytes=1 << 16, total_bytes=count << 11)
    alphabets: list[str] = []
    images: list[NDArray[np.uint8]] = []
    members = zip_members(content, where=where, limits=limits, wanted=lambda path: bool(_DRAWING.fullmatch(path)))
    for path, drawing in members:
        place = f"{where}, {path}"
        image = decode_image(drawing, where=place, max_pixels=_DRAWN * _DRAWN)
        if image.size != (_DRAWN, _DRAWN):
            said = f"{image.size[0]} x {image.size[1]}"
            raise DataCorrupt(what=f"the drawing is {said}, not {_DRAWN} x {_DRAWN}", where=place)
        ink = Image.fromarray(255 - grey_levels(image, where=place))
        images.append(np.asarray(resized(ink, _SIDE, _SIDE), dtype=np.uint8).reshape(-1))
        found = _DRAWING.fullmatch(path)
        alphabets.append(found.group(1) if found else "")
    if len(images) != count:
        raise DataCorrupt(what=f"the archive holds {len(images):,} drawings, not {count:,}", where=where)
    return Drawings(np.array(alphabets), np.stack(images))


def shuffled(drawings: Drawings, valid: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return training and validation images: in a fixed random order, the last ones are for validation."""
    order = np.random.RandomState(_SEED).permutation(len(drawings.images))
    images = drawings.images[order]
    return images[:-valid], images[-valid:]


def published_split(contents: Contents, *, valid: int) -> Splits:
    """Split into the background set for training and the evaluation set, with other alphabets, for testing.

    Raises:
        DataCorrupt: the two sets share an alphabet.
    """
    drawings: Mapping[str, Drawings] = contents
    background, evaluation = drawings[BACKGROUND], drawings[EVALUATION]
    shared = np.intersect1d(background.alphabets, evaluation.alphabets)
    if len(shared):
        raise DataCorrupt(what=f"both archives have the alphabet {shared[0]}", where=EVALUATION)
    train, held_out = shuffled(background, valid)
    return {Split.TRAIN: train, Split.VALID: held_out, Split.TEST: evaluation.images}


def small_split(contents: Contents, *, valid: int) -> Splits:
    """Split into the first small set for training, and the alphabets that only the second one has for testing.

    Raises:
        DataCorrupt: no test images are left, or an image occurs in two splits.
    """
    drawings: Mapping[str, Drawings] = contents
    first, second = (drawings[name] for name in SMALL)
    test = second.images[~np.isin(second.alphabets, first.alphabets)]
    if not len(test):
        raise DataCorrupt(what="the archive has no alphabet that the other archive lacks", where=SMALL[1])
    train, held_out = shuffled(first, valid)
    splits = {Split.TRAIN: train, Split.VALID: held_out, Split.TEST: test}
    seen: dict[bytes, Split] = {}
    for split, images in splits.items():
        for image in images:
            other = seen.setdefault(image.tobytes(), split)
            if other is not split:
                raise DataCorrupt(what=f"an image occurs in the {other} split and in the {split} split")
    return splits


def archive(name: str, *, count: int, md5: str | None = None) -> SourceFile:
    """Return a zip archive of ``count`` drawings."""
    return SourceFile(
        name=name,
        limit=64 << 20,
        checksums=(Checksum(Digest.MD5, md5),) if md5 else (),
        parse=partial(parse_drawings, count=count),
    )


OMNIGLOT_LAKE: Final = Downloadable(
    name="omniglot-lake",
    cites=("lake2015omniglot",),
    kind=DataKind.INTENSITY,
    height=_SIDE,
    width=_SIDE,
    levels=255,
    mirrors=("https://raw.githubusercontent.com/brendenlake/omniglot/master/python/",),
    published=FileSet(
        files=(
            archive(BACKGROUND, count=19_280, md5="68d2efa1b9178cc56df9314c21c6e718"),
            archive(EVALUATION, count=13_180, md5="6b91aef0f799c5bb55b94e3f2daec811"),
        ),
        split=partial(published_split, valid=1_280),
        conventions={"dreg": Convention(sizes(18_000, 1_280, 13_180))},
        altered=_RESIZED,
        converted="background images in the order of RandomState(123); the last 1,280 are the validation split",
        notes=("resized from 105x105; not interchangeable with Burda's omniglot",),
    ),
    others=(
        FileSet(
            files=(archive(SMALL[0], count=2_720), archive(SMALL[1], count=3_120)),
            split=partial(small_split, valid=220),
            conventions={"lake-small": Convention(sizes(2_500, 220, 2_120))},
            altered=_RESIZED,
            converted="the images of small1 in the order of RandomState(123); the last 220 are "
            "the validation split; the test split is the alphabets of small2 that small1 lacks",
            notes=(
                "resized from 105x105; not interchangeable with Burda's omniglot",
                "only Lake's two small archives: trained on small1, tested on the alphabets of small2 that small1 "
                "lacks (Greek and Latin are in both)",
            ),
        ),
    ),
)
