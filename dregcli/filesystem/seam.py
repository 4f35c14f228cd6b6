"""The operations that change the disk, as methods, so that a test can make the n-th of them fail."""

import errno
import os
from pathlib import Path
from typing import IO, Final, Literal, Protocol

# What some network file systems answer when asked to fsync a folder: they have no such operation.
_NO_FOLDER_SYNC: Final = (errno.EINVAL, errno.ENOTSUP)


class FileSystem(Protocol):
    """The operations that change the disk. Each raises OSError, like the system call it stands for."""

    def mkdir(self, path: Path) -> None:
        """Creates one folder; FileExistsError where anything has that name."""
        ...

    def write(self, path: Path, content: bytes) -> None:
        """Creates a file with this content; FileExistsError where anything has that name."""
        ...

    def append(self, path: Path, content: bytes) -> None:
        """Adds to the end of a file, creating it."""
        ...

    def open(self, path: Path, mode: Literal["x+b", "a+b"]) -> IO[bytes]:
        """Opens a file to read it and to write what is too large to be held: a new one, or one to add to."""
        ...

    def sync(self, path: Path) -> None:
        """Brings a file's content, or a folder's entries, to the disk."""
        ...

    def rename(self, source: Path, target: Path) -> None:
        """Renames; replaces a file, refuses a folder that holds something."""
        ...

    def remove(self, path: Path) -> None:
        """Removes a file."""
        ...

    def rmdir(self, path: Path) -> None:
        """Removes an empty folder."""
        ...


class LocalFileSystem:
    """The real disk."""

    def mkdir(self, path: Path) -> None:
        """See :class:`FileSystem`."""
        path.mkdir()

    def write(self, path: Path, content: bytes) -> None:
        """See :class:`FileSystem`."""
        with path.open("xb") as file:
            file.write(content)

    def append(self, path: Path, content: bytes) -> None:
        """See :class:`FileSystem`."""
        with path.open("ab") as file:
            file.write(content)

    def open(self, path: Path, mode: Literal["x+b", "a+b"]) -> IO[bytes]:
        """See :class:`FileSystem`."""
        return path.open(mode)

    def sync(self, path: Path) -> None:
        """See :class:`FileSystem`."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if not (path.is_dir() and error.errno in _NO_FOLDER_SYNC):
                raise
        finally:
            os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """See :class:`FileSystem`."""
        source.replace(target)

    def remove(self, path: Path) -> None:
        """See :class:`FileSystem`."""
        path.unlink()

    def rmdir(self, path: Path) -> None:
        """See :class:`FileSystem`."""
        path.rmdir()


LOCAL: Final[FileSystem] = LocalFileSystem()
