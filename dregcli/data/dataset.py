"""A data set: its splits, the kind of its values, and the checksums that identify them."""

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
"""The smallest scale of an intensity, about 5 of 255 grey levels. A pixel that is lit in one of 50,000 images has a
standard deviation of a hundredth of a level: in that unit, the next image that lights the pixel is thousands away."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A data set whose values have not been checked yet.

    Attributes:
        name: name of the data set, as the user types it.
        kind: kind of the values.
        height: rows of an image.
        width: columns of an image.
        levels: the value that means intensity 1: intensity = value / levels; 1 for binary and real values and floats.
        channels: values of a pixel: 1 for grey, 3 for colours, 4 for colours with alpha.
        splits: rows of shape (N, channels * height * width) for every ``Split``, N at least 1; an image is stored
            channel after channel, each row by row.
        split_convention: the name of the split: one of the published conventions, or how the split was made.
        source: origin of the content, as text for people.
        provenance: origin and conversion of the content, as plain JSON values.
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
        """Return a scanner that checks and digests the values.

        Args:
            moments: moments of the training split, where they are known already.

        Raises:
            DataCorrupt: a split is missing, or the shape, the kind and the levels do not fit together.
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
        name: name of the data set, as the user types it.
        kind: kind of the values.
        height: rows of an image.
        width: columns of an image.
        levels: the value that means intensity 1: intensity = value / levels.
        channels: values of a pixel: 1 for grey, 3 for colours, 4 for colours with alpha.
        splits: one array of shape (N, channels * height * width) for every ``Split``, images channel after channel,
            each row by row; uint8 levels, or float32. Read-only: in memory, or a map of the cache file.
        split_convention: the name of the split.
        source: origin of the content.
        provenance: origin and conversion of the content, as plain JSON values.
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
            name: name of the data set, as the user types it.
            height: rows of an image.
            width: columns of an image.
            levels: the value that means intensity 1, from 1 to 255; 1 for binary and real values and for floats.
            splits: arrays of shape (N, channels * height * width), one for every ``Split``, N at least 1.
            split_convention: the name of the split.
            source: origin of the content.
            kind: kind of the values; by default bytes with 1 level are binary, and others are intensities.
            channels: values of a pixel.
            provenance: conversion of the content, as plain JSON values.

        Returns:
            The data set.

        Raises:
            DataCorrupt: a split is missing, empty or has another shape or type, or a value does not fit the kind of
                data.
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
        """Return the data set of a draft whose values have been checked."""
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
        """Return this data set as a draft, without its checksums and moments."""
        return Draft(**{name: getattr(self, name) for name in Draft.__dataclass_fields__})

    @property
    def pixels(self) -> int:
        """Number of values of an image."""
        return self.channels * self.height * self.width

    @property
    def image(self) -> tuple[int, ...]:
        """The shape of an image: (height, width), or (channels, height, width) where there are several channels."""
        return image_shape(self.height, self.width, self.channels)

    @property
    def checksum(self) -> str:
        """SHA-256 over the levels, the shapes and the values of all splits, in order.

        It leaves out the name and the source: the same values in the same splits have the same checksum, wherever
        the values came from.
        """
        return self.scanned.checksum

    @property
    def split_hashes(self) -> Mapping[Split, str]:
        """SHA-256 of each split alone: two conventions that share a test split share its hash."""
        return self.scanned.split_hashes

    @property
    def is_mapped(self) -> bool:
        """Whether the values are read from the cache file only when they are needed."""
        return isinstance(self.splits[Split.TRAIN], np.memmap)

    def spread(self) -> NDArray[np.float32]:
        """Return the scale of each pixel, (pixels,): its standard deviation in the training split.

        Intensities have a scale of at least ``LEAST_SPREAD``. Real values, whose unit is unknown, have the scale 1
        where they never vary.
        """
        deviation = self.scanned.moments.deviation.astype(np.float32)
        if self.kind.is_bounded:
            return np.maximum(deviation, np.float32(LEAST_SPREAD))
        return np.where(deviation > 0.0, deviation, np.float32(1.0))


def image_shape(height: int, width: int, channels: int) -> tuple[int, ...]:
    """Return (height, width), or (channels, height, width) where an image has several channels."""
    return (height, width) if channels == 1 else (channels, height, width)


def byte_kind(levels: int) -> DataKind:
    """Return the kind of bytes with this number of levels."""
    return DataKind.BINARY if levels == 1 else DataKind.INTENSITY
