"""A strict reader for the IDX format, in which MNIST and its relatives are published.

An IDX file has two zero bytes, one byte for the type, one for the number of dimensions, then each dimension as a
big-endian unsigned 32-bit integer, then the values, big-endian.
"""

import math
import struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dregcli.errors import DataCorrupt

_TYPES: Final = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST_DIMENSIONS: Final = 8
LONGEST_HEADER: Final = 4 + 4 * _MOST_DIMENSIONS
"""Bytes that hold every header."""


def parse_idx(content: bytes, *, ndim: int, where: str) -> NDArray[np.uint8]:
    """Read unpacked IDX content that holds bytes.

    Args:
        content: the whole unpacked file.
        ndim: required number of dimensions (3 for images).
        where: the file's name, for messages.

    Returns:
        A read-only view of ``content``, shaped as the header says.

    Raises:
        DataCorrupt: the first bytes are wrong, the type or the number of dimensions is another one, a dimension is
            empty, or the header promises fewer or more bytes than there are.
    """
    dtype, dimensions = _kind(content, where)
    if dtype != np.uint8:
        raise DataCorrupt(what=f"the IDX file holds {dtype.name}, not uint8", where=where)
    if dimensions != ndim:
        raise DataCorrupt(what=f"the IDX file has {dimensions} dimensions, not {ndim}", where=where)
    return parse_idx_values(content, where=where)


def parse_idx_values(content: bytes, *, where: str) -> NDArray[Any]:
    """Read unpacked IDX content of any type that the format has.

    Args:
        content: the whole unpacked file.
        where: the file's name, for messages.

    Returns:
        A read-only view of ``content``, big-endian as the file has it, shaped as the header says.

    Raises:
        DataCorrupt: as for ``idx_header``.
    """
    start, shape, dtype = idx_header(content, len(content), where=where)
    return np.frombuffer(content, dtype=dtype, offset=start).reshape(shape)


def idx_header(head: bytes, size: int, *, where: str) -> tuple[int, tuple[int, ...], np.dtype[Any]]:
    """Read the header of an unpacked IDX file of any type that the format has.

    Args:
        head: the first bytes, at least ``LONGEST_HEADER`` if the file has so many.
        size: bytes of the whole unpacked file.
        where: the file's name, for messages.

    Returns:
        The byte at which the values begin, their shape, and their type, big-endian as the file has it.

    Raises:
        DataCorrupt: as for ``parse_idx``, but any type and 1 to 8 dimensions are allowed.
    """
    dtype, ndim = _kind(head, where)
    if not 1 <= ndim <= _MOST_DIMENSIONS:
        raise DataCorrupt(what=f"the IDX file has {ndim} dimensions, not 1 to {_MOST_DIMENSIONS}", where=where)
    start = 4 + 4 * ndim
    if len(head) < start:
        raise DataCorrupt(what="the IDX file ends inside its header: truncated", where=where)
    shape: tuple[int, ...] = struct.unpack(f">{ndim}I", head[4:start])
    # Python's integers do not wrap around.
    promised = math.prod(shape) * dtype.itemsize
    said = " x ".join(str(size) for size in shape) + (f" x {dtype.itemsize}" if dtype.itemsize > 1 else "")
    if promised == 0:
        raise DataCorrupt(what=f"the IDX file is empty: its header says {said}", where=where)
    # Compared before any allocation, so that a header cannot ask for memory.
    if promised != size - start:
        raise DataCorrupt(
            what=f"the IDX header promises {said} = {promised:,} bytes, but {size - start:,} follow",
            where=where,
        )
    return start, shape, dtype


def _kind(content: bytes, where: str) -> tuple[np.dtype[Any], int]:
    """Return the type and the number of dimensions."""
    if len(content) < 4 or content[:2] != b"\x00\x00" or content[2] not in _TYPES:
        raise DataCorrupt(what=f"not an IDX file: it starts with {content[:4].hex(' ') or 'nothing'}", where=where)
    return np.dtype(_TYPES[content[2]]), content[3]
