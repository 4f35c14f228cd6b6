"""What a file may promise: how many bytes may come out of how many, and of which types."""

from typing import Any, Final

import numpy as np

from dregcli.errors import DataCorrupt

HARMLESS_BYTES: Final = 64 << 20
"""So much may come out of the smallest file: it fits everywhere."""

MOST_RATIO: Final = 200
"""How many times its packed size a larger content may have. MNIST's images pack to a fifth, sparse binary ones to a
hundredth."""

DEFLATE_RATIO: Final = 1000
"""Up to ``BELIEVED_BYTES``, a content may have as many times its packed size as deflate can make of it."""

BELIEVED_BYTES: Final = 4 << 30


def check_promise(unpacked: int, packed: int, *, where: str) -> None:
    """Refuse content that is out of all proportion to the file it comes from.

    Args:
        unpacked: bytes that come out, as promised or as counted so far.
        packed: bytes that lie on the disk.
        where: the file, and the part of it.

    Raises:
        DataCorrupt: it is an archive bomb, or cannot be told from one.
    """
    if fault := promise_fault(unpacked, packed):
        raise DataCorrupt(
            what=fault, where=where, hint="if the data are real, save them unpacked (numpy.save) and import that"
        )


def promise_fault(unpacked: int, packed: int) -> str | None:
    """Why so many bytes cannot come out of so few, or None where they can."""
    # Deflate makes a thousand bytes of one at most, and images of a few flat areas come near that. Up to a size that
    # a disk has room for they are believed.
    believed = max(HARMLESS_BYTES, MOST_RATIO * packed, min(DEFLATE_RATIO * packed, BELIEVED_BYTES))
    if unpacked <= believed:
        return None
    return f"{unpacked:,} bytes or more would come out of {packed:,}: an archive bomb, or a header that lies"


def why_no_numbers(dtype: np.dtype[Any]) -> str | None:
    """Why values of this type cannot be imported, or None where they can."""
    if dtype.hasobject:
        return "holds Python objects, which would have to be unpickled: that can run any code"
    if dtype.names is not None or dtype.subdtype is not None or dtype.kind == "V":
        return f"holds records ({dtype}), not one number a value"
    if dtype.kind == "c":
        return f"holds complex numbers ({dtype})"
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        return f"holds {dtype} values, not booleans, integers or floats of up to 64 bits"
    return None
