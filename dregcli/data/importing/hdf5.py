"""Arrays of an HDF5 file, and of MATLAB's version 7.3, which is one. Only values that lie in the file itself."""

import contextlib
import math
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

import h5py
import numpy as np
from numpy.typing import NDArray

from dregcli.data.importing.filters import Measure, piece_bytes, refused_filters
from dregcli.data.importing.limits import promise_fault, why_no_numbers
from dregcli.data.importing.offers import Offer, refused
from dregcli.data.importing.plain import Plain
from dregcli.data.importing.scratch import Scratch
from dregcli.data.importing.watch import Watch, watched
from dregcli.data.owner import HDF5_RAISES
from dregcli.data.scan import CHUNK_VALUES
from dregcli.errors import DataCorrupt

MAGIC: Final = b"\x89HDF\r\n\x1a\n"
_MOST_OBJECTS: Final = 10_000
_RAISED: Final = (*HDF5_RAISES, MemoryError)


@contextmanager
def hdf5_offers(plain: Plain, watch: Watch, *, is_matlab: bool) -> Generator[list[Offer]]:
    """The arrays of an open file, by their paths inside it.

    Args:
        plain: the file.
        watch: told of progress.
        is_matlab: MATLAB writes the axes in reverse; they are given as MATLAB shows them.

    Yields:
        The arrays; they can be read until the block is left.

    Raises:
        DataCorrupt: HDF5 cannot read it.
    """
    with contextlib.ExitStack() as stack:
        with _reading(plain.where):
            # The open file and not its path: what is read is what was digested.
            file = stack.enter_context(h5py.File(cast("Any", plain.stream), "r"))
            offers = list(_walk(file, plain, watch, is_matlab=is_matlab))
        yield offers


@contextmanager
def _reading(where: str) -> Generator[None]:
    try:
        yield
    except _RAISED as error:
        raise DataCorrupt(
            what=f"HDF5 cannot read it: damaged or cut short ({error})", where=where, hint="write or fetch it again"
        ) from error


def _walk(file: h5py.File, plain: Plain, watch: Watch, *, is_matlab: bool) -> Iterator[Offer]:
    """Every array that a path of plain links leads to, each object once."""
    pending: list[tuple[str, Any]] = [("", file)]
    seen: set[int] = set()
    while pending:
        path, group = pending.pop()
        for name in sorted(group):
            key = f"{path}/{name}".lstrip("/")
            link: Any = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                yield refused(key, "is a link to another file")
            if not isinstance(link, h5py.HardLink):
                continue
            item: Any = group[name]
            address: int = cast("Any", h5py).h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            if len(seen) > _MOST_OBJECTS:
                raise DataCorrupt(
                    what=f"it has more than {_MOST_OBJECTS:,} objects",
                    where=plain.where,
                    hint="copy the array into a file of its own",
                )
            if isinstance(item, h5py.Group):
                pending.append((key, item))
            elif isinstance(item, h5py.Dataset):
                yield _offer(key, item, plain, watch, is_matlab=is_matlab)


def _offer(key: str, item: Any, plain: Plain, watch: Watch, *, is_matlab: bool) -> Offer:  # noqa: ANN401
    """One array, or why not."""
    try:
        dtype: np.dtype[Any] = item.dtype
        shape: tuple[int, ...] = tuple(item.shape or ())
        kind = item.attrs.get("MATLAB_class", b"") if is_matlab else b""
        refusal = why_no_numbers(dtype) or _not_inside(item, plain)
    except TypeError as error:
        return refused(key, f"holds a type that NumPy has not ({error})")
    except _RAISED as error:
        # One damaged array does not keep the others from being read.
        return refused(key, f"cannot be read: damaged or cut short ({error})")
    if is_matlab:
        shape = shape[::-1]
    if kind in (b"cell", b"char", b"struct", b"function_handle"):
        return refused(key, f"is MATLAB's {kind.decode()}, not an array of numbers", shape, dtype)
    if refusal:
        return refused(key, refusal, shape, dtype)

    def read(scratch: Scratch) -> NDArray[Any]:
        offset: int | None = item.id.get_offset()
        # NumPy has no types of fewer bits than their bytes hold: such values are for HDF5 to read.
        as_numpy = item.id.get_type().equal(cast("Any", h5py.h5t).py_create(dtype))
        if as_numpy and not is_matlab and offset is not None and offset + item.nbytes <= plain.size:
            stream = cast("Any", plain.stream)
            return np.memmap(stream, dtype=dtype, mode="r", offset=offset, shape=shape)
        pieces = _pieces(item, plain.where, watch, reverse=is_matlab)
        return scratch.array(pieces, shape, dtype, where=f"{plain.where}, array {key}")

    return Offer(key, shape, str(dtype), read)


def _not_inside(item: Any, plain: Plain) -> str | None:  # noqa: ANN401 - h5py has no types
    """Why its values are not to be had from this very file: elsewhere, never written, or promised only."""
    if item.external:
        return "keeps its values in another file"
    if item.is_virtual:
        return "is a view of other files"
    if not item.shape or not item.size:
        return "is empty"
    stored: int = item.id.get_storage_size()
    if item.chunks is None:
        if stored != item.nbytes:
            return f"promises {item.nbytes:,} bytes, and {stored:,} were written"
    else:
        wanted = math.prod(-(-size // chunk) for size, chunk in zip(item.shape, item.chunks, strict=True))
        if (written := item.id.get_num_chunks()) != wanted:
            return f"promises {item.nbytes:,} bytes in {wanted:,} pieces, and {written:,} were written"
        # A piece is unpacked whole, and may be larger than the array.
        if fault := promise_fault(piece_bytes(item), plain.size) or refused_filters(item):
            return fault
    if stored > plain.size:
        return f"promises {stored:,} bytes, more than the file has"
    return promise_fault(item.nbytes, plain.size)


def _pieces(item: Any, where: str, watch: Watch, *, reverse: bool) -> Iterator[NDArray[Any]]:  # noqa: ANN401
    """The values example by example, some at a time."""
    axis = len(item.shape) - 1 if reverse else 0
    count: int = item.shape[axis]
    step = max(1, CHUNK_VALUES * count // item.size)
    measure = None if item.chunks is None else Measure(item, where)
    if item.chunks is not None:
        # Whole pieces of the file, so that none is unpacked twice.
        step = -(-step // item.chunks[axis]) * item.chunks[axis]
    with watched(watch, "read", count, "examples"):
        for first in range(0, count, step):
            with _reading(where):
                rows = slice(first, min(first + step, count))
                if measure is not None:
                    measure.check(axis, rows.start, rows.stop)
                piece: NDArray[Any] = item[..., rows].T if reverse else item[rows]
            yield np.ascontiguousarray(piece)
            watch.update(rows.stop)
