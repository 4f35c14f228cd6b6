"""Messages for the case that the operating system refuses to write: what happened, where, and what to do next."""

import contextlib
import errno
import secrets
from collections.abc import Generator
from pathlib import Path
from typing import Final

from dregcli.commands import command
from dregcli.errors import StoreWriteError
from dregcli.filesystem.seam import FileSystem

_WHAT: Final[dict[int, str]] = {
    errno.ENOSPC: "No space left on the disk",
    errno.EDQUOT: "The disk quota is used up",
    errno.EACCES: "No permission to write here",
    errno.EPERM: "No permission to write here",
    errno.EROFS: "The file system is read-only",
    errno.EIO: "The device reports an input/output error",
    errno.ENOENT: "A file or folder disappeared while it was written",
    errno.ENOTDIR: "Part of the path is a file, not a folder",
}
_FIRST: Final[dict[int, str]] = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space there",
    errno.EIO: "check the disk (dmesg)",
}
_ELSEWHERE: Final = "choose a folder you can write: --runs-dir FOLDER, or DREG_RUNS_DIR"

_LASTING: Final = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
"""Refusals that do not go away by waiting."""


@contextlib.contextmanager
def write_errors(path: Path, *, hint: str | None = None) -> Generator[None, None, None]:
    """Turn an OSError of the block into a StoreWriteError about ``path``.

    A FileExistsError is passed on: callers that compete for a name need it as an answer.

    Args:
        path: the file or folder that the block writes.
        hint: how to write elsewhere; None means by ``--runs-dir``.
    """
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        code = error.errno or 0
        what = _WHAT.get(code, f"The file cannot be written: {error.strerror or error}")
        if code in _FIRST:
            resume = f"; if it was training a run, continue that run: {command('train', '--resume', 'RUN')}"
            next_ = f"{_FIRST[code]}, then run the command again{f', or {hint}' if hint else resume}"
        else:
            next_ = hint or _ELSEWHERE
        raise StoreWriteError(what, where=str(path), hint=next_) from error


def check_can_write(fs: FileSystem, folder: Path, *, hint: str | None = None) -> None:
    """Refuse a folder in which the program cannot write, before any work.

    The check creates and removes an empty file. A full disk is not refused, because it may have space later.

    Args:
        fs: the file system to write to.
        folder: the folder; if it does not exist, the nearest existing folder above it is checked.
        hint: how to write elsewhere; None means by ``--runs-dir``.

    Raises:
        StoreWriteError: no permission, a read-only file system, or a file in the way.
    """
    nearest = next((each for each in (folder, *folder.absolute().parents) if each.exists()), folder)
    temporary = nearest / f".writable.{secrets.token_hex(8)}.tmp"
    try:
        fs.write(temporary, b"")
        fs.remove(temporary)
    except OSError as error:
        with contextlib.suppress(OSError):
            fs.remove(temporary)
        if error.errno in _LASTING:
            raise StoreWriteError(_WHAT[error.errno], where=str(folder), hint=hint or _ELSEWHERE) from error
