"""The one seam through which the program changes the disk, and the safe ways to write through it.

Every write, mkdir, fsync, rename and removal is a method of :class:`FileSystem`, so that a test can
make the n-th of them fail. Nothing is ever written in place: content goes to a temporary name in the same folder,
is fsync-ed, and only then gets its real name by a rename, which a reader sees whole or not at all.
"""

import contextlib
import errno
import os
import secrets
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Final, Protocol

from dregcli.commands import command
from dregcli.errors import StoreWriteError

_WHAT: Final[dict[int, str]] = {
    errno.ENOSPC: "No space left on the disk",
    errno.EDQUOT: "The disk quota is used up",
    errno.EACCES: "No permission to write here",
    errno.EPERM: "No permission to write here",
    errno.EROFS: "The file system is read-only",
    errno.EIO: "The device reports an input/output error",
    errno.ENOENT: "A file or folder of the store vanished while it was written",
    errno.ENOTDIR: "Part of the path is a file, not a folder",
}
_NEXT: Final[dict[int, str]] = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space there",
    errno.EIO: "check the disk (dmesg)",
}
_NEXT_DEFAULT: Final = "choose a folder you can write: --runs-dir FOLDER, or DREG_RUNS_DIR"

_LASTING: Final = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
"""Refusals that no waiting changes."""

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


def is_temporary(name: str) -> bool:
    """Whether a name is one of this module's own, never to be read as content."""
    return name.startswith(".") and name.endswith(".tmp")


def _next(code: int) -> str:
    """What to do about an error."""
    if code not in _NEXT:
        return _NEXT_DEFAULT
    return f"{_NEXT[code]}, then run the command again, or go on with a run: {command('train', '--resume', 'RUN')}"


@contextlib.contextmanager
def write_errors(path: Path) -> Generator[None, None, None]:
    """Turns an OSError of the block into a StoreWriteError about ``path``.

    FileExistsError passes: to the callers that race for a name it is an answer, not a failure.
    """
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        code = error.errno or 0
        what = _WHAT.get(code, f"The store cannot be written: {error.strerror or error}")
        raise StoreWriteError(what, where=str(path), hint=_next(code)) from error


def check_can_write(fs: FileSystem, folder: Path, *, hint: str | None = None) -> None:
    """Refuses a folder in which nothing can ever be made, by making an empty file and removing it: before any work.

    A full disk is let pass: it may have room by the time there is something to write.

    Args:
        fs: the seam.
        folder: which; where it is not there, the one above it that is, in which it would be made.
        hint: what to do about it, where that is not what is usual.

    Raises:
        StoreWriteError: no permission, a read-only file system, or a file in the way.
    """
    nearest = next((each for each in (folder, *folder.absolute().parents) if each.exists()), folder)
    temporary = _temporary(nearest / "writable")
    try:
        with _removed_on_failure(fs, temporary):
            fs.write(temporary, b"")
            fs.remove(temporary)
    except OSError as error:
        if error.errno in _LASTING:
            raise StoreWriteError(_WHAT[error.errno], where=str(folder), hint=hint or _NEXT_DEFAULT) from error


def write_aside(fs: FileSystem, path: Path, content: bytes, *, check: Callable[[Path], object] | None = None) -> None:
    """Writes a file that readers see whole or not at all, replacing what has its name.

    Args:
        fs: the seam.
        path: the file's real name.
        content: its bytes.
        check: reads the temporary file back before it gets its name; what it raises keeps the old file.

    Raises:
        StoreWriteError: the disk refuses; the old file, if any, is untouched and the temporary is removed.
    """
    temporary = _temporary(path)
    with write_errors(path), _removed_on_failure(fs, temporary):
        fs.write(temporary, content)
        fs.sync(temporary)
        if check is not None:
            check(temporary)
        fs.rename(temporary, path)
        fs.sync(path.parent)


def write_new(
    fs: FileSystem,
    folder: Path,
    stem: str,
    suffix: str,
    content: bytes,
    *,
    ahead: Callable[[Path], None] | None = None,
) -> Path:
    """Writes ``stem + suffix``, or ``stem-2``, ``stem-3`` ... where the name is taken; never overwrites.

    The temporary name is fixed and created exclusively, so holding it is holding the real name: two writers cannot
    both find the name free. A temporary left by a killed writer costs its name, nothing else.

    Args:
        fs: the seam.
        folder: where.
        stem: the first part of the name.
        suffix: the last.
        content: its bytes.
        ahead: writes what goes with the file, given its path, before the file appears.

    Raises:
        StoreWriteError: the disk refuses.
    """
    number = 1
    while True:
        path = folder / (f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}")
        number += 1
        temporary = path.with_name(f".{path.name}.tmp")
        if path.exists():
            continue
        with write_errors(path):
            try:
                fs.write(temporary, b"")
            except FileExistsError:
                continue
            except OSError:
                # It may have been created all the same, and would keep its name from everybody.
                with contextlib.suppress(OSError):
                    fs.remove(temporary)
                raise
            with _removed_on_failure(fs, temporary):
                if path.exists():
                    fs.remove(temporary)
                    continue
                fs.append(temporary, content)
                fs.sync(temporary)
                if ahead is not None:
                    ahead(path)
                fs.rename(temporary, path)
                fs.sync(folder)
        return path


def write_folder_aside(fs: FileSystem, path: Path, files: Mapping[str, bytes]) -> None:
    """Builds a folder of files under a temporary name and renames it into place.

    Raises:
        FileExistsError: a folder that holds something has the name; the rename is the exclusive claim.
        StoreWriteError: the disk refuses; nothing has the real name and the temporary is removed.
    """
    temporary = _temporary(path)
    with write_errors(path), _removed_on_failure(fs, temporary):
        fs.mkdir(temporary)
        for name, content in files.items():
            fs.write(temporary / name, content)
            fs.sync(temporary / name)
        fs.sync(temporary)
        try:
            fs.rename(temporary, path)
        except OSError as error:
            if error.errno == errno.ENOTEMPTY:
                raise FileExistsError(errno.EEXIST, "exists", str(path)) from error
            raise
        fs.sync(path.parent)


def make_folders(fs: FileSystem, path: Path) -> None:
    """Creates a folder and the missing ones above it; another process may be doing the same.

    Raises:
        StoreWriteError: the disk refuses, or a file is in the way.
    """
    missing = [path]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for folder in reversed(missing):
        if folder.is_dir():
            continue
        with write_errors(folder):
            try:
                fs.mkdir(folder)
            except FileExistsError:
                if not folder.is_dir():
                    raise NotADirectoryError(errno.ENOTDIR, "is a file", str(folder)) from None
            fs.sync(folder.parent)


def move(fs: FileSystem, source: Path, target: Path) -> None:
    """Renames a file or folder and brings both folders' entries to the disk.

    Raises:
        StoreWriteError: the disk refuses.
    """
    with write_errors(source):
        fs.rename(source, target)
        fs.sync(target.parent)
        fs.sync(source.parent)


def discard(fs: FileSystem, path: Path) -> None:
    """Removes a file or folder; renamed first, so that a half-removed folder never passes for a real one.

    Raises:
        StoreWriteError: the disk refuses.
    """
    temporary = _temporary(path)
    with write_errors(path):
        fs.rename(path, temporary)
        _remove_tree(fs, temporary)


def sweep(fs: FileSystem, folder: Path) -> None:
    """Removes the temporaries a killed writer left in ``folder``. Only for the one who holds the lease.

    Raises:
        StoreWriteError: the disk refuses.
    """
    if folder.is_dir():
        with write_errors(folder):
            for path in list(folder.iterdir()):
                if is_temporary(path.name):
                    _remove_tree(fs, path)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


@contextlib.contextmanager
def _removed_on_failure(fs: FileSystem, temporary: Path) -> Generator[None, None, None]:
    try:
        yield
    except BaseException:  # an interrupt too must not leave a temporary behind
        with contextlib.suppress(OSError):
            _remove_tree(fs, temporary)
        raise


def _remove_tree(fs: FileSystem, path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for inner in list(path.iterdir()):
            _remove_tree(fs, inner)
        fs.rmdir(path)
    elif path.exists() or path.is_symlink():
        fs.remove(path)
