"""A data set in memory: its splits as bytes, and what identifies them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from dregcli.errors import DataCorrupt
from dregcli.names import Split

SPLIT_CONVENTION: Final = "dreg"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images as bytes, in splits. Made by ``Dataset.build``, which checks them.

    Attributes:
        name: as in the catalogue.
        height: rows of an image.
        width: columns of an image.
        levels: the intensity of a pixel is its value divided by this.
        splits: one read-only array of shape (N, height * width) for every ``Split``, images row by row.
        split_convention: which of a data set's published splits this is.
        source: where the content came from.
        checksum: SHA-256 over the levels, the shapes and the pixels of all splits. The name and the source are
            left out: the same pixels have the same checksum wherever they came from.
    """

    name: str
    height: int
    width: int
    levels: int
    splits: Mapping[Split, NDArray[np.uint8]] = field(repr=False)
    split_convention: str
    source: str
    checksum: str

    @classmethod
    def build(
        cls,
        *,
        name: str,
        height: int,
        width: int,
        levels: int,
        splits: Mapping[Split, NDArray[np.uint8]],
        split_convention: str,
        source: str,
    ) -> Self:
        """Check the arrays, make them read-only and compute the checksum.

        Args:
            name: as in the catalogue.
            height: rows of an image.
            width: columns of an image.
            levels: the value of a pixel of full intensity, 1 to 255.
            splits: arrays of shape (N, height * width), one for every ``Split``, N at least 1.
            split_convention: which of a data set's published splits this is.
            source: where the content came from.

        Returns:
            The data set.

        Raises:
            DataCorrupt: a split is missing, empty or of another shape or type, or a pixel exceeds ``levels``.
        """
        if height < 1 or width < 1:
            raise DataCorrupt(what=f"images cannot be {height} x {width}", where=name)
        if not 1 <= levels <= 255:
            raise DataCorrupt(what=f"the intensity levels must be 1 to 255, not {levels}", where=name)
        frozen = {split: _checked(name, split, splits, height * width, levels) for split in Split}
        return cls(
            name=name,
            height=height,
            width=width,
            levels=levels,
            splits=MappingProxyType(frozen),
            split_convention=split_convention,
            source=source,
            checksum=_checksum(levels, height, width, frozen),
        )

    @property
    def pixels(self) -> int:
        """Pixels of an image."""
        return self.height * self.width

    def mean_intensity(self) -> NDArray[np.float32]:
        """The mean image of the training split, in [0, 1], of shape (pixels,)."""
        train = self.splits[Split.TRAIN]
        # An integer sum is exact, so the result depends on no order of summation; one rounding follows.
        total = train.sum(axis=0, dtype=np.uint64).astype(np.float64)
        return (total / (len(train) * self.levels)).astype(np.float32)


def _checked(
    name: str, split: Split, splits: Mapping[Split, NDArray[np.uint8]], pixels: int, levels: int
) -> NDArray[np.uint8]:
    """A read-only, contiguous array of the split, or DataCorrupt."""
    array = splits.get(split)
    if array is None:
        raise DataCorrupt(what=f"the {split} split is missing", where=name)
    if array.dtype != np.uint8 or array.ndim != 2 or array.shape[1] != pixels or len(array) == 0:
        raise DataCorrupt(
            what=f"the {split} split is {array.dtype} of shape {array.shape}, not uint8 of shape (N, {pixels})",
            where=name,
        )
    largest = int(array.max())
    if largest > levels:
        raise DataCorrupt(what=f"the {split} split has a pixel of {largest}, above its {levels} levels", where=name)
    view = np.ascontiguousarray(array).view()
    view.setflags(write=False)
    return view


def _checksum(levels: int, height: int, width: int, splits: Mapping[Split, NDArray[np.uint8]]) -> str:
    """SHA-256 over what the pixels are; ``Split`` gives the order. Changing this breaks every stored run."""
    digest = hashlib.sha256(f"dreg pixels 1: levels {levels}, {height} x {width}".encode())
    for split in Split:
        digest.update(f"\n{split} {len(splits[split])}\n".encode())
        digest.update(splits[split].data)
    return digest.hexdigest()
