"""Reads NumPy's own formats: .npy, and the arrays of an .npz archive. Nothing is ever unpickled."""

import io
import math
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

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

Read = Callable[[int, tuple[int, ...], np.dtype[Any], Literal["C", "F"]], NDArray[Any]]
"""Returns the values, given the bytes before them, the shape, the type and the order."""


def npy_arrays(source: Source) -> list[Named]:
    """Return the one array of an .npy file."""
    return [_named("", source.head(_LONGEST_HEADER), source.size, source.values)]


def npz_arrays(source: Source, archive: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> list[Named]:
    """Return the arrays of an .npz archive; each is unpacked only when it is read."""

    def named(info: zipfile.ZipInfo) -> Named:
        key = info.filename.removesuffix(".npy")

        def content(start: int = 0) -> Iterator[bytes]:
            unpacked = member_content(archive, info, where=f"{source.where}, array {key}")
            yield next(unpacked, b"")[start:]
            yield from unpacked

        def read(start: int, shape: tuple[int, ...], dtype: np.dtype[Any], order: Literal["C", "F"]) -> NDArray[Any]:
            return source.scratch.array(content(start), shape, dtype, order)

        try:
            head = next(content())[:_LONGEST_HEADER]
        except DataCorrupt as error:
            return refused(key, f"cannot be imported: {error.what}")
        return _named(key, head, info.file_size, read)

    return [named(info) for info in members]


def _named(key: str, head: bytes, size: int, read: Read) -> Named:
    """Check a header before any allocation. An array with a bad one is refused; the others can still be read."""
    stream = io.BytesIO(head)
    try:
        version = npy_format.read_magic(stream)
        if version not in _READERS:
            return refused(key, f"has an .npy header of version {version}: records cannot be imported")
        shape, fortran, dtype = _READERS[version](stream)
    except (ValueError, TypeError, SyntaxError, EOFError, RecursionError, MemoryError) as error:
        return refused(key, f"has an .npy header that is malformed or cut short ({error})")
    start, fault = stream.tell(), why_no_numbers(dtype)
    # Python counts True as an int, and NumPy accepts it.
    if len(shape) > _MOST_AXES or any(type(each) is not int for each in shape):
        return refused(key, f"has an .npy header with an impossible shape: {str(shape)[:80]}")
    promised = math.prod(shape) * dtype.itemsize
    if not fault and (not shape or min(shape) < 1):
        fault = f"is empty: its shape is {said(shape) or 'no axes'}"
    elif not fault and promised != size - start:
        promise = f"promises {said(shape)} values of {dtype} = {promised:,} bytes"
        fault = f"has an .npy header that {promise}, but {size - start:,} follow"
    return Named(key, shape, str(dtype), lambda: read(start, shape, dtype, "F" if fortran else "C"), fault)
