"""The safe ways to write: nothing is ever written in place.

Content goes to a temporary name in the same folder, is fsync-ed, and only then gets its real name by a rename, which
a reader sees whole or not at all. :func:`write_aside` takes bytes; :func:`written_aside` what is too large to hold.
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
"""Digits in the name of a temporary that its writer locks: no other kind may be taken for one of a dead writer."""


def is_temporary(name: str) -> bool:
    """Whether a name is one of this module's own, never to be read as content."""
    return name.startswith(".") and name.endswith(".tmp")


def write_aside(
    fs: FileSystem,
    path: Path,
    content: bytes,
    *,
    check: Callable[[Path], object] | None = None,
    hint: str | None = None,
) -> None:
    """Writes a file that readers see whole or not at all, replacing what has its name.

    Args:
        fs: the seam.
        path: the file's real name.
        content: its bytes.
        check: reads the temporary file back before it gets its name; what it raises keeps the old file.
        hint: as of :func:`write_errors`.

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
    fs: FileSystem, path: Path, *, hint: str | None = None
) -> Generator[tuple[IO[bytes], Path], None, None]:
    """Writes a file piece by piece that readers see whole or not at all, replacing what has its name.

    The block writes to the temporary file and may read that back by its path after a flush; leaving the block without
    an error gives the file its name. Of several writers at once each has a file of its own, and the last to end wins.
    The temporary is locked while it is written, so that the next writer of the same name removes what a killed one
    left. The folder is made if need be.

    Args:
        fs: the seam.
        path: the file's real name.
        hint: as of :func:`write_errors`.

    Yields:
        The open temporary file and its path.

    Raises:
        StoreWriteError: the disk refuses; the old file, if any, is untouched and the temporary is removed.
    """
    make_folders(fs, path.parent, hint=hint)
    remove_dead_asides(fs, path)
    with write_errors(path, hint=hint):
        out, temporary = _locked(fs, path)
        # The name is given before the lock goes, or another writer might take the file for a dead one's.
        with out, _named(fs, temporary, path):
            yield out, temporary
            out.flush()


def remove_dead_asides(fs: FileSystem, path: Path) -> None:
    """Removes what killed writers of ``path`` left beside it; what a living one writes is locked, and stays."""
    ours = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{{_LOCKED_DIGITS}}}\.tmp")
    with contextlib.suppress(OSError):
        for temporary in [each for each in path.parent.iterdir() if ours.fullmatch(each.name)]:
            with contextlib.suppress(OSError), temporary.open("r+b") as left:
                if try_lock(left):
                    fs.remove(temporary)


def write_exclusive(fs: FileSystem, path: Path, content: bytes) -> None:
    """Writes a file that was not there; nothing is left of it where that fails.

    Raises:
        FileExistsError: anything has that name.
        OSError: the disk refuses.
    """
    try:
        fs.write(path, content)
    except FileExistsError:
        raise
    except OSError:
        # It may have been created all the same, and would keep its name from everybody.
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
    """Builds a folder of files under a temporary name and renames it into place.

    Raises:
        FileExistsError: a folder that holds something has the name; the rename is the exclusive claim.
        StoreWriteError: the disk refuses; nothing has the real name and the temporary is removed.
    """
    temporary = _temporary(path)
    with write_errors(path), _named(fs, temporary, path):
        fs.mkdir(temporary)
        for name, content in files.items():
            fs.write(temporary / name, content)
            fs.sync(temporary / name)


def make_folders(fs: FileSystem, path: Path, *, hint: str | None = None) -> None:
    """Creates a folder and the missing ones above it; another process may be doing the same.

    Args:
        fs: the seam.
        path: the folder.
        hint: as of :func:`write_errors`.

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


def _temporary(path: Path, digits: int = 8) -> Path:
    # A process id would not do: threads share it, and containers on one volume count theirs alike.
    return path.with_name(f".{path.name}.{secrets.token_hex(digits // 2)}.tmp")


def _locked(fs: FileSystem, path: Path) -> tuple[IO[bytes], Path]:
    """A new file beside ``path``, locked where locks are to be had, and its path."""
    while True:
        temporary = _temporary(path, _LOCKED_DIGITS)
        # Opened by its name and not by tempfile, whose files nobody else may read.
        out = fs.open(temporary, "x+b")
        # Another writer may take it for a dead one's before it is locked.
        lock_own(out)
        if is_at(out, temporary):
            return out, temporary
        out.close()


@contextlib.contextmanager
def _named(fs: FileSystem, temporary: Path, path: Path) -> Generator[None, None, None]:
    """What the block makes under a temporary name gets its real one; where anything fails, it is removed.

    Raises:
        FileExistsError: a folder that holds something has the real name.
    """
    with _removed_on_failure(fs, temporary):
        yield
        fs.sync(temporary)
        try:
            fs.rename(temporary, path)
        except OSError as error:
            if error.errno == errno.ENOTEMPTY:
                raise FileExistsError(errno.EEXIST, "exists", str(path)) from error
            raise
        fs.sync(path.parent)


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
