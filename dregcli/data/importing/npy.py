"""Reads NumPy's own formats: .npy, and the arrays of an .npz archive. Nothing is ever unpickled."""

import io
import math
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from dregcli.data.formats.archives import member_content
from dregcli.data.importing.contract import Named, Source, refused, said, why_no_numbers
from dregcli.errors import DataCorrupt

_LONGEST_HEADER: Final = 1 << 16
"""Most bytes of a header that are read, whatever it promises. NumPy itself refuses more than 10,000 characters."""
_MOST_AXES: Final = 32
"""The most axes of an array. NumPy's own limit is 64, or 32 before version 2."""
_READERS: Final[dict[tuple[int, int], Any]] = {
    (1, 0): npy_format.read_array_header_1_0,
    (2, 0): npy_format.read_array_header_2_0,
}
"""The readers by format version. Version 3 exists only for the names of records."""


@dataclass(frozen=True)
class _Header:
    shape: tuple[int, ...]
    order: Literal["C", "F"]
    dtype: np.dtype[Any]
    start: int


def npy_arrays(source: Source) -> list[Named]:
    """Return the one array of an .npy file, mapped from the file."""

    def read(header: _Header) -> NDArray[Any]:
        stream = cast("Any", source.stream)
        return np.memmap(stream, header.dtype, "r", header.start, header.shape, header.order)

    return [_named("", source.head(_LONGEST_HEADER), source.size, read)]


def npz_arrays(source: Source, archive: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> list[Named]:
    """Return the arrays of an .npz archive; each is unpacked only when it is read."""

    def named(info: zipfile.ZipInfo) -> Named:
        key = info.filename.removesuffix(".npy")

        def content(start: int = 0) -> Iterator[bytes]:
            unpacked = member_content(archive, info, where=f"{source.where}, array {key}")
            yield next(unpacked, b"")[start:]
            yield from unpacked

        def read(header: _Header) -> NDArray[Any]:
            return source.scratch.array(content(header.start), header.shape, header.dtype, header.order)

        try:
            head = next(content())[:_LONGEST_HEADER]
        except DataCorrupt as error:
            return refused(key, f"cannot be imported: {error.what}")
        return _named(key, head, info.file_size, read)

    return [named(info) for info in members]


def _named(key: str, head: bytes, size: int, read: Callable[[_Header], NDArray[Any]]) -> Named:
    header = _header(head, size)
    if isinstance(header, str):
        # The other arrays can still be read.
        return refused(key, f"cannot be imported: {header}")
    return Named(key, header.shape, str(header.dtype), lambda: read(header), why_no_numbers(header.dtype))


def _header(head: bytes, size: int) -> _Header | str:
    """Read and check a header before any allocation; return the reason where it is not valid."""
    stream = io.BytesIO(head)
    try:
        version = npy_format.read_magic(stream)
        if version not in _READERS:
            return f"its .npy header has version {version}: records cannot be imported"
        shape, fortran, dtype = _READERS[version](stream)
    except (ValueError, TypeError, SyntaxError, EOFError, RecursionError, MemoryError) as error:
        return f"its .npy header is malformed or cut short ({error})"
    # Python counts True as an int, and NumPy accepts it.
    if len(shape) > _MOST_AXES or any(type(each) is not int for each in shape):
        return f"its .npy header has an impossible shape: {str(shape)[:80]}"
    if not why_no_numbers(dtype):
        promised, follow = math.prod(shape) * dtype.itemsize, size - stream.tell()
        if not shape or min(shape) < 1:
            return f"the array is empty: its shape is {said(shape) or 'no axes'}"
        if promised != follow:
            return f"its header promises {said(shape)} values of {dtype} = {promised:,} bytes, but {follow:,} follow"
    return _Header(tuple(shape), "F" if fortran else "C", dtype, stream.tell())
