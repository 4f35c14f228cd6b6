"""What every reader keeps to: a source gives named arrays, and no more bytes than its file can honestly hold.

A reader takes a :class:`Source` and returns a :class:`Named` for each array in it, before anything large is read. How
much may come out of a file is asked of :func:`most_bytes` before any of it is made.
"""

import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from dregcli.data.folders import WRITE_ELSEWHERE
from dregcli.data.importing.columns import LeftOut
from dregcli.data.importing.request import ImportRequest
from dregcli.errors import DataCorrupt
from dregcli.filesystem import LOCAL, make_folders, write_errors

_HARMLESS: Final = 64 << 20
"""So many bytes may come out of the smallest file: they fit everywhere."""
_HONEST_RATIO: Final = 200
"""How many times its packed size any content may have. MNIST's images pack to a fifth, sparse binary ones to a
hundredth."""
_DEFLATE_RATIO: Final = 1000
"""Deflate makes a thousand bytes of one at most, and images of a few flat areas come near that."""
_BELIEVED: Final = 4 << 30
"""Up to here, which a disk has room for, content may have as many times its packed size as deflate can make of it."""

_PIECE_VALUES: Final = 1 << 18

Content = Iterable["bytes | memoryview[Any] | NDArray[Any]"]


def most_bytes(packed: int) -> int:
    """The most bytes that may come out of so many packed ones: the one cap on what a file may promise."""
    return max(_HARMLESS, _HONEST_RATIO * packed, min(_DEFLATE_RATIO * packed, _BELIEVED))


def promise_fault(unpacked: int, packed: int) -> str | None:
    """Why so many bytes cannot come out of so few, or None where they can."""
    if unpacked <= most_bytes(packed):
        return None
    return f"{unpacked:,} bytes or more would come out of {packed:,}: an archive bomb, or a header that lies"


def check_promise(unpacked: int, packed: int, *, where: str | None = None) -> None:
    """Refuse content that is out of all proportion to the file it comes from.

    Raises:
        DataCorrupt: it is an archive bomb, or cannot be told from one.
    """
    if fault := promise_fault(unpacked, packed):
        raise DataCorrupt(
            fault, where=where, hint="if the data are real, save them unpacked (numpy.save) and import that"
        )


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


class Watch(Protocol):
    """Who is shown how far an import is. An ``app.common.listener.Listener`` is one."""

    def begin(self, task: str, total: int | None, unit: str) -> None:
        """A task of ``total`` units begins."""
        ...

    def update(self, done: int) -> None:
        """It has ``done`` units."""
        ...

    def end(self) -> None:
        """It ends."""
        ...


@contextmanager
def watched(watch: Watch, task: str, total: int | None, unit: str) -> Generator[None]:
    """A task that ends however the block does."""
    watch.begin(task, total, unit)
    try:
        yield
    finally:
        watch.end()


@dataclass(frozen=True)
class Scratch:
    """Room for unpacked content beside the cache, in files without a name, which vanish with the process.

    Attributes:
        folder: the data folder, made when it is first needed.
        stack: gives the room back.
    """

    folder: Path
    stack: ExitStack

    def fill(self, content: Content, *, packed: int | None = None) -> tuple[IO[bytes], int]:
        """Keep content as it comes.

        Args:
            content: pieces of bytes, or contiguous arrays.
            packed: bytes that it comes out of, where it has to be in proportion to them.

        Returns:
            The file and its size.

        Raises:
            DataCorrupt: the content is out of proportion.
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
        """Keep the values of an array, and map them.

        Args:
            content: its bytes in order.
            shape: what it must fill; a first axis of -1 takes what comes.
            dtype: of its values.
            order: how the bytes run through the axes.

        Returns:
            The array, read-only.

        Raises:
            DataCorrupt: the content ends early or has too much.
            StoreWriteError: the disk is full or refuses.
        """
        out, size = self.fill(content)
        row = int(np.prod(shape[1:], dtype=object)) * dtype.itemsize
        if shape[0] < 0 and row:
            shape = (size // row, *shape[1:])
        if size != shape[0] * row or size == 0:
            raise DataCorrupt(what=f"{size:,} bytes came where {shape[0] * row:,} were promised")
        return np.memmap(out, dtype=dtype, mode="r", shape=shape, order=order)


@dataclass(frozen=True)
class Named:
    """One array of a source.

    Attributes:
        key: its name in the file; empty where the file is one array.
        shape: as stored, and for MATLAB's files as MATLAB shows it; () where it is not known before it is read.
        dtype: in words.
        read: gives the values, in memory or as a map of a file, of shape (N, ...), examples first.
        refusal: why it cannot be taken, ending the sentence "it ..."; None where it can.
    """

    key: str
    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], NDArray[Any]]
    refusal: str | None = None

    def __str__(self) -> str:
        """The array, for messages."""
        return f"the array '{self.key}'" if self.key else "the array"


def refused(key: str, refusal: str, shape: tuple[int, ...] = (), dtype: object = "") -> Named:
    """An array that is there and cannot be taken."""
    return Named(key, shape, str(dtype), lambda: np.empty(0), refusal)


@dataclass
class Source:
    """What is imported: an open file, or a folder of images.

    Attributes:
        request: what is asked for.
        scratch: where unpacked content lies.
        watch: shown the progress.
        stream: the unpacked content in an open file; empty for a folder.
        size: bytes of it.
        format: in words.
        arrays: what a reader found in it.
        stamp: called after all was read: size and SHA-256 of the source, which nobody may have written to meanwhile.
        notes: what was assumed and done; grows as the values are read, and so do the next three.
        warnings: what may not be what the user wants.
        left_out: columns that did not become values.
        is_images: whether the values are decoded pictures.
        is_text: whether it is a text of numbers, whose columns can be named.
        has_colours: whether a decoded picture is other than grey.
    """

    request: ImportRequest
    scratch: Scratch
    watch: Watch
    stream: IO[bytes]
    size: int
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
        """Its path, for messages."""
        return str(self.request.source)

    def head(self, size: int) -> bytes:
        """Its first bytes; the stream is at its beginning afterwards."""
        self.stream.seek(0)
        found = self.stream.read(size)
        self.stream.seek(0)
        return found

    def note(self, *texts: str) -> None:
        """Say something of it, once."""
        self.notes += [text for text in texts if text not in self.notes]


def pieces(array: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    """The examples of an array in pieces of a few megabytes, (n, ...), native; with the first one's number."""
    step = max(1, _PIECE_VALUES // max(1, array[:1].size))
    for first in range(0, len(array), step):
        piece = np.asarray(array[first : first + step])
        yield first, piece.astype(piece.dtype.newbyteorder("="), copy=False)


def said(shape: Iterable[int]) -> str:
    """A shape as messages show it."""
    return " x ".join(str(size) for size in shape)
