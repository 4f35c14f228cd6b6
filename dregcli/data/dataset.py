"""A data set: its splits, what its values are, and what identifies them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from dregcli.data.scan import Moments, Scanned, Scanner, StoredRows, Values, chunks
from dregcli.errors import DataCorrupt
from dregcli.names import DataKind, Split

SPLIT_CONVENTION: Final = "dreg"

LEAST_SPREAD: Final = 0.02
"""The least scale of an intensity, about 5 of 255 grey levels. A pixel that is lit in one of 50,000 images has a
standard deviation of a hundredth of a level: in such a unit the next image that lights it is thousands away."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A data set that has not been looked at yet.

    Attributes:
        name: as the user types it.
        kind: what the values are.
        height: rows of an image.
        width: columns of an image.
        levels: the intensity of a pixel is its value divided by this; 1 for binary and real values and for floats.
        channels: values of a pixel: 1, or 3 of colours, or 4 with alpha.
        splits: rows of shape (N, channels * height * width) for every ``Split``, N at least 1; an image is stored
            channel after channel, each row by row.
        split_convention: which of a data set's published splits this is, or how it was made.
        source: where the content came from, for people.
        provenance: the same and how it was converted, plain JSON values.
    """

    name: str
    kind: DataKind
    height: int
    width: int
    levels: int
    channels: int = 1
    splits: Mapping[Split, StoredRows] = field(repr=False)
    split_convention: str
    source: str
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def scanner(self, moments: Moments | None = None) -> Scanner:
        """What checks and digests its values.

        Args:
            moments: those of the training split, where they are known already.

        Raises:
            DataCorrupt: a split is missing, or shape, kind and levels cannot stand together.
        """
        for split in Split:
            if split not in self.splits:
                raise DataCorrupt(what=f"the {split} split is missing", where=self.name)
        return Scanner(
            self.name,
            self.kind,
            height=self.height,
            width=self.width,
            levels=self.levels,
            channels=self.channels,
            moments=moments,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
    """Images in splits. Made by ``Dataset.build``, which checks them, or from a cache file.

    Attributes:
        name: as the user types it.
        kind: what the values are.
        height: rows of an image.
        width: columns of an image.
        levels: the intensity of a pixel is its value divided by this.
        channels: values of a pixel: 1, or 3 of colours, or 4 with alpha.
        splits: one array of shape (N, channels * height * width) for every ``Split``, images channel after channel,
            each row by row; uint8 levels, or float32. Read-only: in memory, or a map of the cache file.
        split_convention: which of a data set's published splits this is.
        source: where the content came from.
        provenance: the same and how it was converted, plain JSON values.
        scanned: checksums and moments.
    """

    name: str
    kind: DataKind
    height: int
    width: int
    levels: int
    channels: int = 1
    splits: Mapping[Split, Values] = field(repr=False)
    split_convention: str
    source: str
    provenance: Mapping[str, Any]
    scanned: Scanned = field(repr=False)

    @classmethod
    def build(
        cls,
        *,
        name: str,
        height: int,
        width: int,
        levels: int,
        splits: Mapping[Split, Values],
        split_convention: str,
        source: str,
        kind: DataKind | None = None,
        channels: int = 1,
        provenance: Mapping[str, Any] | None = None,
    ) -> Self:
        """Check arrays, make them read-only and compute checksums and moments.

        Args:
            name: as the user types it.
            height: rows of an image.
            width: columns of an image.
            levels: the value of a pixel of full intensity, 1 to 255; 1 for binary and real values and for floats.
            splits: arrays of shape (N, channels * height * width), one for every ``Split``, N at least 1.
            split_convention: which of a data set's published splits this is.
            source: where the content came from.
            kind: what the values are; where not given, bytes of 1 level are binary and others intensities.
            channels: values of a pixel.
            provenance: how it was converted, plain JSON values.

        Returns:
            The data set.

        Raises:
            DataCorrupt: a split is missing, empty or of another shape or type, or a value is none that such a data
                set has.
        """
        draft = Draft(
            name=name,
            kind=kind or byte_kind(levels),
            height=height,
            width=width,
            levels=levels,
            channels=channels,
            splits=splits,
            split_convention=split_convention,
            source=source,
            provenance=provenance or {},
        )
        scanner = draft.scanner()
        frozen: dict[Split, Values] = {}
        for split in Split:
            scanner.begin(split, splits[split])
            for chunk in chunks(splits[split]):
                scanner.add(chunk)
            view = np.ascontiguousarray(splits[split]).view()
            view.setflags(write=False)
            frozen[split] = view
        return cls.of(draft, frozen, scanner.result())

    @classmethod
    def of(cls, draft: Draft, splits: Mapping[Split, Values], scanned: Scanned) -> Self:
        """The data set of a draft whose values have been looked at."""
        return cls(
            name=draft.name,
            kind=draft.kind,
            height=draft.height,
            width=draft.width,
            levels=draft.levels,
            channels=draft.channels,
            splits=MappingProxyType(dict(splits)),
            split_convention=draft.split_convention,
            source=draft.source,
            provenance=MappingProxyType(dict(draft.provenance)),
            scanned=scanned,
        )

    def as_draft(self) -> Draft:
        """The same without what was found in its values."""
        return Draft(**{name: getattr(self, name) for name in Draft.__dataclass_fields__})

    @property
    def pixels(self) -> int:
        """Values of an image."""
        return self.channels * self.height * self.width

    @property
    def image(self) -> tuple[int, ...]:
        """The shape of an image: height and width, and before them the channels where there are several."""
        return image_shape(self.height, self.width, self.channels)

    @property
    def checksum(self) -> str:
        """SHA-256 over the levels, the shapes and the values of all splits, in order.

        The name and the source are left out: the same values in the same splits have the same checksum wherever
        they came from.
        """
        return self.scanned.checksum

    @property
    def split_hashes(self) -> Mapping[Split, str]:
        """SHA-256 of each split alone: two conventions that share a test split share its hash."""
        return self.scanned.split_hashes

    @property
    def is_mapped(self) -> bool:
        """Whether the values are read from the cache file as they are needed."""
        return isinstance(self.splits[Split.TRAIN], np.memmap)

    def mean_intensity(self) -> NDArray[np.float32]:
        """The mean image of the training split, (pixels,), as it is stored: in [0, 1], or in the data's unit."""
        return self.scanned.moments.mean.astype(np.float32)

    def spread(self) -> NDArray[np.float32]:
        """The scale of each pixel, (pixels,): its standard deviation in the training split.

        Of intensities at least ``LEAST_SPREAD``; of real values, whose unit nobody knows, 1 where they never vary.
        """
        deviation = self.scanned.moments.deviation.astype(np.float32)
        if self.kind.is_bounded:
            return np.maximum(deviation, np.float32(LEAST_SPREAD))
        return np.where(deviation > 0.0, deviation, np.float32(1.0))


def image_shape(height: int, width: int, channels: int) -> tuple[int, ...]:
    """Height and width of an image, and before them its channels where there are several."""
    return (height, width) if channels == 1 else (channels, height, width)


def byte_kind(levels: int) -> DataKind:
    """What bytes with so many levels are."""
    return DataKind.BINARY if levels == 1 else DataKind.INTENSITY
