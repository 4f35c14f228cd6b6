"""NumPy's own formats: .npy, and the arrays of an .npz archive. Nothing is ever unpickled."""

import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from dregcli.data.formats.archives import member_content
from dregcli.data.importing.archive import checked_entries
from dregcli.data.importing.limits import why_no_numbers
from dregcli.data.importing.offers import Offer, refused
from dregcli.data.importing.plain import Plain
from dregcli.data.importing.scratch import Scratch
from dregcli.errors import DataCorrupt

_LONGEST_HEADER: Final = 1 << 16
"""NumPy itself refuses more than 10,000 characters."""


_MOST_AXES: Final = 32
"""NumPy's own limit is 64, or 32 before version 2."""


@dataclass(frozen=True)
class _Header:
    shape: tuple[int, ...]
    order: Literal["C", "F"]
    dtype: np.dtype[Any]
    start: int

    @property
    def promised(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize


def npy_offers(plain: Plain) -> list[Offer]:
    """The one array of an .npy file, mapped where it lies.

    Raises:
        DataCorrupt: the header is malformed, or promises other than the file has.
    """
    header = _header(_Bytes(plain.head(_LONGEST_HEADER)), where=plain.where)
    if refusal := why_no_numbers(header.dtype):
        return [refused("", refusal, header.shape, header.dtype)]
    _check(header, plain.size, plain.where)

    def read(_: Scratch) -> NDArray[Any]:
        return np.memmap(
            cast("Any", plain.stream),
            dtype=header.dtype,
            mode="r",
            offset=header.start,
            shape=header.shape,
            order=header.order,
        )

    return [Offer("", header.shape, str(header.dtype), read)]


def npz_offers(plain: Plain, archive: zipfile.ZipFile) -> list[Offer]:
    """The arrays of an .npz archive, each unpacked only when it is taken.

    Raises:
        DataCorrupt: the archive is hostile or damaged.
    """
    return [
        _member(plain, archive, info) for info in checked_entries(archive, plain) if info.filename.endswith(".npy")
    ]


def _member(plain: Plain, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Offer:
    key = info.filename.removesuffix(".npy")
    where = f"{plain.where}, array {key}"
    content = member_content(archive, info, where=where)
    try:
        header = _header(_Bytes(next(content, b"")[:_LONGEST_HEADER]), where=where)
        if refusal := why_no_numbers(header.dtype):
            return refused(key, refusal, header.shape, header.dtype)
        _check(header, info.file_size, where)
    except DataCorrupt as error:
        # One damaged or empty array does not keep the others from being read.
        return refused(key, f"cannot be taken: {error.what}")

    def values() -> Iterator[bytes]:
        pieces = member_content(archive, info, where=where)
        yield next(pieces, b"")[header.start :]
        yield from pieces

    def read(scratch: Scratch) -> NDArray[Any]:
        return scratch.array(values(), header.shape, header.dtype, where=where, order=header.order)

    return Offer(key, header.shape, str(header.dtype), read)


class _Bytes:
    """The beginning of a file: a header that promises to be gigabytes long gets no more."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def read(self, size: int) -> bytes:
        """The next bytes."""
        found = self._content[self._at : self._at + size]
        self._at += len(found)
        return found

    def tell(self) -> int:
        """Bytes read."""
        return self._at


def _header(stream: "_Bytes", *, where: str) -> _Header:
    """Read a header without believing it.

    Raises:
        DataCorrupt: it is none.
    """
    readers: dict[tuple[int, int], Any] = {
        (1, 0): npy_format.read_array_header_1_0,
        (2, 0): npy_format.read_array_header_2_0,
    }
    try:
        version = npy_format.read_magic(cast("Any", stream))
        reader = readers.get(version)
        if reader is None:
            # Version 3 exists only for the names of records.
            raise DataCorrupt(what=f"its .npy header is of version {version}: records are not imported", where=where)
        shape, fortran, dtype = reader(stream)
    except (ValueError, TypeError, SyntaxError, EOFError, RecursionError, MemoryError) as error:
        raise DataCorrupt(what=f"its .npy header is malformed or cut short ({error})", where=where) from error
    # True is an int to Python, and NumPy lets it pass.
    if len(shape) > _MOST_AXES or any(type(size) is not int for size in shape):
        raise DataCorrupt(what=f"its .npy header has a shape that no array has: {str(shape)[:80]}", where=where)
    return _Header(tuple(shape), "F" if fortran else "C", dtype, stream.tell())


def _check(header: _Header, size: int, where: str) -> None:
    """Hold the promise against the bytes that are there, before anything is made of it."""
    said = " x ".join(str(each) for each in header.shape) or "no axes"
    if not header.shape or min(header.shape) < 1:
        raise DataCorrupt(what=f"the array is empty: its shape is {said}", where=where)
    if header.promised != size - header.start:
        raise DataCorrupt(
            what=f"its header promises {said} values of {header.dtype} = {header.promised:,} bytes, "
            f"and {size - header.start:,} follow",
            where=where,
            hint="write the file again: it was cut short, or something was appended",
        )
