"""One pass over the values of a data set: checks, checksums and moments, chunk by chunk."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from dregcli.errors import DataCorrupt
from dregcli.names import DataKind, Split

Values = NDArray[np.uint8 | np.float32]
"""Rows of stored values, (N, channels * height * width): levels as bytes, or 32-bit floats."""

CHANNELS: Final = (1, 3, 4)
"""Possible numbers of values a pixel: 1 for grey; 3 for red, green and blue; 4 for these with alpha."""

CHUNK_VALUES: Final = 1 << 20
"""Values per chunk. Changing it changes the moments of floats, because their sums are made chunk by chunk."""


class StoredRows(Protocol):
    """Rows that can be sliced: an array, a mapped file, or a reader that converts what it reads."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, channels * height * width)."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8 or float32."""
        ...

    def __getitem__(self, rows: slice, /) -> Any:  # noqa: ANN401 - NumPy's own signature is wider
        """Return some consecutive rows as an array."""
        ...


@dataclass(frozen=True)
class Moments:
    """Mean and deviation of each pixel in the training split, in the unit of the model's input.

    Attributes:
        mean: mean, (pixels,), float64; in [0, 1] for grey levels.
        deviation: standard deviation with N in the denominator, (pixels,), float64.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    def sha256(self) -> str:
        """Return the SHA-256 of both arrays as little-endian bytes."""
        content = [each.astype("<f8", copy=False).tobytes() for each in (self.mean, self.deviation)]
        return hashlib.sha256(b"dreg moments 1\n" + b"".join(content)).hexdigest()


@dataclass(frozen=True)
class Scanned:
    """The result of one pass over all splits.

    Attributes:
        checksum: SHA-256 over the values and the splits they belong to.
        split_hashes: SHA-256 of each split alone: equal for equal examples, whatever the other splits hold.
        moments: moments of the training split.
    """

    checksum: str
    split_hashes: dict[Split, str]
    moments: Moments


def chunks(rows: StoredRows) -> Iterator[Values]:
    """Yield the rows as contiguous arrays of about ``CHUNK_VALUES`` values."""
    count, width = rows.shape
    step = max(1, CHUNK_VALUES // width)
    for first in range(0, count, step):
        yield np.ascontiguousarray(rows[first : first + step])


class Scanner:
    """Checks and digests values chunk by chunk, one split after the other in the order of ``Split``.

    Args:
        name: name of the data set, for messages.
        kind: kind of the values.
        height: rows of an image.
        width: columns of an image.
        levels: the value that means intensity 1.
        channels: values of a pixel; an image is stored channel after channel.
        moments: moments of the training split, where they are known already.

    Raises:
        DataCorrupt: the shape, the kind and the levels do not fit together.
    """

    def __init__(
        self,
        name: str,
        kind: DataKind,
        *,
        height: int,
        width: int,
        levels: int,
        channels: int = 1,
        moments: Moments | None = None,
    ) -> None:
        if height < 1 or width < 1:
            raise DataCorrupt(what=f"images cannot be {height} x {width}", where=name)
        if channels not in CHANNELS:
            raise DataCorrupt(what=f"images have 1, 3 or 4 channels, not {channels}", where=name)
        if not 1 <= levels <= 255:
            raise DataCorrupt(what=f"the intensity levels must be 1 to 255, not {levels}", where=name)
        if not kind.has_levels and levels != 1:
            raise DataCorrupt(what=f"{kind} values have 1 level, not {levels}", where=name)
        self._name, self._kind, self._levels, self._pixels = name, kind, levels, channels * height * width
        self._known = moments
        # For one channel the text must not change: it is part of every stored checksum.
        colours = f"{channels} x " if channels > 1 else ""
        self._layout = f"levels {levels}, {colours}{height} x {width}"
        self._whole: Any = None
        self._split: Split | None = None
        self._hashes: dict[Split, Any] = {}
        self._at = 0
        self._sums: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
        self._shift: NDArray[np.float64] = np.zeros(self._pixels)
        self._count = 0

    def begin(self, split: Split, rows: StoredRows) -> None:
        """Begin a split.

        Raises:
            DataCorrupt: the split is empty, or its shape or type does not fit the data set.
        """
        types = {
            DataKind.BINARY: (np.uint8,),
            DataKind.INTENSITY: (np.uint8, np.float32),
            DataKind.REAL: (np.float32,),
        }[self._kind]
        shape, dtype = rows.shape, rows.dtype
        if dtype == np.float32 and self._levels != 1:
            message = f"the {split} split has fractions, which have 1 level, not {self._levels}"
            raise DataCorrupt(what=message, where=self._name)
        if dtype not in types or len(shape) != 2 or shape[1] != self._pixels or shape[0] == 0:
            wanted = " or ".join(np.dtype(each).name for each in types)
            raise DataCorrupt(
                what=f"the {split} split is {dtype} of shape {shape}, not {wanted} of shape (N, {self._pixels})",
                where=self._name,
            )
        if self._whole is None:
            # Changing the beginning of this text breaks every stored run.
            kind = "pixels 1" if dtype == np.uint8 else f"values 1: {self._kind}, float32"
            self._whole = hashlib.sha256(f"dreg {kind}: {self._layout}".encode())
        self._whole.update(f"\n{split} {shape[0]}\n".encode())
        self._hashes[split] = hashlib.sha256(f"dreg split 1: {dtype}, {self._layout}, {shape[0]}\n".encode())
        self._split, self._at, self._count = split, 0, shape[0] if split is Split.TRAIN else self._count

    def add(self, chunk: Values) -> None:
        """Add the next rows of the split.

        Raises:
            DataCorrupt: a value does not fit the kind of data.
        """
        assert self._split is not None
        self._check(chunk)
        # Floats are digested as little-endian, so that a checksum is the same on every machine.
        content = chunk.astype("<f4", copy=False).data if chunk.dtype == np.float32 else chunk.data
        self._whole.update(content)
        self._hashes[self._split].update(content)
        if self._split is Split.TRAIN and self._known is None:
            self._accumulate(chunk)
        self._at += len(chunk)

    def result(self) -> Scanned:
        """Return the checksums and moments, after the last split."""
        return Scanned(self._whole.hexdigest(), self._digests(), self._known or self._moments())

    def _digests(self) -> dict[Split, str]:
        return {split: digest.hexdigest() for split, digest in self._hashes.items()}

    def _moments(self) -> Moments:
        assert self._sums is not None
        variance = self._sums[1] / self._count - (self._sums[0] / self._count) ** 2
        return Moments(
            # For bytes the shift is 0 and the sum is exact, so the mean is the same on every machine.
            self._shift + self._sums[0] / (self._count * self._levels),
            np.sqrt(np.maximum(variance, 0.0)) / self._levels,
        )

    def _check(self, chunk: Values) -> None:
        if chunk.dtype == np.uint8:
            if int(chunk.max()) > self._levels:
                message = f"has a pixel of {int(chunk.max())}, above its {self._levels} levels"
                raise DataCorrupt(what=f"the {self._split} split {message}", where=self._name)
            return
        lowest, highest = float(chunk.min()), float(chunk.max())
        if not (np.isfinite(lowest) and np.isfinite(highest)):
            row = self._at + int(np.argmin(np.isfinite(chunk).all(axis=1)))
            message = f"has a value that is not finite (NaN or infinite) in example {row}"
            raise DataCorrupt(what=f"the {self._split} split {message}", where=self._name)
        if self._kind.is_bounded and not 0.0 <= lowest <= highest <= 1.0:
            message = f"has intensities from {lowest:g} to {highest:g}, not within 0 to 1"
            raise DataCorrupt(what=f"the {self._split} split {message}", where=self._name)

    def _accumulate(self, chunk: Values) -> None:
        """Add rows to the sums of values and squares: exact for bytes, and relative to the first row for floats."""
        if chunk.dtype == np.uint8:
            wide = chunk.astype(np.uint16)
            sums = chunk.sum(axis=0, dtype=np.uint64), (wide * wide).sum(axis=0, dtype=np.uint64)
        else:
            if self._sums is None:
                # Without the shift, values far from 0 would lose their variance to cancellation.
                self._shift = chunk[0].astype(np.float64)
            about = chunk.astype(np.float64) - self._shift
            sums = about.sum(axis=0), (about * about).sum(axis=0)
        first, second = (each.astype(np.float64) for each in sums)
        # Sums over bytes stay below 2^53 for 10^11 rows, so they are exact in float64 too.
        self._sums = (first, second) if self._sums is None else (self._sums[0] + first, self._sums[1] + second)
