"""A file in memory that stores only the pages that are written; HDF5 lays out a large file in it."""

import io
from collections.abc import Iterator
from typing import Any, Final

_PAGE: Final = 1 << 16


class SparseImage(io.RawIOBase):
    """A file-like object whose unwritten pages take no memory and read as zeros.

    HDF5 writes its structures here, and the caller writes them and the values to the disk with plain file calls,
    because HDF5 itself does not handle a full disk well.
    """

    def __init__(self) -> None:
        super().__init__()
        self._pages: dict[int, bytearray] = {}
        self._size = 0
        self._at = 0

    def pages(self) -> Iterator[tuple[int, bytes]]:
        """Yield the written pages, each with its offset."""
        for number, page in sorted(self._pages.items()):
            start = number * _PAGE
            yield start, bytes(page[: self._size - start])

    @property
    def size(self) -> int:
        """The file's length in bytes."""
        return self._size

    def readable(self) -> bool:
        """Return True."""
        return True

    def writable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to an offset, like any file."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        """Return the offset of the next byte to read or write."""
        return self._at

    def truncate(self, size: int | None = None, /) -> int:
        """Set the length; the file may grow."""
        self._size = self._at if size is None else size
        return self._size

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401 - as io.RawIOBase has it
        """Fill a buffer, like any file."""
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._size - self._at))
        for page, start, stop, done in self._pieces(count):
            held = self._pages.get(page)
            view[done : done + stop - start] = held[start:stop] if held else bytes(stop - start)
        self._at += count
        return count

    def write(self, content: Any, /) -> int:  # noqa: ANN401 - as io.RawIOBase has it
        """Write bytes, like any file."""
        view = memoryview(content).cast("B")
        for page, start, stop, done in self._pieces(len(view)):
            held = self._pages.setdefault(page, bytearray(_PAGE))
            held[start:stop] = view[done : done + stop - start]
        self._at += len(view)
        self._size = max(self._size, self._at)
        return len(view)

    def _pieces(self, count: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield the next ``count`` bytes as (page, start and stop inside the page, number of bytes before)."""
        done = 0
        while done < count:
            page, start = divmod(self._at + done, _PAGE)
            stop = min(_PAGE, start + count - done)
            yield page, start, stop, done
            done += stop - start
