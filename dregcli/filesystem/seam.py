"""The operations that change the disk, as methods, so that a test can make the n-th operation fail."""

import errno
import os
from pathlib import Path
from typing import IO, Final, Literal, Protocol

# Errors of network file systems that cannot fsync a folder.
_NO_FOLDER_SYNC: Final = (errno.EINVAL, errno.ENOTSUP)


class FileSystem(Protocol):
    """The operations that change the disk. Each raises OSError, like the system call behind it."""

    def mkdir(self, path: Path) -> None:
        """Create one folder; raise FileExistsError if the name is taken."""
        ...

    def write(self, path: Path, content: bytes) -> None:
        """Create a file with this content; raise FileExistsError if the name is taken."""
        ...

    def append(self, path: Path, content: bytes) -> None:
        """Add content to the end of a file; create the file if necessary."""
        ...

    def open(self, path: Path, mode: Literal["x+b", "a+b", "r+b"]) -> IO[bytes]:
        """Open a file to read it and to write large content: a new file, a file to add to, or one to change."""
        ...

    def sync(self, path: Path) -> None:
        """Write a file's content, or a folder's entries, from the cache to the disk."""
        ...

    def rename(self, source: Path, target: Path) -> None:
        """Rename a file or folder; replace an existing file, but refuse to replace a folder that is not empty."""
        ...

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name; raise FileExistsError if the name is taken."""
        ...

    def remove(self, path: Path) -> None:
        """Remove a file."""
        ...

    def rmdir(self, path: Path) -> None:
        """Remove an empty folder."""
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

    def open(self, path: Path, mode: Literal["x+b", "a+b", "r+b"]) -> IO[bytes]:
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

    def link(self, source: Path, target: Path) -> None:
        """See :class:`FileSystem`."""
        target.hardlink_to(source)

    def remove(self, path: Path) -> None:
        """See :class:`FileSystem`."""
        path.unlink()

    def rmdir(self, path: Path) -> None:
        """See :class:`FileSystem`."""
        path.rmdir()


LOCAL: Final[FileSystem] = LocalFileSystem()
