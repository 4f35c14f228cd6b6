"""A strict reader of the IDX format, in which MNIST and its relatives are published.

Two zero bytes, one for the type, one for the number of dimensions, then each dimension as a big-endian
unsigned 32-bit integer, then the values.
"""

import math
import struct

import numpy as np
from numpy.typing import NDArray

from dregcli.errors import DataCorrupt

_TYPES = {0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}


def parse_idx(content: bytes, *, ndim: int, where: str) -> NDArray[np.uint8]:
    """Read unpacked IDX content that holds bytes.

    Args:
        content: the whole unpacked file.
        ndim: how many dimensions it must have (3 for images).
        where: the file's name, for messages.

    Returns:
        A read-only view of ``content``, shaped as the header says.

    Raises:
        DataCorrupt: wrong magic, another type or number of dimensions, an empty dimension, or a header that
            promises fewer or more bytes than there are.
    """
    if len(content) < 4 or content[:2] != b"\x00\x00" or content[2] not in _TYPES:
        raise DataCorrupt(what=f"not an IDX file: it starts with {content[:4].hex(' ') or 'nothing'}", where=where)
    if _TYPES[content[2]] != "uint8":
        raise DataCorrupt(what=f"the IDX file holds {_TYPES[content[2]]}, not uint8", where=where)
    if content[3] != ndim:
        raise DataCorrupt(what=f"the IDX file has {content[3]} dimensions, not {ndim}", where=where)
    start = 4 + 4 * ndim
    if len(content) < start:
        raise DataCorrupt(what="the IDX file ends inside its header: truncated", where=where)
    shape: tuple[int, ...] = struct.unpack(f">{ndim}I", content[4:start])
    promised = math.prod(shape)
    said = " x ".join(str(size) for size in shape)
    if promised == 0:
        raise DataCorrupt(what=f"the IDX file is empty: its header says {said}", where=where)
    # Compared before anything is made of the promise, so that a header cannot ask for memory.
    if promised != len(content) - start:
        raise DataCorrupt(
            what=f"the IDX header promises {said} = {promised:,} bytes, and {len(content) - start:,} follow",
            where=where,
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)
