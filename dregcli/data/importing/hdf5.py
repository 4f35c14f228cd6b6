"""Reads the arrays of an HDF5 file, or of a MATLAB file of version 7.3; only values that lie in the file itself.

HDF5 unpacks a piece of an array whatever its real size is, even if the header says that the piece is small. So each
piece is measured first, by a reader that stops at a limit.
"""

import itertools
import math
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

import h5py
import numpy as np
from numpy.typing import NDArray

from dregcli.data.formats.mat import NUMERIC_BYTES
from dregcli.data.formats.unpack import inflated_size
from dregcli.data.importing.contract import Named, Source, most_bytes, promise_fault, refused, watched, why_no_numbers
from dregcli.data.owner import HDF5_RAISES
from dregcli.data.scan import CHUNK_VALUES
from dregcli.errors import DataCorrupt

_MOST_OBJECTS: Final = 10_000
_RAISED: Final = (*HDF5_RAISES, MemoryError)

# Filters, by the file format's own numbers.
_DEFLATE: Final = 1
_SHUFFLE: Final = 2
_CHECKSUM: Final = 3
_SCALE_OFFSET: Final = 6
_LZF: Final = 32000
_KNOWN: Final = (_DEFLATE, _SHUFFLE, _CHECKSUM, _SCALE_OFFSET, _LZF)
_CHECKSUM_BYTES: Final = 4
_SCALE_OFFSET_HEADER: Final = 21
_LZF_RATIO: Final = 90
"""LZF makes at most 264 bytes of 3."""

Item = Any
"""An ``h5py.Dataset``, which has no types."""


def hdf5_arrays(source: Source, *, is_matlab: bool) -> list[Named]:
    """Return the arrays of a file, by their paths inside it; they can be read as long as the source's stack is open.

    MATLAB stores the axes in reverse order; here they are in the order that MATLAB shows.

    Raises:
        DataCorrupt: HDF5 cannot read the file.
    """
    found, objects = list[Named](), itertools.count()

    def visit(key: str, item: object) -> None:
        if next(objects) >= _MOST_OBJECTS:
            raise DataCorrupt(
                what=f"the file has more than {_MOST_OBJECTS:,} objects", hint="copy one into a separate file"
            )
        # What lies there belongs to MATLAB's cells and objects.
        is_part = is_matlab and key.startswith(("#refs#/", "#subsystem#/"))
        if isinstance(item, h5py.Dataset) and not is_part:
            found.append(_named(key, item, source, is_matlab=is_matlab))

    with _reading():
        # The open file and not its path, so that the same file is read that was digested.
        file: Any = source.scratch.stack.enter_context(h5py.File(cast("Any", source.stream), "r"))
        # Visits every object once, and follows only hard links.
        file.visititems(visit)
        links = [key for key in file if isinstance(file.get(key, getlink=True), h5py.ExternalLink)]
    return [*found, *(refused(key, "is a link to another file") for key in links)]


@contextmanager
def _reading() -> Generator[None]:
    try:
        yield
    except _RAISED as error:
        raise DataCorrupt(what=f"HDF5 cannot read the file: it is damaged or cut short ({error})") from error


def _named(key: str, item: Item, source: Source, *, is_matlab: bool) -> Named:
    """Return one array, readable or refused with a reason."""
    try:
        dtype: np.dtype[Any] = item.dtype
        shape: tuple[int, ...] = tuple(item.shape or ())[:: -1 if is_matlab else 1]
        kind: object = item.attrs.get("MATLAB_class", "") if is_matlab else ""
        refusal = why_no_numbers(dtype) or _not_inside(item, source.size)
    except (TypeError, *_RAISED) as error:
        # The other arrays can still be read.
        return refused(key, f"cannot be read: it is damaged, cut short, or of a type that NumPy lacks ({error})")
    name = kind.decode("latin1") if isinstance(kind, bytes) else str(kind)
    if name and name not in NUMERIC_BYTES:
        refusal = f"is MATLAB's {name}, not an array of numbers"

    def read() -> NDArray[Any]:
        offset: int | None = item.id.get_offset()
        # NumPy has no types that use only some bits of their bytes: HDF5 must read such values.
        as_numpy = item.id.get_type().equal(cast("Any", h5py.h5t).py_create(dtype))
        if as_numpy and not is_matlab and offset is not None and offset + item.nbytes <= source.size:
            return source.values(offset, shape, dtype)
        return source.scratch.array(_examples(item, source, reverse=is_matlab), shape, dtype)

    return Named(key, shape, str(dtype), read, refusal)


def _not_inside(item: Item, size: int) -> str | None:
    """Return why the values are not in this file: they lie elsewhere, were never written, or are only promised."""
    if item.external:
        return "keeps its values in another file"
    if item.is_virtual:
        return "is a view of other files"
    if not item.shape or not item.size:
        return "is empty"
    stored: int = item.id.get_storage_size()
    if item.chunks is None:
        if stored != item.nbytes:
            return f"promises {item.nbytes:,} bytes, but {stored:,} were written"
    else:
        wanted = math.prod(-(-size // chunk) for size, chunk in zip(item.shape, item.chunks, strict=True))
        if (written := item.id.get_num_chunks()) != wanted:
            return f"promises {item.nbytes:,} bytes in {wanted:,} pieces, but {written:,} were written"
        # A piece is unpacked as a whole, and may be larger than the array.
        if fault := promise_fault(_piece_bytes(item), size) or _refused_filters(item):
            return fault
    if stored > size:
        return f"promises {stored:,} bytes, more than the file has"
    return promise_fault(item.nbytes, size)


def _refused_filters(item: Item) -> str | None:
    """Return why the pieces of an array cannot be unpacked safely, or None where they can."""
    filters = _filters(item)
    codes = [code for code, _ in filters]
    for code in codes:
        if code not in _KNOWN:
            return f"needs filter {code}, which dreg does not unpack; write it with gzip, or unpacked"
    if len(set(codes)) != len(codes) or {_DEFLATE, _LZF} <= set(codes):
        return "is packed twice, which dreg does not accept; write it with one filter, or unpacked"
    # The parameters of these two filters decide how much memory HDF5 takes, whatever the piece is.
    said = {code: (*values, *[None] * 5) for code, values in filters}
    wanted = math.prod(item.chunks), item.id.get_type().get_size()
    if _LZF in said and said[_LZF][2] != _piece_bytes(item):
        return "is packed with LZF for pieces of another size"
    if _SCALE_OFFSET in said and (said[_SCALE_OFFSET][2], said[_SCALE_OFFSET][4]) != wanted:
        return "is packed by scale and offset for pieces of another size"
    return None


def _examples(item: Item, source: Source, *, reverse: bool) -> Iterator[NDArray[Any]]:
    """Yield the values in groups of whole examples."""
    axis = len(item.shape) - 1 if reverse else 0
    count: int = item.shape[axis]
    step = max(1, CHUNK_VALUES * count // item.size)
    if item.chunks is not None:
        # A group covers whole pieces of the file, so that no piece is unpacked twice.
        step = -(-step // item.chunks[axis]) * item.chunks[axis]
    with watched(source.watch, "read", count, "examples"):
        for first in range(0, count, step):
            last = min(first + step, count)
            with _reading():
                if item.chunks is not None:
                    _check_pieces(item, axis, first, last)
                values: NDArray[Any] = item[..., first:last].T if reverse else item[first:last]
            yield np.ascontiguousarray(values)
            source.watch.update(last)


def _check_pieces(item: Item, axis: int, first: int, last: int) -> None:
    """Refuse the examples from ``first`` up to ``last`` if one of their pieces does not unpack to its stated size."""
    filters = [code for code, _ in _filters(item)]
    ranges = [range(0, length, chunk) for length, chunk in zip(item.shape, item.chunks, strict=True)]
    chunk = item.chunks[axis]
    ranges[axis] = range(first // chunk * chunk, last, chunk)
    for at in itertools.product(*ranges) if filters else ():
        mask, raw = cast("tuple[int, bytes]", item.id.read_direct_chunk(at))
        # A set bit of the mask means that this filter was skipped for this piece.
        used = [code for i, code in enumerate(filters) if not mask >> i & 1]
        if fault := _piece_fault(used, raw, _piece_bytes(item)):
            raise DataCorrupt(
                what=f"the piece at {', '.join(map(str, at))} {fault} that such a piece must have",
                hint="write the array again without packing it, or in smaller pieces",
            )


def _piece_fault(used: list[int], raw: bytes, size: int) -> str | None:
    """Return how a piece differs from ``size`` unpacked bytes, or None where it does not."""
    if _DEFLATE in used:
        inner, outer = used[: used.index(_DEFLATE)], used[used.index(_DEFLATE) :]
        packed = raw[: len(raw) - _CHECKSUM_BYTES * outer.count(_CHECKSUM)]
        wanted = size + _CHECKSUM_BYTES * inner.count(_CHECKSUM)
        # Scale-offset leaves as many bytes as the values need, after its own header.
        room = _SCALE_OFFSET_HEADER if _SCALE_OFFSET in inner else 0
        try:
            found = inflated_size(packed, limit=wanted + room)
        except zlib.error:
            found = 0  # below every valid size
        if found > wanted + room:
            return f"unpacks to more than the {wanted:,} bytes"
        return f"unpacks to less than the {wanted:,} bytes" if found < wanted and not room else None
    if _LZF in used:
        if len(raw) * _LZF_RATIO > max(most_bytes(0), size):
            return f"has {len(raw):,} bytes packed with LZF, which may unpack to far more than the {size:,} bytes"
    elif _SCALE_OFFSET not in used and len(raw) != size + _CHECKSUM_BYTES * used.count(_CHECKSUM):
        return f"has {len(raw):,} bytes, not the {size:,} bytes"
    return None


def _piece_bytes(item: Item) -> int:
    """Return the bytes of an unpacked piece, in the file's type and not in NumPy's."""
    return math.prod(item.chunks) * item.id.get_type().get_size()


def _filters(item: Item) -> list[tuple[int, tuple[int, ...]]]:
    """Return code and parameters of each filter, in the order in which they were applied."""
    made = item.id.get_create_plist()
    return [(made.get_filter(i)[0], tuple(made.get_filter(i)[2])) for i in range(made.get_nfilters())]
