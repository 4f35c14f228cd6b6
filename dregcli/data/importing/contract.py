"""The contract of all readers: a source gives named arrays, and no more bytes than its file can plausibly hold.

A reader takes a :class:`Source` and returns a :class:`Named` for each array in it, before anything large is read.
:func:`most_bytes` limits how much may come out of a file, and it is checked before any allocation.
"""

import io
import math
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from dregcli.data.cache import RESIDENT_BYTES
from dregcli.data.folders import WRITE_ELSEWHERE
from dregcli.data.importing.columns import LeftOut
from dregcli.data.importing.request import ImportRequest
from dregcli.errors import DataCorrupt
from dregcli.filesystem import LOCAL, make_folders, write_errors

_HARMLESS: Final = 64 << 20
"""Even the smallest file may unpack to this many bytes, because they fit into any memory."""
_HONEST_RATIO: Final = 200
"""The largest allowed ratio of unpacked to packed size. MNIST's images pack to a fifth, sparse binary images to a
hundredth."""
_DEFLATE_RATIO: Final = 1000
"""Deflate makes at most a thousand bytes of one byte, and images with a few flat areas come near that."""
_BELIEVED: Final = 4 << 30
"""Up to this size, which a disk has room for, any ratio that deflate can reach is allowed."""

_PIECE_VALUES: Final = 1 << 18

Content = Iterable["bytes | memoryview[Any] | NDArray[Any]"]


def most_bytes(packed: int) -> int:
    """Return the most bytes that may come out of this many packed bytes: the one limit on what a file may promise."""
    return max(_HARMLESS, _HONEST_RATIO * packed, min(_DEFLATE_RATIO * packed, _BELIEVED))


def promise_fault(unpacked: int, packed: int) -> str | None:
    """Return why so many bytes cannot come out of so few, or None where they can."""
    if unpacked <= most_bytes(packed):
        return None
    return f"{unpacked:,} bytes or more would come out of {packed:,}: an archive bomb, or a false header"


def check_promise(unpacked: int, packed: int, *, where: str | None = None) -> None:
    """Refuse content that is far too large for the file it comes from.

    Raises:
        DataCorrupt: the content is an archive bomb or looks like one.
    """
    if fault := promise_fault(unpacked, packed):
        hint = "if the data are real, save them unpacked (numpy.save) and import that file"
        raise DataCorrupt(fault, where=where, hint=hint)


def why_no_numbers(dtype: np.dtype[Any]) -> str | None:
    """Return why values of this type cannot be imported, or None where they can."""
    if dtype.hasobject:
        return "holds Python objects, which would have to be unpickled: that can run any code"
    if dtype.kind == "V":
        return f"holds records ({dtype}), not one number a value"
    if dtype.kind == "c":
        return f"holds complex numbers ({dtype})"
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        return f"holds {dtype} values, not booleans, integers or floats of up to 64 bits"
    return None


class Watch(Protocol):
    """Receives the progress of an import. An ``app.common.listener.Listener`` is one."""

    def begin(self, task: str, total: int | None, unit: str) -> None:
        """Begin a task of ``total`` units."""

    def update(self, done: int) -> None:
        """Report that ``done`` units of the task are finished."""

    def end(self) -> None:
        """End the task."""


@contextmanager
def watched(watch: Watch, task: str, total: int | None, unit: str) -> Generator[None]:
    """Report a task around a block; the task also ends when the block raises."""
    watch.begin(task, total, unit)
    try:
        yield
    finally:
        watch.end()


@dataclass(frozen=True)
class Scratch:
    """Temporary space for unpacked content, in nameless files in the data folder that vanish with the process.

    Attributes:
        folder: the data folder, created when it is first needed.
        stack: closes the files, which frees the space.
    """

    folder: Path
    stack: ExitStack

    def fill(self, content: Content, *, packed: int | None = None) -> tuple[IO[bytes], int]:
        """Write content to a temporary file as it comes.

        Args:
            content: pieces of bytes, or contiguous arrays.
            packed: number of packed bytes that the content comes from, where :func:`most_bytes` limits it.

        Returns:
            The file and its size.

        Raises:
            DataCorrupt: the content is far too large for its packed bytes.
            StoreWriteError: the disk is full or refuses.
        """
        make_folders(LOCAL, self.folder, hint=WRITE_ELSEWHERE)
        with write_errors(self.folder, hint=WRITE_ELSEWHERE):
            out = self.stack.enter_context(tempfile.TemporaryFile(dir=self.folder))  # noqa: SIM115 - it is one
        size = 0
        for piece in content:
            view = memoryview(cast("bytes", piece))
            size += view.nbytes
            if packed is not None:
                check_promise(size, packed)
            with write_errors(self.folder, hint=WRITE_ELSEWHERE):
                out.write(view)
        with write_errors(self.folder, hint=WRITE_ELSEWHERE):
            out.flush()
        return out, size

    def array(
        self, content: Content, shape: tuple[int, ...], dtype: np.dtype[Any], order: Literal["C", "F"] = "C"
    ) -> NDArray[Any]:
        """Write the values of an array to a temporary file, and map them.

        Args:
            content: the bytes of the array in order.
            shape: the shape it must fill; a first axis of -1 takes any number of rows.
            dtype: type of its values.
            order: order of the values, as in NumPy.

        Returns:
            The array, read-only.

        Raises:
            DataCorrupt: the content has fewer or more bytes than the shape.
            StoreWriteError: the disk is full or refuses.
        """
        out, size = self.fill(content)
        row = int(np.prod(shape[1:], dtype=object)) * dtype.itemsize
        if shape[0] < 0 and row:
            shape = (size // row, *shape[1:])
        if size != shape[0] * row or size == 0:
            raise DataCorrupt(what=f"the array has {size:,} bytes where {shape[0] * row:,} were promised")
        return np.memmap(out, dtype=dtype, mode="r", shape=shape, order=order)


@dataclass(frozen=True)
class Named:
    """One array of a source.

    Attributes:
        key: its name in the file; empty where the file is one array.
        shape: the stored shape, and for MATLAB's files as MATLAB shows it; () where it is not known before reading.
        dtype: type of its values, in words.
        read: returns the values, (N, ...), in memory or as a map of a file.
        refusal: why it cannot be imported, as the end of the sentence "it ..."; None where it can be.
    """

    key: str
    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], NDArray[Any]]
    refusal: str | None = None

    def __str__(self) -> str:
        """Return a name of the array, for messages."""
        return f"the array '{self.key}'" if self.key else "the array"


def refused(key: str, refusal: str, shape: tuple[int, ...] = (), dtype: object = "") -> Named:
    """Return an array that the file has but that cannot be imported."""
    return Named(key, shape, str(dtype), lambda: np.empty(0), refusal)


@dataclass
class Source:
    """The source of an import: an open file, or a folder of images.

    Attributes:
        request: the user's request.
        scratch: temporary space for unpacked content.
        watch: receives the progress.
        stream: the unpacked content as an open file; empty for a folder.
        size: size of the stream in bytes.
        format: name of the format, in words.
        arrays: the arrays that a reader found.
        stamp: called after everything was read; it returns size and SHA-256 of the source, and raises DataCorrupt if
            the source has changed meanwhile.
        notes: assumptions and steps of the import; this and the next three grow while the values are read.
        warnings: effects that the user may not have wanted.
        left_out: columns that did not become values.
        is_images: whether the values are decoded pictures.
        is_text: whether the source is a text of numbers, with columns that can be named.
        has_colours: whether a decoded picture is not grey.
    """

    request: ImportRequest
    scratch: Scratch
    watch: Watch
    stream: IO[bytes] = field(default_factory=io.BytesIO)
    size: int = 0
    format: str = ""
    arrays: list[Named] = field(default_factory=list[Named])
    stamp: Callable[[], tuple[int, str]] = lambda: (0, "")
    notes: list[str] = field(default_factory=list[str])
    warnings: list[str] = field(default_factory=list[str])
    left_out: list[LeftOut] = field(default_factory=list[LeftOut])
    is_images: bool = False
    is_text: bool = False
    has_colours: bool = False

    @property
    def where(self) -> str:
        """Path of the source, for messages."""
        return str(self.request.source)

    def head(self, size: int) -> bytes:
        """Return the first bytes; the stream is at its beginning afterwards."""
        self.stream.seek(0)
        found = self.stream.read(size)
        self.stream.seek(0)
        return found

    def values(
        self, start: int, shape: tuple[int, ...], dtype: np.dtype[Any], order: Literal["C", "F"] = "C"
    ) -> NDArray[Any]:
        """Return an array whose values lie in one piece in the stream, from byte ``start``; read-only.

        A source that fits into memory is read plainly. A larger one is mapped; if another program truncates it
        meanwhile, or its disk fails, the system ends this process without a message.

        Raises:
            DataCorrupt: another program has truncated the source.
        """
        if self.size > RESIDENT_BYTES:
            return np.memmap(cast("Any", self.stream), dtype, "r", start, shape, order)
        self.stream.seek(start)
        content = self.stream.read(math.prod(shape) * dtype.itemsize)
        if len(content) < math.prod(shape) * dtype.itemsize:
            raise changed_meanwhile()
        return np.ndarray(shape, dtype, content, order=order)

    def note(self, *texts: str) -> None:
        """Add notes that are not there yet."""
        self.notes += [text for text in texts if text not in self.notes]


def changed_meanwhile() -> DataCorrupt:
    """Return the error for a source that another program changes."""
    return DataCorrupt(
        what="another program changed the source while dreg read it",
        hint="repeat the command when the source is finished",
    )


def pieces(array: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the examples of an array in native pieces of a few megabytes, (n, ...), each with its first index."""
    step = max(1, _PIECE_VALUES // max(1, array[:1].size))
    for first in range(0, len(array), step):
        piece = np.asarray(array[first : first + step])
        yield first, piece.astype(piece.dtype.newbyteorder("="), copy=False)


def said(shape: Iterable[int]) -> str:
    """Return a shape as messages show it."""
    return " x ".join(str(size) for size in shape)
