"""Room on the disk for content that has to be unpacked before it can be cut: a file without a name, mapped."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import IO, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from dregcli.data.folders import WRITE_ELSEWHERE
from dregcli.errors import DataCorrupt
from dregcli.filesystem import LOCAL, make_folders, write_errors

Content = Iterable["bytes | memoryview[Any] | NDArray[Any]"]


class Scratch:
    """Unpacked content beside the cache. Its files have no name, so that they vanish with the process.

    Args:
        folder: the data folder, made when it is first needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open = contextlib.ExitStack()

    def __enter__(self) -> "Scratch":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the room back."""
        self._open.close()

    def file(self) -> IO[bytes]:
        """An empty file to write and read.

        Raises:
            StoreWriteError: the data folder cannot be written.
        """
        make_folders(LOCAL, self._folder, hint=WRITE_ELSEWHERE)
        with write_errors(self._folder, hint=WRITE_ELSEWHERE):
            return self._open.enter_context(tempfile.TemporaryFile(dir=self._folder))

    def fill(self, content: Content, *, most: Callable[[int], None] | None = None) -> tuple[IO[bytes], int]:
        """Keep content as it comes.

        Args:
            content: pieces of bytes, or contiguous arrays.
            most: called with the bytes so far, to refuse too many of them.

        Returns:
            The file and its size.

        Raises:
            StoreWriteError: the disk is full or refuses.
        """
        out, size = self.file(), 0
        for piece in content:
            view = memoryview(cast("bytes", piece))
            size += view.nbytes
            if most is not None:
                most(size)
            with write_errors(self._folder, hint=WRITE_ELSEWHERE):
                out.write(view)
        with write_errors(self._folder, hint=WRITE_ELSEWHERE):
            out.flush()
        return out, size

    def array(
        self,
        content: Content,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        *,
        where: str,
        order: Literal["C", "F"] = "C",
    ) -> NDArray[Any]:
        """Keep the values of an array, and map them.

        Args:
            content: its bytes in order.
            shape: what it must fill; a first axis of -1 takes what comes.
            dtype: of its values.
            where: the source, for messages.
            order: how the bytes run through the axes.

        Returns:
            The array, read-only.

        Raises:
            DataCorrupt: the content ends early or goes on.
            StoreWriteError: the disk is full or refuses.
        """
        out, size = self.fill(content)
        row = int(np.prod(shape[1:], dtype=object)) * dtype.itemsize
        if shape[0] < 0 and row:
            shape = (size // row, *shape[1:])
        if size != shape[0] * row or size == 0:
            raise DataCorrupt(what=f"{size:,} bytes came where {shape[0] * row:,} were promised", where=where)
        return np.memmap(out, dtype=dtype, mode="r", shape=shape, order=order)


@contextlib.contextmanager
def reading(where: str) -> Generator[None]:
    """Turn a failure to read the source into an error that names it, so that it is not taken for one of writing.

    Raises:
        DataCorrupt: the block raised an OSError.
    """
    try:
        yield
    except OSError as error:
        raise DataCorrupt(
            what=f"the source cannot be read: {error.strerror or error}",
            where=where,
            hint="look whether it is whole, and repeat the command",
        ) from error


def size_of(stream: IO[bytes]) -> int:
    """Bytes of an open file."""
    return os.fstat(stream.fileno()).st_size
