"""What packs the pieces of an HDF5 array, and how large they come out, before HDF5 itself unpacks them.

HDF5 unpacks whatever a piece holds, however large; its header may say that the piece is small. So a piece is measured
first, by a reader that stops.
"""

import itertools
import math
import zlib
from typing import Any, Final, cast

from dregcli.data.formats.unpack import inflated_size
from dregcli.data.importing.limits import HARMLESS_BYTES
from dregcli.errors import DataCorrupt

# The numbers are the file format's own.
_DEFLATE: Final = 1
_SHUFFLE: Final = 2
_CHECKSUM: Final = 3
_SCALE_OFFSET: Final = 6
_LZF: Final = 32000
_KNOWN: Final = (_DEFLATE, _SHUFFLE, _CHECKSUM, _SCALE_OFFSET, _LZF)
_CHECKSUM_BYTES: Final = 4
_SCALE_OFFSET_HEADER: Final = 21
_LZF_RATIO: Final = 90
"""LZF makes 264 bytes of 3 at most."""


class Measure:
    """Holds the pieces of a chunked array against their size.

    Args:
        item: the ``h5py.Dataset``; its pieces are not of unlimited size, and its filters are not ``refused_filters``.
        where: the source, for messages.
    """

    def __init__(self, item: Any, where: str) -> None:  # noqa: ANN401 - h5py has no types
        self._item, self._where = item, where
        self._filters = [code for code, _ in _filters(item)]
        self._bytes = piece_bytes(item)

    def check(self, axis: int, first: int, last: int) -> None:
        """Measure the pieces that hold the examples from ``first`` up to ``last`` along ``axis``.

        Raises:
            DataCorrupt: one unpacks to another size than all have.
        """
        if not self._filters:
            return
        ranges = [range(0, size, chunk) for size, chunk in zip(self._item.shape, self._item.chunks, strict=True)]
        chunk = self._item.chunks[axis]
        ranges[axis] = range(first // chunk * chunk, last, chunk)
        for at in itertools.product(*ranges):
            self._check_one(at)

    def _check_one(self, at: tuple[int, ...]) -> None:
        mask, raw = cast("tuple[int, bytes]", self._item.id.read_direct_chunk(at))
        # A bit of the mask says that the filter of that place was left out for this piece.
        used = [code for i, code in enumerate(self._filters) if not mask >> i & 1]
        if _DEFLATE in used:
            inner = used[: used.index(_DEFLATE)]
            packed = raw[: len(raw) - _CHECKSUM_BYTES * used[len(inner) :].count(_CHECKSUM)]
            wanted = self._bytes + _CHECKSUM_BYTES * inner.count(_CHECKSUM)
            try:
                found = inflated_size(packed, limit=wanted + _SCALE_OFFSET_HEADER)
            except zlib.error:
                found = 0  # no such piece is empty
            # What scale-offset leaves of a piece is as long as its values need, after a header of its own.
            is_open = _SCALE_OFFSET in inner
            if found > wanted + (_SCALE_OFFSET_HEADER if is_open else 0) or (found < wanted and not is_open):
                said = "more" if found > wanted else "less"
                raise self._refusal(at, f"unpacks to {said} than the {wanted:,} bytes")
        elif _LZF in used:
            if len(raw) * _LZF_RATIO > max(HARMLESS_BYTES, self._bytes):
                raise self._refusal(at, f"is {len(raw):,} bytes, packed with LZF, and could exceed the memory; not")
        elif _SCALE_OFFSET not in used and len(raw) != self._bytes + _CHECKSUM_BYTES * used.count(_CHECKSUM):
            raise self._refusal(at, f"has {len(raw):,} bytes, not the {self._bytes:,} bytes")

    def _refusal(self, at: tuple[int, ...], what: str) -> DataCorrupt:
        return DataCorrupt(
            what=f"the piece at {', '.join(map(str, at))} {what} that such a piece has",
            where=self._where,
            hint="write the array again without packing it, or in smaller pieces",
        )


def piece_bytes(item: Any) -> int:  # noqa: ANN401 - h5py has no types
    """Bytes of an unpacked piece, in the file's type and not in NumPy's."""
    return math.prod(item.chunks) * item.id.get_type().get_size()


def refused_filters(item: Any) -> str | None:  # noqa: ANN401 - h5py has no types
    """Why the pieces of an array cannot be unpacked safely, or None where they can."""
    found = _filters(item)
    codes = [code for code, _ in found]
    for code, _ in found:
        if code not in _KNOWN:
            return (
                f"needs filter {code}{_name(item, code)}, which is not unpacked here; write it with gzip, or unpacked"
            )
    if len([code for code in codes if code in (_DEFLATE, _LZF)]) > 1 or len(set(codes)) != len(codes):
        return "is packed twice over, as no honest file is; write it with one filter, or unpacked"
    size = piece_bytes(item)
    values = dict(found)
    # What these say of themselves decides how much memory is taken, whatever the piece is.
    if _LZF in values and (len(values[_LZF]) < 3 or values[_LZF][2] != size):
        return "is packed with LZF for pieces of another size"
    if _SCALE_OFFSET in values and (
        len(values[_SCALE_OFFSET]) < 5
        or values[_SCALE_OFFSET][2] != math.prod(item.chunks)
        or values[_SCALE_OFFSET][4] != item.id.get_type().get_size()
    ):
        return "is packed by scale and offset for pieces of another size"
    return None


def _filters(item: Any) -> list[tuple[int, tuple[int, ...]]]:  # noqa: ANN401 - h5py has no types
    """Code and parameters of each, in the order in which they were applied."""
    made = item.id.get_create_plist()
    filters = [made.get_filter(i) for i in range(made.get_nfilters())]
    return [(int(each[0]), tuple(each[2])) for each in filters]


def _name(item: Any, code: int) -> str:  # noqa: ANN401 - h5py has no types
    made = item.id.get_create_plist()
    for each in (made.get_filter(i) for i in range(made.get_nfilters())):
        if each[0] == code and (name := each[3].decode("ascii", "replace")[:40]) and name.isprintable():
            return f" ({name})"
    return ""
