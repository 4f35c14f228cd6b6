"""Safe ways to write: the program never writes a file in place.

Content is written to a temporary name in the same folder and fsync-ed. Only then a rename gives it the real name, so
that a reader sees the whole content or none. :func:`write_aside` takes bytes. :func:`written_aside` is for content
that is too large for memory.
"""

import contextlib
import errno
import re
import secrets
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import IO, Final

from dregcli.filesystem.locks import is_at, lock_own, try_lock
from dregcli.filesystem.refusals import write_errors
from dregcli.filesystem.seam import FileSystem

_LOCKED_DIGITS: Final = 16
"""Digits in the name of a temporary file that its writer locks. Only files with such names are removed as leftovers
of dead writers."""


_NO_SECOND_NAMES: Final = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""Errors of file systems in which a file has one name."""

_STILL_READ: Final = (errno.ENOTEMPTY, errno.EBUSY)
"""Errors of a network disk that keeps a removed file, under another name, for a process that still reads it."""


def is_temporary(name: str) -> bool:
    """Whether a name is a temporary name of this module, which must never be read as content."""
    return name.startswith(".") and name.endswith(".tmp")


def write_aside(
    fs: FileSystem,
    path: Path,
    content: bytes,
    *,
    check: Callable[[Path], object] | None = None,
    hint: str | None = None,
) -> None:
    """Write a file that readers see whole or not at all, and replace any file with the same name.

    Args:
        fs: the file system to write to.
        path: real name of the file.
        content: content of the file.
        check: reads the temporary file before it gets the real name; if it raises an error, the old file stays.
        hint: see :func:`write_errors`.

    Raises:
        StoreWriteError: the disk refuses; the old file, if any, is untouched and the temporary is removed.
    """
    temporary = _temporary(path)
    with write_errors(path, hint=hint), _named(fs, temporary, path):
        fs.write(temporary, content)
        if check is not None:
            check(temporary)


@contextlib.contextmanager
def written_aside(
    fs: FileSystem, path: Path, *, new: bool = False, hint: str | None = None
) -> Generator[tuple[IO[bytes], Path], None, None]:
    """Write a file piece by piece that readers see whole or not at all, and replace any file with the same name.

    The block writes to the temporary file. After a flush it may also read the file by its path. When the block ends
    without an error, the file gets its real name. Several writers at once have separate files, and the last one to
    end wins. A writer locks its temporary file, so that the next writer of the same name can recognise and remove
    the files of killed writers. The folder is created if necessary.

    Args:
        fs: the file system to write to.
        path: real name of the file.
        new: whether the name must be free when the block ends: of several writers at once, one gets it.
        hint: see :func:`write_errors`.

    Yields:
        The open temporary file and its path.

    Raises:
        FileExistsError: the name must be free and is taken; the temporary is removed.
        StoreWriteError: the disk refuses; the old file, if any, is untouched and the temporary is removed.
    """
    make_folders(fs, path.parent, hint=hint)
    remove_dead_asides(fs, path)
    with write_errors(path, hint=hint):
        out, temporary = _locked(fs, path)
        # The file is renamed before the lock ends; otherwise another writer might remove it as a leftover.
        with out, _named(fs, temporary, path, new=new):
            yield out, temporary
            out.flush()


def remove_dead_asides(fs: FileSystem, path: Path) -> None:
    """Remove the files that killed writers of ``path`` left beside it; the locked files of living writers stay."""
    ours = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{{_LOCKED_DIGITS}}}\.tmp")
    with contextlib.suppress(OSError):
        for temporary in [each for each in path.parent.iterdir() if ours.fullmatch(each.name)]:
            with contextlib.suppress(OSError), temporary.open("r+b") as left:
                if try_lock(left):
                    fs.remove(temporary)


def write_exclusive(fs: FileSystem, path: Path, content: bytes) -> None:
    """Write a new file; if that fails, no part of the file is left.

    Raises:
        FileExistsError: a file or folder already has that name.
        OSError: the disk refuses.
    """
    try:
        fs.write(path, content)
    except FileExistsError:
        raise
    except OSError:
        # The file may exist despite the error, and would block its name.
        with contextlib.suppress(OSError):
            fs.remove(path)
        raise


def write_new(
    fs: FileSystem,
    folder: Path,
    stem: str,
    suffix: str,
    content: bytes,
    *,
    ahead: Callable[[Path], None] | None = None,
) -> Path:
    """Write ``stem + suffix``, or ``stem-2``, ``stem-3`` ... if the name is taken; never overwrite a file.

    The temporary name is fixed and created exclusively, so that only one writer can own the real name: two writers
    cannot both find the name free. The temporary file of a killed writer only blocks its name.

    Args:
        fs: the file system to write to.
        folder: folder of the file.
        stem: first part of the name.
        suffix: last part of the name.
        content: content of the file.
        ahead: is called with the path before the file appears, to write other files that belong to it.

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
                write_exclusive(fs, temporary, b"")
            except FileExistsError:
                continue
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
    """Build a folder of files under a temporary name, and rename it to its real name.

    A file's name may have ``/`` in it: then the file lies in folders inside the folder.

    Raises:
        FileExistsError: a folder that is not empty has the real name. Only one writer's rename can succeed.
        StoreWriteError: the disk refuses; nothing has the real name, and the temporary folder is removed.
    """
    temporary = _temporary(path)
    with write_errors(path), _named(fs, temporary, path):
        fs.mkdir(temporary)
        above = (folder for name in files for folder in (temporary / name).parents)
        inner = {folder for folder in above if folder != temporary and folder.is_relative_to(temporary)}
        for folder in sorted(inner):
            fs.mkdir(folder)
        for name, content in files.items():
            fs.write(temporary / name, content)
            fs.sync(temporary / name)
        for folder in sorted(inner, reverse=True):
            fs.sync(folder)


def make_folders(fs: FileSystem, path: Path, *, hint: str | None = None) -> None:
    """Create a folder and the missing folders above it; another process may do the same at the same time.

    Args:
        fs: the file system to write to.
        path: the folder.
        hint: see :func:`write_errors`.

    Raises:
        StoreWriteError: the disk refuses, or a file is in the way.
    """
    missing = [path]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for folder in reversed(missing):
        if folder.is_dir():
            continue
        with write_errors(folder, hint=hint):
            try:
                fs.mkdir(folder)
            except FileExistsError:
                # A network disk may have the folder and not show it yet, as if there was nothing.
                if folder.exists() and not folder.is_dir():
                    raise NotADirectoryError(errno.ENOTDIR, "is a file", str(folder)) from None
            fs.sync(folder.parent)


def move(fs: FileSystem, source: Path, target: Path) -> None:
    """Rename a file or folder, and write the entries of both parent folders to the disk.

    Raises:
        StoreWriteError: the disk refuses.
    """
    with write_errors(source):
        fs.rename(source, target)
        fs.sync(target.parent)
        fs.sync(source.parent)


def discard(fs: FileSystem, path: Path) -> None:
    """Remove a file or folder. It is renamed first, so that a half-removed folder never looks like a real one.

    What another process still reads may stay under its temporary name, until it is removed as a leftover.

    Raises:
        StoreWriteError: the disk refuses.
    """
    temporary = _temporary(path)
    with write_errors(path):
        fs.rename(path, temporary)
        _remove_leftover(fs, temporary)


def sweep(fs: FileSystem, folder: Path) -> None:
    """Remove the temporary files that a killed writer left in ``folder``. Only the holder of the lease may call this.

    Raises:
        StoreWriteError: the disk refuses.
    """
    if folder.is_dir():
        with write_errors(folder):
            for path in list(folder.iterdir()):
                if is_temporary(path.name):
                    _remove_leftover(fs, path)


def _temporary(path: Path, digits: int = 8) -> Path:
    # A process id would not be unique: threads share it, and containers on one volume can have equal ids.
    return path.with_name(f".{path.name}.{secrets.token_hex(digits // 2)}.tmp")


def _locked(fs: FileSystem, path: Path) -> tuple[IO[bytes], Path]:
    """Create a temporary file beside ``path``, lock it if the file system has locks, and return it with its path."""
    while True:
        temporary = _temporary(path, _LOCKED_DIGITS)
        # Not opened by tempfile, because other users could not read its files.
        out = fs.open(temporary, "x+b")
        # Before the file is locked, another writer may remove it as a leftover.
        lock_own(out)
        if is_at(out, temporary):
            return out, temporary
        out.close()


@contextlib.contextmanager
def _named(fs: FileSystem, temporary: Path, path: Path, *, new: bool = False) -> Generator[None, None, None]:
    """Give the file or folder that the block makes its real name; remove it if anything fails.

    Args:
        fs: the file system.
        temporary: what the block makes.
        path: its real name.
        new: whether a file of this name is not replaced.

    Raises:
        FileExistsError: a folder that is not empty has the real name, or any file if it must not be replaced.
    """
    with _removed_on_failure(fs, temporary):
        yield
        fs.sync(temporary)
        try:
            if new:
                _take_name(fs, temporary, path)
            else:
                fs.rename(temporary, path)
        except OSError as error:
            if error.errno == errno.ENOTEMPTY:
                raise FileExistsError(errno.EEXIST, "exists", str(path)) from error
            raise
        fs.sync(path.parent)


def _take_name(fs: FileSystem, temporary: Path, path: Path) -> None:
    """Give a file its real name, which only one writer can take.

    A second name is exclusive on every disk that has such names, a network's too. Elsewhere an empty file takes the
    real name for the moment before the rename.

    Raises:
        FileExistsError: the name is taken.
    """
    try:
        fs.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_SECOND_NAMES:
            raise
        write_exclusive(fs, path, b"")
        fs.rename(temporary, path)
    else:
        fs.remove(temporary)


@contextlib.contextmanager
def _removed_on_failure(fs: FileSystem, temporary: Path) -> Generator[None, None, None]:
    try:
        yield
    except BaseException:  # an interrupt must not leave a temporary file behind either
        with contextlib.suppress(OSError):
            _remove_tree(fs, temporary)
        raise


def _remove_leftover(fs: FileSystem, temporary: Path) -> None:
    try:
        _remove_tree(fs, temporary)
    except OSError as error:
        if error.errno not in _STILL_READ:
            raise


def _remove_tree(fs: FileSystem, path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for inner in list(path.iterdir()):
            _remove_tree(fs, inner)
        fs.rmdir(path)
    elif path.exists() or path.is_symlink():
        fs.remove(path)
